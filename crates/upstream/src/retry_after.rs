//! `Retry-After`: seconds or a date.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;

/// Longer waits are taken as this: nobody means them.
const LONGEST: Duration = Duration::from_hours(24);

/// How long a response asks us to wait, at most a day. A date is compared with the response's own
/// `Date` where it has one, so that a wrong clock on either side does not matter, else with `now`.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let until = http_date(text)?;
    let from = headers
        .get(DATE)
        .and_then(|date| http_date(date.to_str().ok()?))
        .unwrap_or(now);
    // A date that has passed means now.
    let wait = until.duration_since(from);
    Some(Duration::try_from(wait).unwrap_or_default().min(LONGEST))
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry: &'static str, date: Option<&'static str>) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(RETRY_AFTER, http::HeaderValue::from_static(retry));
        if let Some(date) = date {
            map.insert(DATE, http::HeaderValue::from_static(date));
        }
        map
    }

    /// M3, M8
    #[test]
    fn reads_seconds_and_dates_and_nothing_else() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let wait = |retry, date| retry_after(&headers(retry, date), now);
        assert_eq!(wait("17", None), Some(Duration::from_secs(17)));
        assert_eq!(wait(" 0 ", None), Some(Duration::ZERO));
        assert_eq!(wait("99999999999999999999999", None), Some(LONGEST));
        assert_eq!(
            wait("Tue, 24 Nov 2026 10:01:30 GMT", None),
            Some(Duration::from_secs(90))
        );
        assert_eq!(wait("Tue, 24 Nov 2026 09:00:00 GMT", None), Some(Duration::ZERO));
        let date = Some("Tue, 24 Nov 2026 10:01:00 GMT");
        assert_eq!(
            wait("Tue, 24 Nov 2026 10:01:30 GMT", date),
            Some(Duration::from_secs(30))
        );
        for nonsense in ["", "-1", "1.5", "soon", "Tue, 99 Nov 2026"] {
            assert_eq!(wait(nonsense, None), None, "{nonsense:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
