//! Redirects, followed by hand so that credentials never travel with them (A7). Pure.

use http::{HeaderValue, StatusCode};
use url::Url;

/// How many redirects one request may go through.
pub(crate) const MAX_HOPS: usize = 5;

/// Whether an answer asks us to go elsewhere.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Where a redirect leads, or why it is not followed. The reason names schemes and hosts only:
/// targets are often presigned.
pub(crate) fn target(from: &Url, location: Option<&HeaderValue>) -> Result<Url, String> {
    let location = location.ok_or("a redirect without a location")?;
    let text = location.to_str().map_err(|_| "a location that is not text")?;
    let mut to = from.join(text).map_err(|_| "a location that is not a URL")?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err("a redirect from https to http".to_owned()),
        (_, other) => return Err(format!("a redirect to the scheme {other}")),
    }
    // A name in the location would be sent as credentials that are not ours.
    if to.set_username("").is_err() || to.set_password(None).is_err() {
        return Err("a location without a host".to_owned());
    }
    to.set_fragment(None);
    Ok(to)
}

/// Whether two URLs are one machine in the sense of A7: scheme, host and port.
pub(crate) fn same_place(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, to: &'static str) -> Result<String, String> {
        target(&Url::parse(from).unwrap(), Some(&HeaderValue::from_static(to))).map(String::from)
    }

    /// A7
    #[test]
    fn refuses_to_leave_https_and_other_schemes() {
        assert!(follow("https://a/v2/", "http://a/v2/").is_err());
        assert!(follow("https://a/v2/", "ftp://a/").is_err());
        assert!(follow("http://a/v2/", "file:///etc/passwd").is_err());
        assert_eq!(follow("http://a/v2/", "https://b/x").unwrap(), "https://b/x");
        assert_eq!(follow("http://a/v2/", "//b/x").unwrap(), "http://b/x");
        assert_eq!(
            follow("https://a/v2/n/blobs/d", "/elsewhere?sig=1#part").unwrap(),
            "https://a/elsewhere?sig=1"
        );
    }

    /// A7
    #[test]
    fn takes_no_credentials_from_a_location() {
        assert_eq!(
            follow("https://a/", "https://user:pass@b/x").unwrap(),
            "https://b/x"
        );
    }

    /// A6: what is presigned does not get into a message.
    #[test]
    fn keeps_paths_and_queries_out_of_the_reason() {
        let reason = follow("https://a/", "http://b/secret?sig=canary").unwrap_err();
        assert!(!reason.contains("canary") && !reason.contains("secret"));
        assert!(target(&Url::parse("https://a/").unwrap(), None).is_err());
        assert!(follow("https://a/", "https://[::1").is_err());
    }

    /// A7
    #[test]
    fn tells_places_apart_by_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_place(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(same("https://a/x", "https://A:443/y"));
        assert!(!same("https://a/", "https://a:444/"));
        assert!(!same("https://a/", "http://a/"));
        assert!(!same("https://a/", "https://b.a/"));
    }
}
