//! The head of an answer: the little of it that a measurement looks at.

use anyhow::{Context, ensure};

/// Status and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `Content-Length`.
    pub(crate) length: u64,
    /// How many bytes follow: as many, or none after HEAD.
    pub(crate) body: u64,
}

/// The head at the beginning of what was read, and its length; `None` if it is not complete.
pub(super) fn parse(read: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = read.get(..end).unwrap_or_default();
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| number(rest.get(..3)?));
    let status = status.context("an answer does not begin with a status line of HTTP/1.1")?;
    let mut length = None;
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        if let Some(value) = value(line, b"content-length:") {
            length = number(value);
        } else if let Some(value) = value(line, b"transfer-encoding:") {
            ensure!(
                value.is_empty(),
                "an answer is chunked, which this client does not read"
            );
        }
    }
    let length = length.context("an answer has no Content-Length")?;
    let status = u16::try_from(status).context("a status is a small number")?;
    Ok(Some((
        Head {
            status,
            length,
            body: length,
        },
        end + 4,
    )))
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_and_length() {
        let read = b"HTTP/1.1 206 Partial Content\r\nA: b\r\ncontent-LENGTH:  12 \r\n\r\nrest";
        let head = Head {
            status: 206,
            length: 12,
            body: 12,
        };
        assert_eq!(parse(read).unwrap(), Some((head, read.len() - 4)));
        assert_eq!(parse(&read[..20]).unwrap(), None);
    }

    #[test]
    fn refuses_what_it_cannot_measure() {
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "nonsense\r\n\r\n"] {
            assert!(parse(head.as_bytes()).is_err(), "{head}");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
