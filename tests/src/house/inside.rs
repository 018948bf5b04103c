//! A look behind the HTTP front: the database and the files.

use std::path::{Path, PathBuf};

use super::House;
use super::reader::Reader;

impl House {
    /// The directory with everything that the registry keeps.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file of the database, if it is one.
    pub fn database_path(&self) -> PathBuf {
        self.directory().join("quayside.db")
    }

    /// The directory of the blobs, or what stands for it behind a bucket.
    pub fn blobs_path(&self) -> &Path {
        &self.blobs
    }

    /// One number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        let reader = self.reader().await;
        let number = reader.number(query).await;
        reader.close().await;
        number
    }

    /// One text from the database.
    pub async fn text(&self, query: &'static str) -> String {
        let reader = self.reader().await;
        let text = reader.text(query).await;
        reader.close().await;
        text
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
        let query = "SELECT count(*) FROM blob WHERE digest = $1 AND storage_key IS NOT NULL";
        let reader = self.reader().await;
        crate::eventually::eventually("the blob is stored", || async {
            reader.number_with(query, digest).await == 1
        })
        .await;
        reader.close().await;
    }

    async fn reader(&self) -> Reader {
        Reader::open(&self.database_path(), self.database.as_deref()).await
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
