//! One run of a comparison.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use quayside_blobs::{Blob, DeleteError, Found, Listed, OpenError, ReadError, StorageKey, StrayKind};
use quayside_metadata::{KeyPlace, MetadataError, StoredKey};
use quayside_oci::{Digest, Hasher};
use tokio::sync::mpsc;

use super::finding::{Damage, Fault, Finding};
use super::merge::{Next, Pages, next};
use super::{Depth, Event, Progress, Report, Stop};
use crate::chain::Chain;
use crate::pull::Engine;
use crate::tools::Repair;

/// How much of either side is in memory.
const PAGE: u16 = 1000;
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

pub(super) struct Comparison<'a> {
    engine: &'a Engine,
    depth: Depth,
    repair: Repair,
    events: mpsc::Sender<Event>,
    files: Pages<Found>,
    rows: Pages<StoredKey>,
    /// In storage, and to be looked for in the database again.
    unknown: Vec<Found>,
    progress: Progress,
    told: Instant,
    listed: u64,
    found: u64,
    repaired: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(engine: &'a Engine, depth: Depth, repair: Repair, events: mpsc::Sender<Event>) -> Self {
        Self {
            engine,
            depth,
            repair,
            events,
            files: Pages::new(),
            rows: Pages::new(),
            unknown: Vec::new(),
            progress: Progress::default(),
            told: Instant::now(),
            listed: 0,
            found: 0,
            repaired: 0,
        }
    }

    pub(super) async fn run(mut self) -> Result<Report, Stop> {
        let total = self.engine.metadata.stored_total().await;
        let total = total.map_err(metadata("count what is stored"))?;
        (self.progress.total_blobs, self.progress.total_bytes) = (total.blobs, total.bytes);
        self.tell(Event::Progress(self.progress)).await?;
        loop {
            self.turn_pages().await?;
            match next(self.files.front(), self.rows.front()) {
                Next::End => break,
                Next::File => self.unknown.extend(self.files.pop()),
                Next::Row => {
                    if let Some(stored) = self.rows.pop() {
                        self.examine(&stored).await?;
                    }
                }
                Next::Both => {
                    if let (Some(Found::Blob(listed)), Some(stored)) = (self.files.pop(), self.rows.pop()) {
                        self.compare(&listed, &stored).await?;
                    }
                }
            }
            self.tell_progress().await?;
        }
        self.settle().await?;
        Ok(Report {
            blobs: self.progress.blobs,
            files: self.listed,
            verified_bytes: self.progress.verified_bytes,
            found: self.found,
            remaining: self.found - self.repaired,
        })
    }

    async fn turn_pages(&mut self) -> Result<(), Stop> {
        if self.files.is_read() {
            let page = self.engine.store.list(self.files.last(), PAGE.into()).await;
            let page = page.map_err(Stop::Storage)?;
            self.listed += page
                .iter()
                .filter(|found| matches!(found, Found::Blob(_)))
                .count() as u64;
            self.files.fill(page, PAGE.into());
            self.settle().await?;
        }
        if self.rows.is_read() {
            let after = self.rows.last().map(|stored| stored.key.as_str());
            let page = self.engine.metadata.stored_keys(after, PAGE.into()).await;
            let page = page.map_err(metadata("list stored blobs"))?;
            self.rows.fill(page, PAGE.into());
        }
        Ok(())
    }

    async fn compare(&mut self, listed: &Listed, stored: &StoredKey) -> Result<(), Stop> {
        if listed.size == stored.size && self.depth == Depth::Presence {
            self.progress.blobs += 1;
            return Ok(());
        }
        self.examine(stored).await
    }

    /// Looks at the bytes of a blob, and if something is wrong with them, whether they are the blob's still.
    async fn examine(&mut self, stored: &StoredKey) -> Result<(), Stop> {
        self.progress.blobs += 1;
        let Some(damage) = self.damage(stored).await? else {
            return Ok(());
        };
        let places = self
            .engine
            .metadata
            .places_of_keys(std::slice::from_ref(&stored.key));
        let places = places.await.map_err(metadata("look for a stored blob again"))?;
        if places.get(&stored.key) != Some(&KeyPlace::Blob) {
            return Ok(());
        }
        let repaired = self.repair == Repair::PutRight && self.forget(stored, &damage).await?;
        self.report(damage.of(stored), repaired).await
    }

    async fn damage(&mut self, stored: &StoredKey) -> Result<Option<Damage>, Stop> {
        let Ok(key) = StorageKey::parse(&stored.key) else {
            return Ok(Some(Damage::BadKey));
        };
        let damage = match self.engine.store.open_anew(&key, stored.size).await {
            Ok(blob) if self.depth == Depth::Content => return self.verify(&blob, &stored.digest).await,
            Ok(_) => return Ok(None),
            Err(OpenError::Missing { .. }) => Damage::Lost,
            Err(OpenError::WrongLength { found, .. }) => Damage::WrongLength { actual: found },
            Err(OpenError::Io(fault)) => Damage::Unreadable {
                reason: Chain(&fault).to_string(),
            },
        };
        Ok(Some(damage))
    }

    async fn verify(&mut self, blob: &Blob, digest: &Digest) -> Result<Option<Damage>, Stop> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut frames = blob.reader(0..blob.size());
        while let Some(frame) = frames.next().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(ReadError::Truncated { offset, .. }) => {
                    return Ok(Some(Damage::WrongLength { actual: offset }));
                }
                Err(error) => {
                    let reason = Chain(&error).to_string();
                    return Ok(Some(Damage::Unreadable { reason }));
                }
            };
            self.progress.verified_bytes += frame.len() as u64;
            // Off the threads that answer requests.
            let hashing = tokio::task::spawn_blocking(move || {
                hasher.update(&frame);
                hasher
            });
            // It fails only while the process ends.
            hasher = hashing.await.map_err(|_| Stop::Unheard)?;
            self.tell_progress().await?;
        }
        let actual = hasher.finish();
        Ok((actual != *digest).then_some(Damage::WrongContent { actual }))
    }

    /// As B8: the blob is not stored any more, its key is garbage. False if that cannot be said of this damage.
    async fn forget(&self, stored: &StoredKey, damage: &Damage) -> Result<bool, Stop> {
        let size = match damage {
            Damage::Lost => 0,
            Damage::WrongLength { actual } => *actual,
            Damage::WrongContent { .. } => stored.size,
            Damage::Unreadable { .. } | Damage::BadKey => return Ok(false),
        };
        let engine = self.engine;
        let forgetting = engine.metadata.forget_wrong_bytes(
            &stored.digest,
            &stored.key,
            size,
            engine.garbage_not_before(),
        );
        // False: a pull has met the same damage, and put it right.
        let _ = forgetting.await.map_err(metadata("forget bytes of a blob"))?;
        engine.warm.forget_blobs();
        Ok(true)
    }

    /// Looks again at everything in storage that no blob was seen to own.
    async fn settle(&mut self) -> Result<(), Stop> {
        let suspects = std::mem::take(&mut self.unknown);
        if suspects.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = suspects.iter().filter_map(key).map(|(key, _)| key).collect();
        let places = self.engine.metadata.places_of_keys(&keys).await;
        let places = places.map_err(metadata("look for keys"))?;
        let mut orphans = Vec::new();
        for found in suspects {
            if is_explained(&found, &places) {
                continue;
            }
            if self.engine.store.is_there(&found).await.map_err(Stop::Storage)? {
                orphans.push(found);
            }
        }
        if orphans.is_empty() {
            return Ok(());
        }
        let (uploads, others): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|found| upload(found).is_some());
        let repaired = match self.repair {
            Repair::Leave => Vec::new(),
            Repair::PutRight => self.abort(&uploads).await,
        };
        self.report_unknown(uploads, &repaired).await?;
        let repaired = match self.repair {
            Repair::Leave => Vec::new(),
            Repair::PutRight => self.discard(&others).await?,
        };
        self.report_unknown(others, &repaired).await
    }

    async fn report_unknown(&mut self, unknown: Vec<Found>, repaired: &[String]) -> Result<(), Stop> {
        for found in unknown {
            let repaired = key(&found).is_some_and(|(key, _)| repaired.contains(&key));
            self.report(Fault::of_unknown(&found), repaired).await?;
        }
        Ok(())
    }

    /// Aborts uploads that no fill names, and gives the keys to which there are none left.
    async fn abort(&self, uploads: &[Found]) -> Vec<String> {
        let mut keys: Vec<_> = uploads.iter().filter_map(upload).cloned().collect();
        if keys.is_empty() {
            return Vec::new();
        }
        if let Err(DeleteError { failed }) = self.engine.store.abort(&keys).await {
            if let Some((key, fault)) = failed.first() {
                tracing::warn!(count = failed.len(), %key, error = %Chain(fault), "uploads not aborted");
            }
            keys.retain(|key| failed.iter().all(|(failed, _)| failed != key));
        }
        keys.into_iter().map(|key| key.as_str().to_owned()).collect()
    }

    /// Hands keys that nobody knows to the deleter, and gives back those that it got (G3).
    async fn discard(&self, orphans: &[Found]) -> Result<Vec<String>, Stop> {
        let keys: Vec<_> = orphans.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let engine = self.engine;
        let discarding = engine
            .metadata
            .discard_unknown_keys(&keys, engine.garbage_not_before());
        discarding.await.map_err(metadata("list keys as garbage"))
    }

    async fn report(&mut self, fault: Fault, repaired: bool) -> Result<(), Stop> {
        tracing::warn!(?fault, repaired, "storage and database differ");
        self.found += 1;
        self.repaired += u64::from(repaired);
        self.tell(Event::Found(Finding { fault, repaired })).await
    }

    async fn tell_progress(&mut self) -> Result<(), Stop> {
        if self.told.elapsed() < PROGRESS {
            return Ok(());
        }
        self.told = Instant::now();
        self.tell(Event::Progress(self.progress)).await
    }

    async fn tell(&self, event: Event) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Unheard)
    }
}

