//! G3 on a bucket: what somebody reads there is not deleted under him. An open file outlives its deletion, a part of
//! an object that is still to be asked for does not.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quayside_blobs::StorageKey;

use super::Engine;
use crate::chain::Chain;
use crate::clock::millis;

/// How many keys one statement renews.
const PAGE: usize = 1000;

/// The transfers from a bucket that run.
#[derive(Default)]
pub(crate) struct Readers(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    last: u64,
    /// What is read, and when that began, on the clock that nobody sets.
    transfers: HashMap<u64, (StorageKey, Duration)>,
}

/// One transfer, for as long as it lives.
pub(crate) struct Reader {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Readers {
    /// Somebody begins to read `key`.
    pub(crate) fn enter(&self, key: &StorageKey, now: Duration) -> Reader {
        let mut running = lock(&self.0);
        running.last += 1;
        let number = running.last;
        running.transfers.insert(number, (key.clone(), now));
        drop(running);
        Reader {
            running: Arc::clone(&self.0),
            number,
        }
    }

    /// What is read since `age` or longer, each key once.
    fn older_than(&self, age: Duration, now: Duration) -> Vec<String> {
        let running = lock(&self.0);
        let old = running
            .transfers
            .values()
            .filter(|(_, began)| now.saturating_sub(*began) >= age);
        let mut keys: Vec<_> = old.map(|(key, _)| key.as_str().to_owned()).collect();
        drop(running);
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.running).transfers.remove(&self.number);
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts off the deletion of what is being read, for as long as this replica runs.
///
/// Bytes that became garbage stay for a grace, and are read at most a quarter of it after nothing named them any more.
/// A transfer that is a quarter of a grace old is renewed within a third, and so in time; one that is shorter, as
/// nearly all are, costs nothing. Of what is not garbage nothing is written.
pub(crate) async fn keep(engine: Arc<Engine>) {
    let mut refused = false;
    loop {
        engine.clock.sleep(engine.grace / 3).await;
        let keys = engine
            .readers
            .older_than(engine.grace / 4, engine.clock.monotonic());
        let mut renewed = Ok(());
        for page in keys.chunks(PAGE) {
            let not_before = engine.now().saturating_add(millis(engine.grace));
            renewed = renewed.and(engine.metadata.postpone_garbage(page, not_before).await);
        }
        let refused_before = mem::replace(&mut refused, renewed.is_err());
        if let Err(error) = renewed
            && !refused_before
        {
            tracing::warn!(error = %Chain(&error), "deletion of what is being read not put off, trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use quayside_oci::Digest;

    use super::*;

    fn key(token: char) -> StorageKey {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        StorageKey::new(&digest, &token.to_string().repeat(32)).unwrap()
    }

    /// G3: a transfer is of interest once it is long, and only while it runs; many of one key are one.
    #[test]
    fn knows_the_long_transfers_that_run() {
        let readers = Readers::default();
        let at = Duration::from_secs;
        let first = readers.enter(&key('a'), at(0));
        let (_second, _third) = (readers.enter(&key('a'), at(5)), readers.enter(&key('b'), at(9)));
        assert!(readers.older_than(at(10), at(9)).is_empty());
        assert_eq!(readers.older_than(at(10), at(10)), [key('a').as_str()]);
        drop(first);
        assert!(readers.older_than(at(10), at(10)).is_empty());
        assert_eq!(
            readers.older_than(at(10), at(20)),
            [key('a').as_str(), key('b').as_str()]
        );
    }
}
