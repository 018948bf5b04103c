//! The directory itself. Everything here may wait for the disk.

mod identity;
mod listing;

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use quayside_failpoints::pass;
use rustix::fs::OFlags;

use crate::{
    DeleteError, OpenError, OpenFile, StorageFault, StorageKey, StoreError,
    directory::{self, Lock},
};

/// The directories of stored blobs, one per digest algorithm, in the order of their names.
const TOPS: [&str; 2] = ["sha256", "sha512"];

/// How often a directory is made again that a deletion takes away meanwhile. Each failure needs a deletion of its
/// own at just that moment, so this is a bound for the sake of having one.
const ATTEMPTS: usize = 1000;

/// Where the blobs lie.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    /// Device and inode of the first of [`TOPS`]: tells a lost file from a volume that is not mounted.
    identity: (u64, u64),
    /// Keeps other processes out of the root.
    _lock: Lock,
}

impl Place {
    /// Makes and locks `root`, makes what is missing in it and empties `spool`.
    pub(super) fn open(root: &Path, spool: &Path) -> Result<Self, StoreError> {
        directory::make(root).map_err(StoreError::Storage)?;
        let lock = Lock::of(root)?;
        let first = root.join(TOPS[0]);
        for directory in TOPS.iter().map(|top| root.join(top)).chain([spool.to_owned()]) {
            directory::make(&directory).map_err(StoreError::Storage)?;
            directory::check_permission(&directory).map_err(StoreError::Storage)?;
        }
        let identity = identity_of(&first).map_err(StoreError::Storage)?;
        if identity_of(spool).map_err(StoreError::Storage)?.0 != identity.0 {
            return Err(StoreError::Devices {
                spool: spool.to_owned(),
                blobs: first,
            });
        }
        empty(spool)
            .map_err(failed("empty", spool))
            .map_err(StoreError::Storage)?;
        sync_directory(root).map_err(StoreError::Storage)?;
        Ok(Self {
            root: root.to_owned(),
            identity,
            _lock: lock,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes first, then the name, then the directories that hold the name: whatever survives a power cut is
    /// whole.
    pub(super) fn commit(&self, spooled: &Path, file: &OpenFile, key: &StorageKey) -> Result<(), StoreError> {
        let synced = file.file().and_then(File::sync_all);
        synced.map_err(|error| StoreError::Storage(failed("sync", spooled)(error)))?;
        pass("commit blob: file synced");
        let target = self.path(key);
        let directories: Vec<&Path> = target
            .ancestors()
            .skip(1)
            .take_while(|at| *at != self.root)
            .collect();
        if let [token, hex, shard, ..] = directories[..] {
            make_new_directory(token, hex, shard, key)?;
        }
        pass("commit blob: directories made");
        fs::rename(spooled, &target)
            .map_err(|error| StoreError::Storage(failed("move spool file to", &target)(error)))?;
        pass("commit blob: renamed");
        for at in directories {
            sync_directory(at).map_err(StoreError::Storage)?;
            pass("commit blob: directory synced");
        }
        pass("commit blob: directories synced");
        Ok(())
    }

    pub(super) fn open_blob(&self, key: &StorageKey, size: u64) -> Result<OpenFile, OpenError> {
        let path = self.path(key);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.check_mounted().map_err(OpenError::Io)?;
                return Err(OpenError::Missing { key: key.clone() });
            }
            Err(error) => return Err(OpenError::Io(failed("open", &path)(error))),
        };
        let found = file
            .metadata()
            .map_err(|error| OpenError::Io(failed("look at", &path)(error)))?;
        if !found.is_file() {
            return Err(OpenError::Missing { key: key.clone() });
        }
        if found.len() != size {
            return Err(OpenError::WrongLength {
                key: key.clone(),
                expected: size,
                found: found.len(),
            });
        }
        Ok(OpenFile::new(file))
    }

    pub(super) fn delete(&self, keys: Vec<StorageKey>) -> Result<(), DeleteError> {
        let mut changed = BTreeSet::new();
        let mut deleted = Vec::new();
        let mut failures = Vec::new();
        for key in keys {
            match self.delete_one(&key) {
                Ok(directory) => {
                    changed.insert(directory.clone());
                    deleted.push((key, directory));
                }
                Err(fault) => failures.push((key, fault)),
            }
        }
        pass("delete blobs: all unlinked");
        for directory in changed {
            let Err(fault) = sync_surviving(&directory, &self.root) else {
                continue;
            };
            let unsure = deleted.iter().filter(|(_, at)| *at == directory);
            failures.extend(unsure.map(|(key, _)| (key.clone(), fault.clone())));
        }
        pass("delete blobs: directories synced");
        if failures.is_empty() {
            Ok(())
        } else {
            Err(DeleteError { failed: failures })
        }
    }

    /// Removes a file and the directories that it leaves empty; gives the innermost that stays.
    fn delete_one(&self, key: &StorageKey) -> Result<PathBuf, StorageFault> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => {}
            // Without its volume nothing can be said to be deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => self.check_mounted()?,
            Err(error) => return Err(failed("delete", &path)(error)),
        }
        pass("delete blobs: unlinked");
        // Of the four directories above a blob only those that belong to it alone: token and digest.
        let mut above = path.ancestors().skip(1);
        for directory in above.by_ref().take(2) {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => return Ok(directory.to_owned()),
                Err(error) => return Err(failed("delete", directory)(error)),
            }
            pass("delete blobs: directory removed");
        }
        Ok(above.next().unwrap_or(&self.root).to_owned())
    }

    /// A missing file means something only if the directory is the one that was opened: an unmounted volume has
    /// not lost its blobs (B8, O2).
    fn check_mounted(&self) -> Result<(), StorageFault> {
        let first = self.root.join(TOPS[0]);
        if identity_of(&first)? == self.identity {
            return Ok(());
        }
        Err(failed("recognise", &first)(io::Error::other(
            "it was replaced, or its volume is not mounted",
        )))
    }

    fn path(&self, key: &StorageKey) -> PathBuf {
        self.root.join(key.as_str())
    }
}

