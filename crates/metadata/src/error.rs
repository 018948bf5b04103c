//! What can go wrong between us and the database.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why the database did not answer, and what was being done.
///
/// The kinds say what a caller can do about it: answer "try again later" on
/// [`Unavailable`](Self::Unavailable) (O2), stop on the others at start, report a fault otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Another process holds the lock beside the database file (C4).
    #[error("open database {}: in use by another process", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// A file or directory of the database could not be opened or made.
    #[error("open database {}", path.display())]
    Open {
        /// The file that failed.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The URL of the database is none. It is not repeated: it holds the password.
    #[error("open database: its URL must read postgres://user:password@host:port/database")]
    Url,
    /// The database cannot be read or written at the moment: disk full, read-only, locked, an IO
    /// error, no free connection, or closed. Nothing was changed; the same call may succeed later.
    #[error("{action}: database unavailable")]
    Unavailable {
        /// What was being done, verb first.
        action: &'static str,
        /// What the engine said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The database holds something that we never write, or its file is damaged.
    #[error("{action}: database is corrupt")]
    Corrupt {
        /// What was being done, verb first.
        action: &'static str,
        /// What was wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The organization's row is gone: it was removed and its content collected.
    #[error("{action}: organization no longer exists")]
    OrganizationGone {
        /// What was being done, verb first.
        action: &'static str,
    },
    /// Anything else: a statement that the engine refused, which is a fault of ours.
    #[error("{action}")]
    Failed {
        /// What was being done, verb first.
        action: &'static str,
        /// What the engine said.
        source: Box<dyn Error + Send + Sync>,
    },
}
