//! What a process has left: its database and its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _, Row as _};

use crate::house::audit;
use crate::images::sha256;
use crate::program::Program;

/// What of the database is made to look as if it had waited for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Every tag and every pin: they are dead, and their Window is over.
    Tags,
    /// Every released manifest: it can be collected.
    Released,
    /// Every entry of the garbage list: its bytes can be deleted.
    Garbage,
}

/// Database and files of a registry, which may run or not.
#[derive(Clone, Debug)]
pub struct Remains {
    database: PathBuf,
    blobs: PathBuf,
}

impl Remains {
    /// Those of this program.
    pub fn of(program: &Program) -> Self {
        Self {
            database: program.database(),
            blobs: program.blobs(),
        }
    }

    /// Panics unless the invariants of the data model hold (ENGINE §1.4): a blob row exists exactly while a manifest
    /// names it (I1); every stored row has its verified bytes (I2); every file is in exactly one of fill, blob and
    /// garbage (I3); nothing else lies below the storage; and what is counted is right (Q2). Nobody may have the
    /// database open.
    pub async fn audit(&self) {
        audit(&self.database, &self.blobs).await;
        let mut connection = self.connect().await;
        let twice = "SELECT storage_key FROM (SELECT storage_key FROM fill UNION ALL \
                     SELECT storage_key FROM garbage UNION ALL \
                     SELECT storage_key FROM blob WHERE storage_key IS NOT NULL) \
                     GROUP BY storage_key HAVING count(*) > 1";
        let twice = connection.fetch_all(twice).await.unwrap();
        assert!(twice.is_empty(), "a key is in two rows");
        let unnamed = "SELECT count(*) FROM blob \
                       WHERE NOT EXISTS (SELECT 1 FROM manifest_blob mb WHERE mb.digest = blob.digest)";
        assert_eq!(
            number(&mut connection, unnamed).await,
            0,
            "a blob that no manifest names"
        );
        connection.close().await.unwrap();
        for (name, path) in self.files() {
            let Some(digest) = digest_of(&name) else {
                let known = name.starts_with("spool/") || name.starts_with("storage-id");
                assert!(known, "a file that does not belong here: {name}");
                continue;
            };
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(sha256(&bytes), digest, "the bytes of {name}");
        }
    }

    /// Panics if anything is left that was pulled once: a row, a file, or a byte of usage.
    pub async fn assert_nothing_is_left(&self) {
        let left = self.rows().await;
        assert!(left.is_empty(), "rows are left: {left:?}");
        let files: Vec<_> = self.files().into_keys().collect();
        assert_eq!(files, ["storage-id"], "files are left");
    }

    /// The tables in which there still is something of what was pulled, and how many rows or bytes that are.
    pub async fn rows(&self) -> BTreeMap<&'static str, i64> {
        const COUNTS: [(&str, &str); 11] = [
            ("repository", "SELECT count(*) FROM repository"),
            ("manifest", "SELECT count(*) FROM manifest"),
            ("blob", "SELECT count(*) FROM blob"),
            ("manifest_blob", "SELECT count(*) FROM manifest_blob"),
            ("manifest_child", "SELECT count(*) FROM manifest_child"),
            ("tag", "SELECT count(*) FROM tag"),
            ("content", "SELECT count(*) FROM content"),
            ("proof", "SELECT count(*) FROM proof"),
            ("fill", "SELECT count(*) FROM fill"),
            ("garbage", "SELECT count(*) FROM garbage"),
            ("usage", "SELECT coalesce(sum(usage_bytes), 0) FROM organization"),
        ];
        let mut connection = self.connect().await;
        let mut rows = BTreeMap::new();
        for (name, count) in COUNTS {
            let count = number(&mut connection, count).await;
            if count != 0 {
                rows.insert(name, count);
            }
        }
        connection.close().await.unwrap();
        rows
    }

    /// Makes rows look old, also beside a running registry.
    pub async fn age(&self, what: Age) {
        let statement = match what {
            Age::Tags => "UPDATE tag SET ends_at = 1, pulled_at = 1, checked_at = 1",
            Age::Released => "UPDATE manifest SET released_at = 1 WHERE released_at IS NOT NULL",
            Age::Garbage => "UPDATE garbage SET not_before = 1",
        };
        self.change(statement).await;
    }

    /// Runs one statement, also beside a running registry.
    pub async fn change(&self, statement: &'static str) {
        let mut connection = self.connect().await;
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        let mut connection = self.connect().await;
        let number = number(&mut connection, query).await;
        connection.close().await.unwrap();
        number
    }

    /// Whether a blob is stored, as the database says.
    pub async fn has(&self, digest: &str) -> bool {
        let mut connection = self.connect().await;
        let stored = "SELECT count(*) FROM blob WHERE digest = ? AND storage_key IS NOT NULL";
        let stored = sqlx::query(stored).bind(digest).fetch_one(&mut connection).await;
        let stored: i64 = stored.unwrap().get(0);
        connection.close().await.unwrap();
        stored > 0
    }

    /// The regular files below the storage by their names in it.
    pub fn files(&self) -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::new();
        let mut directories = vec![self.blobs.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                // A registry that runs may have removed it a moment ago.
                let Ok(entry) = entry else { continue };
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    directories.push(entry.path());
                } else {
                    files.insert(name_in(&self.blobs, &entry.path()), entry.path());
                }
            }
        }
        files
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(&self.database);
        SqliteConnection::connect_with(&options).await.unwrap()
    }
}

async fn number(connection: &mut SqliteConnection, query: &'static str) -> i64 {
    connection.fetch_one(query).await.unwrap().get(0)
}

fn name_in(root: &Path, path: &Path) -> String {
    let name = path.strip_prefix(root).expect("it lies below the storage");
    name.to_str().expect("names are plain").to_owned()
}

/// `sha256/<aa>/<hex>/<token>/data`: the digest.
fn digest_of(name: &str) -> Option<String> {
    let mut parts = name.split('/');
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    (algorithm == "sha256").then(|| format!("{algorithm}:{hex}"))
}
