//! Directories that one process has for itself.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use rustix::fs::Access;

use crate::{StorageFault, StoreError, key::is_token};

/// Keeps other processes out of a directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Locks the directory `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let directory =
            File::open(path).map_err(|error| StoreError::Storage(StorageFault::new("open", path, error)))?;
        match directory.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    path: path.to_owned(),
                });
            }
            // Some network file systems have no locks; the database still keeps a second process out.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(path = %path.display(), %error, "lock storage directory");
            }
        }
        Ok(Self(directory))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is being started holds copies of all descriptors for a moment.
        let _ = self.0.unlock();
    }
}

/// Makes a directory that only we can read, and those above it.
pub(crate) fn make(path: &Path) -> Result<(), StorageFault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StorageFault::new("create directory", path, error))
}

/// A directory of somebody else does not get better by waiting. A disk that is read-only for now may.
pub(crate) fn check_permission(directory: &Path) -> Result<(), StorageFault> {
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::access(directory, wanted).map_err(io::Error::from) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(StorageFault::new("use", directory, error))
        }
        _ => Ok(()),
    }
}

/// Makes and locks the directory of a spool and removes the spool files of the process before us. Whatever else
/// lies there is not ours: somebody may have named a directory that has other uses.
pub(crate) fn take_spool(path: &Path) -> Result<Lock, StoreError> {
    make(path).map_err(StoreError::Storage)?;
    let lock = Lock::of(path)?;
    check_permission(path).map_err(StoreError::Storage)?;
    remove_spool_files(path).map_err(|error| StoreError::Storage(StorageFault::new("empty", path, error)))?;
    Ok(lock)
}

fn remove_spool_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(is_spool_name);
        if ours && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// As [`Store::new_token`](crate::Store::new_token) makes them.
fn is_spool_name(name: &str) -> bool {
    name.len() == 32 && is_token(name) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    /// G3: the spool belongs to one process, which empties it at start.
    #[test]
    fn a_spool_is_taken_by_one_and_emptied_of_spool_files_alone() {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("deep/spool");
        let first = take_spool(&spool).unwrap();
        let left = spool.join(Store::new_token());
        fs::write(&left, b"half a blob").unwrap();
        fs::write(spool.join("letter.txt"), b"of somebody else").unwrap();
        let refused = take_spool(&spool).unwrap_err();
        assert!(
            matches!(&refused, StoreError::Locked { path } if *path == spool),
            "{refused:?}"
        );
        assert!(left.exists(), "what another process spools was removed");
        drop(first);
        let _second = take_spool(&spool).unwrap();
        assert!(!left.exists());
        assert!(spool.join("letter.txt").exists());
    }
}
