//! A2: how often somebody has failed to log in lately.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Millis;

/// So many failures within [`SPAN`] are enough.
const LIMIT: usize = 10;
/// One minute.
const SPAN: Millis = 60_000;
/// More sources than can fail in a minute, as slowly as passwords are checked. Beyond it the one that has been
/// quiet for longest is forgotten.
const SOURCES: usize = 10_000;

/// One (address, user), as a keyed hash: what is typed into a login field may be a password.
pub(crate) type Source = [u8; 32];

/// The latest failures of one source, the oldest at `next`.
struct Recent {
    times: [Millis; LIMIT],
    next: usize,
}

impl Recent {
    fn oldest(&self) -> Millis {
        self.times[self.next]
    }

    fn latest(&self) -> Millis {
        self.times[(self.next + LIMIT - 1) % LIMIT]
    }
}

/// The failures of the last minute, by source.
#[derive(Default)]
pub(crate) struct Failures {
    sources: HashMap<Source, Recent>,
}

impl Failures {
    /// How long a source has to wait before it may try again; `None` if it may now.
    pub(crate) fn wait(&self, source: &Source, now: Millis) -> Option<Duration> {
        let oldest = self.sources.get(source)?.oldest();
        let left = oldest.saturating_add(SPAN).saturating_sub(now);
        // What lies in the future was counted before the clock was set back.
        let counts = oldest <= now && left > 0;
        counts.then(|| Duration::from_millis(left.unsigned_abs()))
    }

    /// Counts a failure; true if it was the one too many.
    pub(crate) fn count(&mut self, source: Source, now: Millis) -> bool {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            self.make_room(now);
        }
        let recent = self.sources.entry(source).or_insert(Recent {
            times: [Millis::MIN; LIMIT],
            next: 0,
        });
        recent.times[recent.next] = now;
        recent.next = (recent.next + 1) % LIMIT;
        self.wait(&source, now).is_some()
    }

    fn make_room(&mut self, now: Millis) {
        self.sources
            .retain(|_, recent| (0..SPAN).contains(&now.saturating_sub(recent.latest())));
        if self.sources.len() < SOURCES {
            return;
        }
        let quietest = self.sources.iter().min_by_key(|(_, recent)| recent.latest());
        if let Some(source) = quietest.map(|(source, _)| *source) {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Source = [1; 32];

    fn numbered(number: usize) -> Source {
        let mut source = [0; 32];
        source[..8].copy_from_slice(&number.to_le_bytes());
        source
    }

    /// A2: ten failures within a minute are the limit, and it is over a minute after the first of them.
    #[test]
    fn ten_failures_a_minute_are_the_limit() {
        let mut failures = Failures::default();
        for second in 0..10 {
            assert_eq!(failures.wait(&ALICE, second * 1_000), None, "after {second}");
            assert_eq!(failures.count(ALICE, second * 1_000), second == 9);
        }
        assert_eq!(failures.wait(&ALICE, 9_000), Some(Duration::from_secs(51)));
        assert_eq!(failures.wait(&ALICE, 59_999), Some(Duration::from_millis(1)));
        assert_eq!(failures.wait(&ALICE, 60_000), None);
        failures.count(ALICE, 60_000);
        assert_eq!(failures.wait(&ALICE, 60_500), Some(Duration::from_millis(500)));
        assert_eq!(failures.wait(&numbered(2), 9_000), None, "somebody else");
    }

    /// A2: failures that are spread out are never too many.
    #[test]
    fn slow_failures_are_never_too_many() {
        let mut failures = Failures::default();
        for turn in 0..100 {
            assert_eq!(failures.wait(&ALICE, turn * 6_001), None);
            failures.count(ALICE, turn * 6_001);
        }
    }

    /// A2: a clock that was set back locks nobody out.
    #[test]
    fn failures_in_the_future_do_not_count() {
        let mut failures = Failures::default();
        for _ in 0..10 {
            failures.count(ALICE, 1_000_000);
        }
        assert!(failures.wait(&ALICE, 1_000_001).is_some());
        assert_eq!(failures.wait(&ALICE, 999_999), None);
    }

    /// A2: memory is bounded; those who failed last are remembered.
    #[test]
    fn forgets_who_has_been_quiet_for_longest() {
        let mut failures = Failures::default();
        let count = |failures: &mut Failures, source, now| {
            for _ in 0..LIMIT {
                failures.count(source, now);
            }
        };
        for number in 0..SOURCES {
            count(&mut failures, numbered(number), 1_000);
        }
        count(&mut failures, numbered(0), 2_000);
        count(&mut failures, numbered(SOURCES), 3_000);
        assert_eq!(failures.sources.len(), SOURCES);
        assert!(failures.wait(&numbered(0), 3_000).is_some());
        assert!(failures.wait(&numbered(SOURCES), 3_000).is_some());
        count(&mut failures, numbered(SOURCES + 1), 62_000);
        assert_eq!(
            failures.sources.len(),
            2,
            "what is older than a minute goes first"
        );
    }
}
