//! M14, B5: `If-None-Match` and `If-Range` against an entity tag that is the quoted digest.

use http::{HeaderMap, HeaderValue, header};

/// Whether the client has this content already: answer 304.
pub(crate) fn is_not_modified(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lines = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// The `Range` header, unless an `If-Range` says that it was meant for other content.
pub(crate) fn range<'a>(headers: &'a HeaderMap, etag: &HeaderValue) -> Option<&'a str> {
    let applies = headers
        .get(header::IF_RANGE)
        .is_none_or(|condition| condition == etag);
    headers
        .get(header::RANGE)
        .filter(|_| applies)
        .and_then(|range| range.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: HeaderValue = HeaderValue::from_static("\"sha256:aa\"");

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    /// M14: one of the listed tags, weak or not, or any.
    #[test]
    fn knows_what_the_client_has() {
        for (value, expected) in [
            ("\"sha256:aa\"", true),
            ("W/\"sha256:aa\"", true),
            ("\"sha256:bb\", \"sha256:aa\"", true),
            ("*", true),
            ("\"sha256:bb\"", false),
            ("sha256:aa", false),
        ] {
            assert_eq!(
                is_not_modified(&headers(header::IF_NONE_MATCH, value), &ETAG),
                expected,
                "{value}"
            );
        }
        assert!(!is_not_modified(&HeaderMap::new(), &ETAG));
    }

    /// B5: a range that was meant for other content is no range.
    #[test]
    fn drops_a_range_that_was_meant_for_other_content() {
        let mut asked = headers(header::RANGE, "bytes=1-");
        assert_eq!(range(&asked, &ETAG), Some("bytes=1-"));
        asked.insert(header::IF_RANGE, HeaderValue::from_static("\"sha256:bb\""));
        assert_eq!(range(&asked, &ETAG), None);
        asked.insert(header::IF_RANGE, ETAG);
        assert_eq!(range(&asked, &ETAG), Some("bytes=1-"));
    }
}
