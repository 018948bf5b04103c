//! M3: after a failed check, further checks of that upstream are skipped for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Millis, millis};

const FIRST: Millis = 1_000;
const LONGEST: Millis = 30_000;
const LONGEST_RETRY_AFTER: Millis = 3_600_000;

/// Whom checks go to: an upstream's address and a fingerprint of the credentials used there.
pub(crate) type CheckKey = String;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    begun: Millis,
    until: Millis,
    length: Millis,
}

/// The pauses of all upstreams. Bounded by the number of organizations that were ever served.
#[derive(Default)]
pub(crate) struct Backoffs {
    pauses: Mutex<HashMap<CheckKey, Pause>>,
}

impl Backoffs {
    /// Whether a check is to be skipped now.
    pub(crate) fn skips(&self, key: &str, now: Millis) -> bool {
        let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        // A pause that reaches further than any pause may last was begun before the clock was set back.
        pauses
            .get(key)
            .is_some_and(|pause| now < pause.until && pause.until - now <= LONGEST_RETRY_AFTER)
    }

    /// A check that began at `started` failed: pause twice as long as the last time, or as long as upstream asked
    /// for. Checks that ran side by side are one failure, and none of them shortens what another was told.
    pub(crate) fn failed(&self, key: &str, retry_after: Option<Duration>, started: Millis, now: Millis) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pauses.get(key).filter(|pause| pause.begun <= now);
        let side_by_side = before.filter(|pause| started <= pause.begun);
        let length = match (side_by_side, before) {
            (Some(pause), _) => pause.length,
            (None, Some(pause)) => (pause.length * 2).min(LONGEST),
            (None, None) => FIRST,
        };
        let begun = side_by_side.map_or(now, |pause| pause.begun);
        let asked = retry_after.map(|asked| now.saturating_add(millis(asked).min(LONGEST_RETRY_AFTER)));
        let until = asked.unwrap_or(begun.saturating_add(length));
        let until = side_by_side.map_or(until, |pause| until.max(pause.until));
        pauses.insert(key.to_owned(), Pause { begun, until, length });
    }

    /// Upstream answered something: it is there.
    pub(crate) fn answered(&self, key: &str) {
        self.pauses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M3: 1 s, doubling to 30 s.
    #[test]
    fn pauses_double_up_to_thirty_seconds() {
        let backoffs = Backoffs::default();
        let mut now = 0;
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            backoffs.failed("a", None, now, now);
            assert!(backoffs.skips("a", now + expected - 1));
            now += expected;
            assert!(!backoffs.skips("a", now));
        }
    }

    /// M3: `Retry-After` is obeyed, but for no longer than an hour.
    #[test]
    fn retry_after_is_obeyed_up_to_an_hour() {
        let backoffs = Backoffs::default();
        backoffs.failed("a", Some(Duration::from_secs(90)), 0, 0);
        assert!(backoffs.skips("a", 89_999));
        assert!(!backoffs.skips("a", 90_000));
        backoffs.failed("a", Some(Duration::from_hours(24)), 100_000, 100_000);
        assert!(backoffs.skips("a", 100_000 + 3_599_999));
        assert!(!backoffs.skips("a", 100_000 + 3_600_000));
    }

    /// M3: any answer resets; pauses are per host and credential.
    #[test]
    fn an_answer_ends_the_pause_of_its_own_key_only() {
        let backoffs = Backoffs::default();
        backoffs.failed("a", None, 0, 0);
        backoffs.failed("b", None, 0, 0);
        backoffs.answered("a");
        assert!(!backoffs.skips("a", 1));
        assert!(backoffs.skips("b", 1));
        backoffs.failed("a", None, 10, 10);
        assert!(
            !backoffs.skips("a", 1_010),
            "the pause starts at one second again"
        );
    }

    /// M3: a burst of checks that fail together is one failure, and does not shorten a `Retry-After`.
    #[test]
    fn checks_that_fail_side_by_side_count_once() {
        let backoffs = Backoffs::default();
        for end in 100..108 {
            backoffs.failed("a", None, 90, end);
        }
        assert!(backoffs.skips("a", 1_099));
        assert!(!backoffs.skips("a", 1_100));
        backoffs.failed("b", Some(Duration::from_secs(20)), 90, 100);
        backoffs.failed("b", None, 95, 200);
        assert!(backoffs.skips("b", 20_099));
        assert!(!backoffs.skips("b", 20_100));
    }
}
