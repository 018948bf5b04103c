//! M15: what pulls move is collected in memory and written in batches, at most a second later.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::chain::Chain;
use quayside_metadata::{ManifestId, Metadata, MetadataError, Renewal, RepositoryId};
use tokio::sync::Notify;

const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Where a batch is written before its time.
const FULL: usize = 10_000;
/// What is kept while the database is away; beyond it the oldest are lost.
const LIMIT: usize = 100_000;

/// What is written once a batch, however often it happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Tag(RepositoryId, String),
    Checked(RepositoryId, String, Epoch),
    Failed(RepositoryId, String, Epoch),
    Digest(ManifestId, Epoch),
    Used(ManifestId, Option<String>),
}

/// Grows wherever a failed check follows a pull by digest or the other way round: what such a pull renews depends
/// on the failures before it, so neither may be moved across the other (M9).
type Epoch = u32;

/// Where the renewals of one key stand.
#[derive(Debug, Clone, Copy)]
struct Places {
    first: usize,
    last: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Pull,
    Failure,
}

#[derive(Default)]
struct Batch {
    entries: Vec<Option<Renewal>>,
    places: HashMap<Key, Places>,
    epoch: Epoch,
    /// The side of the epoch, once it has one.
    side: Option<Side>,
    within: Option<Duration>,
}

impl Batch {
    fn push(&mut self, renewal: Renewal) {
        self.turn(&renewal);
        let key = self.key(&renewal);
        let end = self.entries.len();
        let Some(places) = self.places.get_mut(&key) else {
            self.places.insert(
                key,
                Places {
                    first: end,
                    last: end,
                },
            );
            self.entries.push(Some(renewal));
            return;
        };
        match renewal {
            // Moves the times on; what follows it in the batch may rely on it as early as before.
            Renewal::Tag { .. } | Renewal::Checked { .. } => {
                self.entries[places.first] = Some(renewal);
                return;
            }
            // The first pull decides whether the tag still lives at the last one.
            Renewal::Digest { .. } if places.first == places.last => {}
            Renewal::Digest { .. } | Renewal::Failed { .. } | Renewal::Used { .. } => {
                self.entries[places.last] = None;
            }
        }
        places.last = end;
        self.entries.push(Some(renewal));
    }

    fn turn(&mut self, renewal: &Renewal) {
        let side = match renewal {
            Renewal::Digest { .. } => Side::Pull,
            Renewal::Failed { .. } => Side::Failure,
            Renewal::Tag { .. } | Renewal::Checked { .. } | Renewal::Used { .. } => return,
        };
        if self.side.is_some_and(|before| before != side) {
            self.epoch += 1;
        }
        self.side = Some(side);
    }

    fn key(&self, renewal: &Renewal) -> Key {
        match renewal {
            Renewal::Tag { repository, name, .. } => Key::Tag(*repository, name.clone()),
            Renewal::Checked { repository, name, .. } => Key::Checked(*repository, name.clone(), self.epoch),
            Renewal::Failed { repository, name, .. } => Key::Failed(*repository, name.clone(), self.epoch),
            Renewal::Digest { manifest, .. } => Key::Digest(*manifest, self.epoch),
            Renewal::Used { manifest, name, .. } => Key::Used(*manifest, name.clone()),
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= FULL
    }
}

/// The renewals that wait for the next batch.
#[derive(Default)]
pub(crate) struct Renewals {
    batch: Mutex<Batch>,
    begun: Notify,
    urgent: Notify,
    /// Held while a batch is written, so that a flush returns only after every earlier one.
    writing: tokio::sync::Mutex<()>,
    /// Whether the database did not take the last batch.
    refused: AtomicBool,
}

impl Renewals {
    /// Adds one. `ttl` is the organization's; under 10 s the batch is written sooner than in a second.
    pub(crate) fn push(&self, renewal: Renewal, ttl: Option<Duration>) {
        let within = ttl.map_or(LONGEST_DELAY, |ttl| (ttl / 10).min(LONGEST_DELAY));
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let sooner = batch.within.is_some_and(|planned| within < planned);
        if batch.within.is_none() {
            self.begun.notify_one();
        }
        if sooner || batch.is_full() {
            self.urgent.notify_one();
        }
        batch.within = Some(batch.within.map_or(within, |planned| planned.min(within)));
        batch.push(renewal);
    }

