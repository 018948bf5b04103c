//! Time that passes, what dies in it, and whether database and disk agree afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use quayside_registry::gc::{Mode, Report};

use super::reader::{self, Reader};
use super::{House, Time};

/// `gc.graceSeconds` unless a test says otherwise.
pub const GRACE: Duration = Duration::from_mins(5);

impl House {
    /// Sets the clock while no time passes, as somebody does who types a wrong date.
    pub fn set_clock(&self, now: i64) {
        match &self.clock {
            Time::Manual(clock) => clock.set(now),
            Time::System => panic!("nobody sets the machine's clock"),
        }
    }

    /// Does now what garbage collection finds to do.
    pub async fn collect(&self) -> Report {
        let gc = self.server().gc();
        gc.pass(Mode::Run).await.unwrap()
    }

    /// What garbage collection would do now.
    pub async fn collection_forecast(&self) -> Report {
        let gc = self.server().gc();
        gc.pass(Mode::DryRun).await.unwrap()
    }

    /// Takes what has died from the release over the collection to the deletion of its bytes: two graces.
    pub async fn collect_fully(&self) {
        self.collect().await;
        for _ in 0..2 {
            self.advance(GRACE);
            self.collect().await;
        }
    }

    /// Stops the registry, looks whether what is counted is right, whether every file is known and whether every
    /// stored blob has its bytes, and starts it again.
    pub async fn audit(&mut self) {
        self.stop().await;
        audit_both(&self.database_path(), self.database.as_deref(), self.blobs_path()).await;
        self.start().await;
    }
}

/// Panics unless database and disk of a registry that does not run are right and agree.
pub async fn audit(database: &Path, blobs: &Path) {
    audit_both(database, None, blobs).await;
}

async fn audit_both(file: &Path, url: Option<&str>, blobs: &Path) {
    let metadata = reader::open(file, url).await;
    let found = metadata.recount().await.unwrap();
    metadata.close().await;
    assert!(found.is_empty(), "counted wrong: {found:#?}");

    let reader = Reader::open(file, url).await;
    let stored = "SELECT storage_key, size FROM blob WHERE storage_key IS NOT NULL";
    let stored: BTreeMap<String, u64> = reader
        .pairs(stored)
        .await
        .into_iter()
        .map(|(key, size)| (key, u64::try_from(size).unwrap()))
        .collect();
    let passing = "SELECT storage_key, 0 * expires_at FROM fill UNION ALL SELECT storage_key, 0 * not_before FROM garbage";
    let passing: BTreeSet<String> = reader
        .pairs(passing)
        .await
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    reader.close().await;

    let files = stored_files(blobs);
    for (key, size) in &stored {
        assert_eq!(files.get(key), Some(size), "the bytes of {key}");
        assert!(!passing.contains(key), "{key} is in two places");
    }
    let orphans: Vec<_> = files
        .keys()
        .filter(|key| !stored.contains_key(*key) && !passing.contains(*key))
        .collect();
    assert!(orphans.is_empty(), "files that nobody knows: {orphans:#?}");
}

/// The files below the directories of the blobs, as storage keys, with their lengths.
fn stored_files(blobs: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    let mut directories: Vec<_> = ["sha256", "sha512"].iter().map(|top| blobs.join(top)).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                directories.push(entry.path());
                continue;
            }
            let path = entry.path();
            let key = path.strip_prefix(blobs).unwrap().to_str().unwrap().to_owned();
            files.insert(key, metadata.len());
        }
    }
    files
}
