//! Bytes by key: storage backends and the growing spool.
//!
//! A [`Store`] keeps verified blobs under [`StorageKey`]s in a [`Backend`]. A new blob comes in through an
//! [`Ingest`]: one writer appends to a file of the spool directory, any number of readers follow that file
//! while it grows ([`Spool::follow`]), and once the whole was verified it is moved to its key. Everything that
//! is read, stored or still growing, is read through [`Frames`].
//!
//! This crate knows nothing of HTTP, of SQL or of where bytes come from.

mod backend;
mod directory;
mod fault;
mod files;
mod filesystem;
mod frames;
mod id;
mod ingest;
mod key;
mod open_file;
mod room;
mod s3;
mod spool;
mod store;

pub use backend::{
    Arriving, Backend, DeleteError, Found, Listed, OpenError, Opened, SpoolFile, StoreError, Stray,
    StrayKind, Upload,
};
pub use fault::{SpoolFailure, StorageFault};
pub use frames::{Frames, ReadError};
pub use id::{IdError, StorageId};
pub use ingest::{Ingest, IngestError, VerifyError};
pub use key::{KeyError, StorageKey};
pub use open_file::OpenFile;
pub use s3::{Object, PathStyle, Patience, Refusal, S3Credentials, S3Settings, Versioned};
pub use spool::{Progress, Spool, WITHHELD_TAIL};
pub use store::{Blob, Store};