/// Makes the directory of a token, which nobody may have made before (G3), in that of its digest, which a
/// deletion may take away again before we are inside.
fn make_new_directory(token: &Path, hex: &Path, shard: &Path, key: &StorageKey) -> Result<(), StoreError> {
    let storage = |path, error| StoreError::Storage(failed("create directory", path)(error));
    directory::make(shard).map_err(StoreError::Storage)?;
    for _ in 0..ATTEMPTS {
        match create_private(hex) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(storage(hex, error)),
            _ => {}
        }
        match create_private(token) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(StoreError::KeyTaken { key: key.clone() });
            }
            Err(error) => return Err(storage(token, error)),
        }
    }
    Err(storage(token, io::Error::from(ErrorKind::NotFound)))
}

fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn identity_of(path: &Path) -> Result<(u64, u64), StorageFault> {
    let found = fs::metadata(path).map_err(failed("look at", path))?;
    Ok((found.dev(), found.ino()))
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), StorageFault> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync", path))
}

/// Syncs `directory`, or the innermost above it that another deletion has left.
fn sync_surviving(directory: &Path, root: &Path) -> Result<(), StorageFault> {
    for at in directory.ancestors().take_while(|at| at.starts_with(root)) {
        match File::open(at) {
            Ok(open) => return open.sync_all().map_err(failed("sync", at)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("open", at)(error)),
        }
    }
    Ok(())
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StorageFault + 'a {
    move |error| StorageFault::new(action, path, error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use quayside_oci::{Algorithm, Digest};

    use super::*;

    /// G3: a deletion of the same digest may take a directory away at any moment.
    #[test]
    fn makes_directories_that_somebody_else_removes() {
        let root = tempfile::tempdir().unwrap();
        let key = StorageKey::new(&Digest::of(Algorithm::Sha256, b"x"), "t").unwrap();
        let hex = root.path().join("hex");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Every failed attempt takes a removal of its own, so these are too few to use the attempts up.
                let mut removals = 0;
                while removals < ATTEMPTS - 1 && !done.load(Ordering::Relaxed) {
                    removals += usize::from(fs::remove_dir(&hex).is_ok());
                }
            });
            let results: Vec<_> = (0..200)
                .map(|number| {
                    let token = hex.join(number.to_string());
                    make_new_directory(&token, &hex, root.path(), &key)?;
                    fs::remove_dir(&token)
                        .map_err(|error| StoreError::Storage(failed("delete", &token)(error)))
                })
                .collect();
            done.store(true, Ordering::Relaxed);
            for result in results {
                result.unwrap();
            }
        });
    }
}