    /// Writes what waits now. Returns once it, and everything taken before it, is in the database; what the database
    /// does not take goes on waiting.
    pub(crate) async fn flush(&self, metadata: &Metadata) {
        // It was logged, and is in the next batch.
        let _ = self.written(metadata).await;
    }

    /// As [`Renewals::flush`], for who may not go on unless all of it is written.
    pub(crate) async fn written(&self, metadata: &Metadata) -> Result<(), MetadataError> {
        let _turn = self.writing.lock().await;
        let taken = mem::take(&mut *self.batch.lock().unwrap_or_else(PoisonError::into_inner));
        let renewals: Vec<Renewal> = taken.entries.into_iter().flatten().collect();
        if renewals.is_empty() {
            return Ok(());
        }
        let (written, count) = (metadata.renew(&renewals).await, renewals.len());
        let refused_before = self.refused.swap(written.is_err(), Ordering::Relaxed);
        match &written {
            // An outage is one event, however often the batch is tried again.
            Err(error) if !refused_before => tracing::warn!(
                error = %Chain(error),
                count,
                "renewals wait for the database"
            ),
            Ok(()) if refused_before => tracing::info!(count, "renewals written after waiting"),
            Err(_) | Ok(()) => {}
        }
        if written.is_err() {
            self.put_back(renewals);
        }
        written
    }

    fn put_back(&self, renewals: Vec<Renewal>) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = mem::take(&mut *batch).entries;
        let all = renewals
            .into_iter()
            .chain(newer.into_iter().flatten())
            .collect::<Vec<_>>();
        let skip = all.len().saturating_sub(LIMIT);
        for renewal in all.into_iter().skip(skip) {
            batch.push(renewal);
        }
        batch.within = Some(LONGEST_DELAY);
        self.begun.notify_one();
    }

    /// Writes batches for as long as the process runs.
    pub(crate) async fn run(&self, metadata: &Metadata) {
        loop {
            self.begun.notified().await;
            loop {
                let within = self.batch.lock().unwrap_or_else(PoisonError::into_inner).within;
                let Some(within) = within else { break };
                // An urgent call only shortens the wait; the batch is written either way.
                let _ = tokio::time::timeout(within, self.urgent.notified()).await;
                self.flush(metadata).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(at: i64) -> Renewal {
        Renewal::Failed {
            repository: RepositoryId(1),
            name: "1".to_owned(),
            at,
        }
    }

    fn digest(at: i64) -> Renewal {
        Renewal::Digest {
            repository: RepositoryId(1),
            manifest: ManifestId(1),
            at,
            ends_at: at + 10,
            quota_bytes: None,
        }
    }

    fn kept(renewals: &[Renewal]) -> Vec<Renewal> {
        let mut batch = Batch::default();
        for renewal in renewals {
            batch.push(renewal.clone());
        }
        batch.entries.into_iter().flatten().collect()
    }

    /// M9, M15: a pull by digest and a failed check are never moved across each other: the pull before the failure
    /// renews, the one after it does not.
    #[test]
    fn pulls_and_failures_keep_their_order() {
        let happened = [digest(1), failed(2), digest(3), failed(4), digest(5)];
        assert_eq!(kept(&happened), happened);
    }

    /// M9, M15: a tag that dies between two pulls of one batch was kept alive by the first.
    #[test]
    fn the_first_and_the_last_of_many_pulls_are_written() {
        assert_eq!(
            kept(&[digest(1), digest(2), digest(3), digest(4)]),
            [digest(1), digest(4)]
        );
    }

    /// M3, M15: of many failures of one tag the last is written.
    #[test]
    fn the_last_of_many_failures_is_written() {
        assert_eq!(kept(&[failed(1), failed(2), failed(3)]), [failed(3)]);
    }
}
