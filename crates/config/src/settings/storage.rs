//! Where metadata and blobs are kept (C4).

use std::path::PathBuf;

use crate::kind::{BYTES, PATH};
use crate::section::{Key, Section};

/// The engine that keeps metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// One file, for one process.
    Sqlite {
        /// The database file; created when it is missing.
        path: PathBuf,
    },
}

/// The backend that keeps blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// A directory.
    pub filesystem: Filesystem,
}

/// Blobs in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// The directory; created when it is missing.
    pub path: PathBuf,
    /// Fills stop while the file system has fewer free bytes than this (O2).
    pub min_free_bytes: u64,
}

pub(super) fn read_database(section: &mut Section<'_>) -> Option<Database> {
    section
        .section(Key("sqlite", "An SQLite database, for one process."), |sqlite| {
            let path = sqlite.defaulted(
                Key("path", "The database file; created when it is missing."),
                &PATH,
                "/var/lib/quayside/quayside.db",
            );
            Some(Database::Sqlite { path: path? })
        })
        .flatten()
}

pub(super) fn read_storage(section: &mut Section<'_>) -> Option<Storage> {
    let filesystem = section
        .section(Key("filesystem", "A directory."), |filesystem| {
            let path = filesystem.defaulted(
                Key("path", "The directory; created when it is missing."),
                &PATH,
                "/var/lib/quayside/blobs",
            );
            let min_free_bytes = filesystem.defaulted(
                Key(
                    "minFreeBytes",
                    "Blobs are passed through without being stored while fewer bytes are free.",
                ),
                &BYTES,
                512 << 20,
            );
            Some(Filesystem {
                path: path?,
                min_free_bytes: min_free_bytes?,
            })
        })
        .flatten();
    Some(Storage {
        filesystem: filesystem?,
    })
}
