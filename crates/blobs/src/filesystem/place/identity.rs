//! The id of the storage, in a file beside the blobs.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use quayside_failpoints::pass;

use super::{Place, failed, sync_directory};
use crate::{StorageFault, StorageId, StoreError};

const FILE: &str = "storage-id";
const FRESH: &str = "storage-id.new";

impl Place {
    pub(in crate::filesystem) fn id(&self) -> Result<Option<StorageId>, StoreError> {
        let path = self.root.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let id = text.trim().parse();
                id.map(Some).map_err(|source| StoreError::Id { path, source })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Storage(failed("read", &path)(error))),
        }
    }

    /// A file of its own that takes the name of the old one: a crash leaves one or the other.
    pub(in crate::filesystem) fn set_id(&self, id: &StorageId) -> Result<(), StorageFault> {
        let (path, fresh) = (self.root.join(FILE), self.root.join(FRESH));
        write(&fresh, id).map_err(failed("write", &fresh))?;
        pass("write storage id: written");
        fs::rename(&fresh, &path).map_err(failed("write", &path))?;
        pass("write storage id: renamed");
        sync_directory(&self.root)
    }
}

fn write(path: &Path, id: &StorageId) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{id}")?;
    file.sync_all()
}
