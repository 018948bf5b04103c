//! The last step: bytes that nothing names are deleted (G3).

use std::collections::HashSet;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use quayside_blobs::{DeleteError, StorageKey};
use quayside_metadata::Garbage;

use super::sweeper::failed;
use super::worker::{Progress, Worker};
use super::{GcError, Report};
use crate::chain::Chain;
use crate::clock::Millis;
use crate::metrics::Metrics;
use crate::pull::Engine;
use crate::pull::replica::silent_since;

/// How many keys one unit deletes.
const PAGE: u32 = 1000;
/// When a key that could not be deleted is tried again.
const RETRY: Millis = 60_000;

/// Gives fills up that nobody goes on with, and drops the leases of what nobody does any more. Those of this process
/// are renewed, or, where no other process can have any, never live so long.
pub(super) struct ExpiredFills<'a> {
    engine: &'a Engine,
}

impl<'a> ExpiredFills<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self { engine }
    }
}

impl Worker for ExpiredFills<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        async {
            let (metadata, now) = (&self.engine.metadata, self.engine.now());
            let silent = silent_since(metadata, now);
            let expired = metadata
                .expire_fills(silent, self.engine.garbage_not_before())
                .await;
            let expired = expired.map_err(failed("give up expired fills"))?;
            report.expired_fills += expired;
            if expired > 0 {
                return Ok(Progress::More);
            }
            if metadata.is_shared() {
                let dropped = metadata.expire_leases(now).await;
                dropped.map_err(failed("drop expired leases"))?;
            }
            Ok(Progress::Done)
        }
        .boxed()
    }
}

/// Deletes garbage whose time has come: the bytes first, then the entries, so that a crash between them repeats.
pub(super) struct Deleter<'a> {
    engine: &'a Engine,
    metrics: &'a Metrics,
}

impl<'a> Deleter<'a> {
    pub(super) fn new(engine: &'a Engine, metrics: &'a Metrics) -> Self {
        Self { engine, metrics }
    }

    async fn delete(&self, report: &mut Report) -> Result<Progress, GcError> {
        let (metadata, now) = (&self.engine.metadata, self.engine.now());
        let due = metadata.due_garbage(now, PAGE).await;
        let due = due.map_err(failed("read what is to be deleted"))?;
        if due.is_empty() {
            return Ok(Progress::Done);
        }
        let failures = self.delete_bytes(&due).await;
        let (kept, gone): (Vec<&Garbage>, Vec<&Garbage>) =
            due.iter().partition(|garbage| failures.contains(&garbage.key));
        // Out of the way of the others, which share the page.
        if !kept.is_empty() {
            let retry_at = now.saturating_add(RETRY);
            let postponed = metadata.postpone_garbage(&keys(&kept), retry_at).await;
            postponed.map_err(failed("postpone a deletion"))?;
        }
        if !gone.is_empty() {
            let forgotten = metadata.forget_garbage(&keys(&gone)).await;
            forgotten.map_err(failed("forget what was deleted"))?;
        }
        let bytes = gone.iter().map(|garbage| garbage.size).sum();
        self.metrics.collected_bytes.inc_by(bytes);
        report.deleted_keys += gone.len() as u64;
        report.deleted_bytes += bytes;
        report.failed_keys += kept.len() as u64;
        Ok(if due.len() >= PAGE as usize {
            Progress::More
        } else {
            Progress::Done
        })
    }

    /// Gives the keys that may still have bytes.
    async fn delete_bytes(&self, due: &[Garbage]) -> HashSet<String> {
        let mut failures = HashSet::new();
        let mut parsed = Vec::with_capacity(due.len());
        for garbage in due {
            match StorageKey::parse(&garbage.key) {
                Ok(key) => parsed.push(key),
                Err(error) => {
                    let error = Chain(&error);
                    tracing::error!(key = garbage.key, %error, "not a storage key, not deleted");
                    failures.insert(garbage.key.clone());
                }
            }
        }
        if let Err(DeleteError { failed }) = self.engine.store.delete(&parsed).await {
            if let Some((key, fault)) = failed.first() {
                tracing::warn!(
                    count = failed.len(), %key, error = %Chain(fault),
                    "bytes not deleted, trying again later"
                );
            }
            failures.extend(failed.into_iter().map(|(key, _)| key.as_str().to_owned()));
        }
        failures
    }
}

impl Worker for Deleter<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        self.delete(report).boxed()
    }
}

fn keys(garbage: &[&Garbage]) -> Vec<String> {
    garbage.iter().map(|garbage| garbage.key.clone()).collect()
}
