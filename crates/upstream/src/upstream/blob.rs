//! Blobs: a body from a byte on (B2, B3).

use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use http::{HeaderValue, StatusCode};
use quayside_oci::Digest;

use super::{Upstream, content_length, text};
use crate::body::BlobBody;
use crate::client::send::{Answer, Request};
use crate::error::UpstreamError;

/// A blob on its way.
#[derive(Debug)]
pub struct BlobAnswer {
    /// The offset of the first byte that `body` delivers: what was asked for, or 0 if the upstream
    /// ignored the range.
    pub start: u64,
    /// How many bytes `body` will deliver, if the upstream says so.
    pub length: Option<u64>,
    /// The bytes. They are not verified here.
    pub body: BlobBody,
}

impl Upstream {
    /// Asks for a blob from byte `from` on.
    ///
    /// [`UpstreamError::Invalid`] if the upstream answers with another range than the one that was
    /// asked for, or says that there is none (416): what it has now is not what we began to read.
    pub async fn get_blob(
        &self,
        repository: &str,
        digest: &Digest,
        from: u64,
    ) -> Result<BlobAnswer, UpstreamError> {
        let mut request = Request::get(self.url(repository, "blobs", digest.as_str()));
        request
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            request.headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let answer = self.inner.send(&request, repository).await?;
        let (start, length) = match answer.status() {
            StatusCode::OK => (0, content_length(answer.headers())),
            StatusCode::PARTIAL_CONTENT => partial(&answer, from)?,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(answer.invalid(format!("it has no bytes from {from} on")));
            }
            _ => return Err(self.refusal(answer).await),
        };
        let sender = self.inner.sender();
        let body = BlobBody::new(answer, sender.read_timeout, sender.drip);
        Ok(BlobAnswer { start, length, body })
    }
}

/// Start and length of a 206 that has to begin at `from`.
fn partial(answer: &Answer, from: u64) -> Result<(u64, Option<u64>), UpstreamError> {
    let (first, last) = text(answer.headers(), CONTENT_RANGE.as_str())
        .and_then(content_range)
        .ok_or_else(|| answer.invalid("a partial answer without a readable Content-Range"))?;
    if first != from {
        return Err(answer.invalid(format!(
            "asked for bytes from {from} on, it sends them from {first} on"
        )));
    }
    let length = last - first + 1;
    match content_length(answer.headers()) {
        Some(announced) if announced != length => {
            Err(answer.invalid("Content-Range and Content-Length contradict each other"))
        }
        _ => Ok((first, Some(length))),
    }
}

/// First and last byte of `bytes first-last/total`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (unit, rest) = text.split_once(char::is_whitespace)?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (
        first.trim().parse::<u64>().ok()?,
        last.trim().parse::<u64>().ok()?,
    );
    let fits = match total.trim() {
        "*" => last < u64::MAX,
        total => last < total.parse().ok()?,
    };
    (unit.eq_ignore_ascii_case("bytes") && first <= last && fits).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    /// B3
    #[test]
    fn reads_a_content_range_only_if_it_makes_sense() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9)));
        assert_eq!(content_range("Bytes 0-0/*"), Some((0, 0)));
        for nonsense in [
            "",
            "bytes",
            "bytes */10",
            "bytes 5-4/10",
            "bytes 5-10/10",
            "lines 1-2/3",
            "bytes -1/2",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(content_range(nonsense), None, "{nonsense:?}");
        }
    }
}
