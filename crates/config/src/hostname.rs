//! `host[:port]` as people write it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host: lower case, without a final dot; an IPv6 literal in its canonical form within brackets.
pub(crate) type Host = String;

/// Splits and checks `host[:port]`. The message never repeats the text, which may hold a password.
pub(crate) fn authority(text: &str) -> Result<(Host, Option<u16>), String> {
    if text.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if text.contains("://") {
        return Err("must be host[:port], without a scheme like https://".to_owned());
    }
    if text.contains('@') {
        return Err("must be host[:port], without a user or password".to_owned());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest
            .split_once(']')
            .ok_or("the bracket of an IPv6 address is not closed")?;
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| "there is no IPv6 address in the brackets")?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return Err("only a port may follow the brackets".to_owned()),
        };
        return Ok((format!("[{address}]"), port));
    }
    match text.split_once(':') {
        None => Ok((name(text)?, None)),
        Some((_, rest)) if rest.contains(':') => {
            Err("there is more than one ':'; an IPv6 address must be in brackets".to_owned())
        }
        Some((host, digits)) => Ok((name(host)?, Some(port(digits)?))),
    }
}

/// Checks a DNS name or an IPv4 address.
///
/// Every spelling of an IPv4 address that an HTTP client would understand (`127.1`, `0x7f000001`) comes out
/// as the address, so that no check of addresses (A7) is passed by spelling.
pub(crate) fn name(text: &str) -> Result<Host, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err("the host is neither a DNS name nor an address".to_owned());
    }
    match url::Host::parse(&name) {
        Ok(url::Host::Ipv4(address)) => Ok(Ipv4Addr::to_string(&address)),
        Ok(url::Host::Domain(domain)) if domain == name => Ok(name),
        _ => Err("the host is neither a DNS name nor an address".to_owned()),
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn port(digits: &str) -> Result<u16, String> {
    let valid = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if valid && port != 0 => Ok(port),
        _ => Err("the port must be a number between 1 and 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_hosts_with_and_without_ports() {
        for (text, host, port) in [
            ("quay.io", "quay.io", None),
            ("Quay.IO:443", "quay.io", Some(443)),
            ("quay.io.", "quay.io", None),
            ("localhost:5000", "localhost", Some(5000)),
            ("reg_1.svc:1", "reg_1.svc", Some(1)),
            ("10.0.0.1:65535", "10.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:5000", "[::1]", Some(5000)),
            ("[2001:DB8::A]", "[2001:db8::a]", None),
        ] {
            assert_eq!(authority(text), Ok((host.to_owned(), port)), "{text}");
        }
    }

    /// A7: an address check must see the address, however it is spelled.
    #[test]
    fn unmasks_spellings_of_addresses() {
        for text in [
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.1.",
        ] {
            assert_eq!(authority(text), Ok(("127.0.0.1".to_owned(), None)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_host() {
        for text in [
            "",
            ".",
            ":5000",
            "a:",
            "a:0",
            "a:65536",
            "a:+5",
            "a:5a",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]5",
            "[::1]:",
            "[x]",
            "[fe80::1%eth0]",
            "a b",
            "a..b",
            "-a",
            "a-",
            "ä.example",
            "a/b",
            "a\0",
            "a%41",
            "https://a",
            "u:p@a",
            "*.a",
            "1.2.3.256",
            "1.2.3.4.5",
        ] {
            assert!(authority(text).is_err(), "{text:?}");
        }
        assert!(authority(&"a".repeat(64)).is_err());
        assert!(authority(&vec!["a"; 128].join(".")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_again(text in "[a-zA-Z0-9.:\\[\\]_-]{0,24}") {
            if let Ok((host, port)) = authority(&text) {
                let again = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
                prop_assert_eq!(authority(&again), Ok((host, port)));
            }
        }
    }
}