/// The key under which something lies in storage, with its bytes; none if no key leads there.
fn key(found: &Found) -> Option<(String, u64)> {
    match found {
        Found::Blob(Listed { key, size }) => Some((key.as_str().to_owned(), *size)),
        Found::Stray(stray) => match &stray.kind {
            StrayKind::Unused(key) | StrayKind::Upload(key) => Some((key.as_str().to_owned(), 0)),
            StrayKind::Foreign => None,
        },
    }
}

/// The key to which an upload was begun.
fn upload(found: &Found) -> Option<&StorageKey> {
    match found {
        Found::Stray(stray) => match &stray.kind {
            StrayKind::Upload(key) => Some(key),
            _ => None,
        },
        Found::Blob(_) => None,
    }
}

/// Whether what is recorded explains that it is there. Bytes may be a blob's, a fill's or garbage; an upload ends
/// before its key becomes a blob's.
fn is_explained(found: &Found, places: &HashMap<String, KeyPlace>) -> bool {
    let place = key(found).and_then(|(key, _)| places.get(&key).copied());
    match place {
        Some(KeyPlace::Blob) => upload(found).is_none(),
        Some(KeyPlace::Fill | KeyPlace::Garbage) => true,
        None => false,
    }
}

fn metadata(step: &'static str) -> impl FnOnce(MetadataError) -> Stop {
    move |source| Stop::Metadata { step, source }
}
