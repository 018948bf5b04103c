//! A look behind the HTTP front: the database and the files.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Row as _, SqlitePool};

use super::House;

impl House {
    /// The directory with everything that the registry keeps.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file of the database.
    pub fn database_path(&self) -> PathBuf {
        self.directory().join("quayside.db")
    }

    /// The directory of the blobs.
    pub fn blobs_path(&self) -> &Path {
        &self.blobs
    }

    /// One number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        let pool = self.reader().await;
        let number = sqlx::query(query).fetch_one(&pool).await.unwrap().get(0);
        pool.close().await;
        number
    }

    /// How many repositories, manifests, tags, blobs and fills the database knows, all added up.
    pub async fn rows(&self) -> i64 {
        self.number(
            "SELECT (SELECT count(*) FROM repository) + (SELECT count(*) FROM manifest) \
             + (SELECT count(*) FROM tag) + (SELECT count(*) FROM blob) + (SELECT count(*) FROM fill)",
        )
        .await
    }

    /// Returns when the bytes of a blob are stored and the database knows it; panics if that takes too long.
    pub async fn stored(&self, digest: &str) {
        let query = "SELECT count(*) FROM blob WHERE digest = ? AND storage_key IS NOT NULL";
        let pool = self.reader().await;
        crate::eventually::eventually("the blob is stored", || async {
            let row = sqlx::query(query).bind(digest).fetch_one(&pool).await.unwrap();
            row.get::<i64, _>(0) == 1
        })
        .await;
        pool.close().await;
    }

    async fn reader(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(self.database_path())
            .read_only(true);
        SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap()
    }

    /// The file of a stored blob, none if it is not stored.
    pub fn stored_file(&self, digest: &str) -> Option<PathBuf> {
        let (_, hex) = digest.split_once(':').unwrap();
        self.files()
            .into_iter()
            .find(|path| path.to_string_lossy().contains(hex))
    }

    /// Every regular file below the directory of the blobs, without those that describe the storage itself.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.blobs.clone()];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.filter_map(Result::ok) {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                    Ok(_) if directory != self.blobs => files.push(entry.path()),
                    _ => {}
                }
            }
        }
        files
    }
}
