//! Whether the database and the bucket agree, whatever has happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quayside_metadata::{Metadata, PostgresSettings};
use sqlx::Row as _;

use super::Fleet;
use crate::eventually::holds_within;
use crate::images::sha256;

/// How long the fills of those who died may be left: their lease and a pass of the collector, on a machine that is busy.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);

/// What the database knows of storage: keys and where they are.
struct Known {
    /// The blobs and their sizes.
    stored: BTreeMap<String, u64>,
    /// The keys of running fills and of the garbage list.
    passing: BTreeSet<String>,
}

impl Fleet {
    /// Panics unless every object is in exactly one row and every stored blob has its object of the right length (G3).
    /// This holds at any moment, so replicas may run; what changes while it looks is left alone.
    pub async fn audit(&self) {
        let before = self.known().await;
        let objects = self.objects();
        let after = self.known().await;
        for (key, size) in &before.stored {
            if after.stored.contains_key(key) {
                let found = objects.get(key).map(|(_, length)| length);
                assert_eq!(found, Some(size), "the object {key} of a stored blob");
            }
        }
        let unknown: Vec<_> = objects
            .keys()
            .filter(|key| ![&before, &after].iter().any(|known| known.knows(key)))
            .collect();
        assert!(unknown.is_empty(), "objects that nobody knows: {unknown:#?}");
    }

    /// As [`Self::audit`], once nothing is going on any more: besides, no fill and no upload is left, every stored blob
    /// has the bytes of its digest, every blob is named by a manifest, and what is counted is right.
    pub async fn audit_at_rest(&self) {
        let ended = holds_within(SETTLE_LIMIT, || async {
            self.number("SELECT count(*) FROM fill").await == 0
        });
        assert!(
            ended.await,
            "fills are left after {SETTLE_LIMIT:?}:\n{}",
            self.logs()
        );
        self.audit().await;
        let known = self.known().await;
        for (key, (path, _)) in self.objects() {
            if known.stored.contains_key(&key) {
                let digest = sha256(&std::fs::read(path).unwrap());
                let hex = digest.trim_start_matches("sha256:");
                assert!(key.contains(hex), "{key} has other bytes: {digest}");
            }
        }
        let unnamed = "SELECT count(*) FROM blob b \
                       WHERE NOT EXISTS (SELECT 1 FROM manifest_blob m WHERE m.digest = b.digest)";
        assert_eq!(self.number(unnamed).await, 0, "blobs that no manifest names");
        let settings = PostgresSettings {
            url: self.replicas.database_url().into(),
            connections: 2,
        };
        let metadata = Metadata::open_postgres(&settings).await.unwrap();
        let found = metadata.recount().await.unwrap();
        metadata.close().await;
        assert!(found.is_empty(), "counted wrong: {found:#?}");
    }

    async fn known(&self) -> Known {
        let query = "SELECT storage_key, size, 1 AS place FROM blob WHERE storage_key IS NOT NULL UNION ALL \
                     SELECT storage_key, size, 2 FROM fill UNION ALL SELECT storage_key, size, 3 FROM garbage";
        // One statement sees one state.
        let rows = sqlx::query(query).fetch_all(&self.database).await.unwrap();
        let mut known = Known {
            stored: BTreeMap::new(),
            passing: BTreeSet::new(),
        };
        let mut keys = BTreeSet::new();
        for row in rows {
            let (key, size): (String, i64) = (row.get(0), row.get(1));
            assert!(keys.insert(key.clone()), "{key} is in two rows");
            if row.get::<i32, _>(2) == 1 {
                known.stored.insert(key, u64::try_from(size).unwrap());
            } else {
                known.passing.insert(key);
            }
        }
        known
    }

    /// The objects of blobs by their keys, with their files and lengths.
    pub fn objects(&self) -> BTreeMap<String, (PathBuf, u64)> {
        let root = self.replicas.bucket();
        let mut objects = BTreeMap::new();
        let mut directories: Vec<_> = ["sha256", "sha512"].iter().map(|top| root.join(top)).collect();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                // A replica may have removed it a moment ago.
                let Ok(entry) = entry else { continue };
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else {
                    objects.insert(key(&root, &entry.path()), (entry.path(), metadata.len()));
                }
            }
        }
        objects
    }

    /// How many multipart uploads the S3 server keeps that were neither completed nor aborted.
    pub fn uploads(&self) -> usize {
        let bucket = self.replicas.bucket();
        let bucket = bucket.parent().expect("the prefix lies in the bucket");
        let objects = std::fs::read_dir(bucket.join(".sgwtmp/multipart"));
        let objects = objects.into_iter().flatten().flatten();
        let uploads = objects.flat_map(|object| std::fs::read_dir(object.path()).into_iter().flatten());
        uploads.count()
    }
}

impl Known {
    fn knows(&self, key: &str) -> bool {
        self.stored.contains_key(key) || self.passing.contains(key)
    }
}

fn key(root: &Path, path: &Path) -> String {
    let name = path.strip_prefix(root).expect("it lies below the prefix");
    name.to_str().expect("keys are plain").to_owned()
}
