//! Keeps a file system from being filled to the brim.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::StorageFault;

/// How many bytes an ingest writes between two looks at the file system.
const CHECK_EVERY: u64 = 8 << 20;

/// The room that the spool may take: what is free above a floor, less what running ingests still want.
#[derive(Debug)]
pub(crate) struct Room {
    directory: PathBuf,
    floor: u64,
    reserved: Mutex<u64>,
}

/// The claim of one ingest on room that it has not used yet.
#[derive(Debug)]
pub(crate) struct Reservation {
    room: Arc<Room>,
    left: u64,
    unchecked: u64,
}

impl Room {
    pub(crate) fn new(directory: &Path, floor: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            floor,
            reserved: Mutex::new(0),
        }
    }

    /// Claims `size` bytes, if they fit above the floor beside everybody else's claims. Asks the file system, so
    /// it may wait.
    pub(crate) fn reserve(self: &Arc<Self>, size: u64) -> Result<Reservation, StorageFault> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = reserved.saturating_add(size);
        self.check(wanted)?;
        *reserved = wanted;
        Ok(Reservation {
            room: Arc::clone(self),
            left: size,
            unchecked: 0,
        })
    }

    fn check(&self, wanted: u64) -> Result<(), StorageFault> {
        let free = free_bytes(&self.directory)?;
        if free < wanted.saturating_add(self.floor) {
            return Err(StorageFault::Floor {
                path: self.directory.clone(),
                wanted,
                free,
                floor: self.floor,
            });
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        *reserved = reserved.saturating_sub(bytes);
    }
}

impl Reservation {
    /// Tells that `bytes` of the claim were written. Now and then looks whether the floor still holds.
    pub(crate) fn use_up(&mut self, bytes: u64) -> Result<(), StorageFault> {
        let used = bytes.min(self.left);
        self.left -= used;
        self.room.give_back(used);
        self.unchecked += bytes;
        if self.unchecked >= CHECK_EVERY {
            self.unchecked = 0;
            self.room.check(0)?;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.give_back(self.left);
    }
}

fn free_bytes(directory: &Path) -> Result<u64, StorageFault> {
    let found = rustix::fs::statvfs(directory)
        .map_err(|error| StorageFault::new("measure free space of", directory, error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room with about `size` bytes above its floor on the file system of the temporary directory.
    fn room(size: u64) -> (tempfile::TempDir, Arc<Room>) {
        let directory = tempfile::tempdir().unwrap();
        let free = free_bytes(directory.path()).unwrap();
        let room = Room::new(directory.path(), free.saturating_sub(size));
        (directory, Arc::new(room))
    }

    const GIB: u64 = 1 << 30;

    /// O2: fills stop below `storage.filesystem.minFreeBytes`.
    #[test]
    fn refuses_what_does_not_fit_above_the_floor() {
        let (_directory, room) = room(4 * GIB);
        assert!(room.reserve(GIB).is_ok());
        let fault = room.reserve(8 * GIB).unwrap_err();
        assert!(fault.is_no_space(), "{fault}");
        assert!(room.reserve(GIB).is_ok(), "a refused claim leaves nothing behind");
    }

    /// O2: what runs already is counted with all it still wants.
    #[test]
    fn counts_the_claims_of_others() {
        let (_directory, room) = room(4 * GIB);
        let mut first = room.reserve(3 * GIB).unwrap();
        assert!(room.reserve(3 * GIB).is_err());
        first.use_up(GIB).unwrap();
        assert_eq!(*room.reserved.lock().unwrap(), 2 * GIB);
        drop(first);
        assert_eq!(*room.reserved.lock().unwrap(), 0);
        assert!(room.reserve(3 * GIB).is_ok());
    }

    #[test]
    fn looks_again_while_bytes_are_written() {
        let (directory, open) = room(4 * GIB);
        let mut claim = open.reserve(GIB).unwrap();
        claim.room = Arc::new(Room::new(directory.path(), u64::MAX));
        assert!(claim.use_up(CHECK_EVERY - 1).is_ok());
        assert!(claim.use_up(1).unwrap_err().is_no_space());
    }

    #[test]
    fn says_what_it_could_not_measure() {
        let fault = Arc::new(Room::new(Path::new("/nowhere/at/all"), 0))
            .reserve(1)
            .unwrap_err();
        assert!(!fault.is_no_space());
        assert_eq!(fault.to_string(), "measure free space of /nowhere/at/all");
    }
}
