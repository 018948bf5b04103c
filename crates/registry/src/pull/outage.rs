//! O2: a bucket that does not answer is waited for by one reader at a time, not by each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quayside_blobs::StorageFault;

/// How many waits in vain, without a success between them, are an outage: one may be bad luck.
const FAILURES: u32 = 2;
/// How long nobody tries then.
const MEMORY: Duration = Duration::from_secs(3);
/// How long whoever tries next may take before another one does.
const TRIAL: Duration = Duration::from_secs(10);

/// What is known of a bucket that does not answer.
#[derive(Default)]
pub(crate) struct Outage(Mutex<Known>);

#[derive(Default)]
struct Known {
    failures: u32,
    /// Until when nobody tries, and why.
    away: Option<(Instant, StorageFault)>,
}

impl Outage {
    /// Why the bucket is not to be tried at `now`. If it is, whoever asks is the only one for a while.
    pub(super) fn at(&self, now: Instant) -> Option<StorageFault> {
        let mut known = self.known();
        let (until, fault) = known.away.as_mut()?;
        if now < *until {
            return Some(fault.clone());
        }
        *until = now + TRIAL;
        None
    }

    /// Reading has failed. What the bucket says about one object says nothing about the others.
    pub(super) fn failed(&self, fault: &StorageFault, now: Instant) {
        let silent = match fault {
            StorageFault::Bucket { source, .. } => source.status().is_none(),
            _ => false,
        };
        if !silent {
            return;
        }
        let mut known = self.known();
        known.failures += 1;
        if known.failures >= FAILURES {
            known.away = Some((now + MEMORY, fault.clone()));
        }
    }

    /// The bucket has answered.
    pub(super) fn ended(&self) {
        let mut known = self.known();
        known.failures = 0;
        known.away = None;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quayside_blobs::Refusal;

    use super::*;

    fn fault(refusal: Refusal) -> StorageFault {
        StorageFault::Bucket {
            action: "look at object",
            bucket: "b".into(),
            source: Arc::new(refusal),
        }
    }

    /// O2: two waits in vain are an outage; then one reader tries at a time, and a success ends it.
    #[test]
    fn one_reader_at_a_time_tries_a_silent_bucket() {
        let (outage, start) = (Outage::default(), Instant::now());
        let silence = fault(Refusal::Timeout);
        outage.failed(&silence, start);
        assert!(outage.at(start).is_none(), "once is bad luck");
        outage.failed(&silence, start);
        assert!(outage.at(start).is_some());
        let later = start + MEMORY;
        assert!(outage.at(later).is_none(), "one tries");
        assert!(outage.at(later).is_some(), "and no other");
        outage.failed(&silence, later);
        assert!(outage.at(later + MEMORY / 2).is_some());
        outage.ended();
        assert!(outage.at(later).is_none());
        outage.failed(&silence, later);
        assert!(outage.at(later).is_none(), "it counts anew");
    }

    /// O2: a bucket that answers is asked again, whatever it says.
    #[test]
    fn an_answer_is_no_outage() {
        let (outage, now) = (Outage::default(), Instant::now());
        let busy = fault(Refusal::Answer {
            status: 503,
            code: "SlowDown".to_owned(),
            message: String::new(),
        });
        for _ in 0..5 {
            outage.failed(&busy, now);
        }
        assert!(outage.at(now).is_none());
    }
}
