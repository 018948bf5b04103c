//! M15: what pulls move is collected in memory and written in batches, at most a second later.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quayside_metadata::{ManifestId, Metadata, MetadataError, Renewal, RepositoryId};
use tokio::sync::Notify;

const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Where a batch is written before its time.
const FULL: usize = 10_000;
/// What is kept while the database is away; beyond it the oldest are lost.
const LIMIT: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Tag(RepositoryId, String),
    Checked(RepositoryId, String),
    Failed(RepositoryId, String),
    Digest(ManifestId),
    Used(ManifestId, Option<String>),
}

fn key(renewal: &Renewal) -> Key {
    match renewal {
        Renewal::Tag { repository, name, .. } => Key::Tag(*repository, name.clone()),
        Renewal::Checked { repository, name, .. } => Key::Checked(*repository, name.clone()),
        Renewal::Failed { repository, name, .. } => Key::Failed(*repository, name.clone()),
        Renewal::Digest { manifest, .. } => Key::Digest(*manifest),
        Renewal::Used { manifest, name, .. } => Key::Used(*manifest, name.clone()),
    }
}

#[derive(Default)]
struct Batch {
    /// In order of their latest occurrence: a failed check must precede the pulls that it affects.
    entries: Vec<Option<Renewal>>,
    places: HashMap<Key, usize>,
    within: Option<Duration>,
}

impl Batch {
    fn push(&mut self, renewal: Renewal) {
        let place = self.entries.len();
        if let Some(older) = self.places.insert(key(&renewal), place) {
            self.entries[older] = None;
        }
        self.entries.push(Some(renewal));
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
                error = error as &dyn std::error::Error,
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
        let newer = mem::take(&mut batch.entries);
        batch.places.clear();
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
        }
    }

    /// M9, M15: a failed check precedes the later digest pull, however often both are repeated in one batch.
    #[test]
    fn a_repeated_renewal_keeps_the_order_of_its_latest_occurrence() {
        let mut batch = Batch::default();
        for renewal in [digest(1), failed(2), digest(3), failed(4), digest(5)] {
            batch.push(renewal);
        }
        let kept: Vec<_> = batch.entries.iter().flatten().cloned().collect();
        assert_eq!(kept, vec![failed(4), digest(5)]);
    }
}
