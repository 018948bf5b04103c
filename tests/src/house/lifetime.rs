//! Time that passes, what dies in it, and whether database and disk agree afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use quayside_metadata::Metadata;
use quayside_registry::gc::{Mode, Report};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

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
        audit(&self.database_path(), self.blobs_path()).await;
        self.start().await;
    }
}

/// Panics unless database and disk of a registry that does not run are right and agree.
pub async fn audit(database: &Path, blobs: &Path) {
    let metadata = Metadata::open_sqlite(database).await.unwrap();
    let found = metadata.recount().await.unwrap();
    metadata.close().await;
    assert!(found.is_empty(), "counted wrong: {found:#?}");

    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    let stored: BTreeMap<String, u64> =
        sqlx::query("SELECT storage_key, size FROM blob WHERE storage_key IS NOT NULL")
            .fetch_all(&pool)
            .await
            .unwrap()
            .iter()
            .map(|row| (row.get(0), u64::try_from(row.get::<i64, _>(1)).unwrap()))
            .collect();
    let passing: BTreeSet<String> =
        sqlx::query("SELECT storage_key FROM fill UNION ALL SELECT storage_key FROM garbage")
            .fetch_all(&pool)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
    pool.close().await;

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
