//! Keeps a file system from being filled to the brim.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::StorageFault;

/// How many bytes an ingest writes between two looks at the file system.
const CHECK_EVERY: u64 = 8 << 20;

/// What the spool takes at most where nobody has said it: the smaller of this, in bytes, and half of the volume.
const MOST: u64 = 20 << 30;

/// The room that the spool may take: what is free above a floor, less what running ingests still want; and no more
/// than a bound in all.
#[derive(Debug)]
pub(crate) struct Room {
    directory: PathBuf,
    floor: u64,
    most: u64,
    claims: Mutex<Claims>,
}

/// What was promised, in bytes.
#[derive(Debug, Default)]
struct Claims {
    /// To come, by running ingests.
    reserved: u64,
    /// By spool files that exist, or are about to.
    held: u64,
}

/// The claim of one ingest on room that it has not used yet.
#[derive(Debug)]
pub(crate) struct Reservation {
    room: Arc<Room>,
    left: u64,
    unchecked: u64,
}

/// What one spool file takes of the bound, for as long as it takes room.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    size: u64,
}

impl Room {
    /// That of a spool whose files become stored blobs: only the floor bounds it.
    pub(crate) fn above(directory: &Path, floor: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            floor,
            most: u64::MAX,
            claims: Mutex::default(),
        }
    }

    /// That of a spool that takes `most` bytes at most, by default what suits its volume.
    pub(crate) fn of_at_most(directory: &Path, most: Option<u64>) -> Result<Self, StorageFault> {
        let most = match most {
            Some(most) => most,
            None => MOST.min(volume(directory)?.size / 2),
        };
        Ok(Self {
            most,
            ..Self::above(directory, 0)
        })
    }

    /// Claims `size` bytes, if they fit above the floor and within the bound beside everybody else's claims. Asks
    /// the file system, so it may wait.
    pub(crate) fn reserve(self: &Arc<Self>, size: u64) -> Result<(Reservation, Share), StorageFault> {
        let mut claims = self.claims();
        let held = claims.held.saturating_add(size);
        if held > self.most {
            return Err(StorageFault::Spool {
                path: self.directory.clone(),
                wanted: size,
                in_use: claims.held,
                most: self.most,
            });
        }
        let reserved = claims.reserved.saturating_add(size);
        self.check(reserved)?;
        *claims = Claims { reserved, held };
        let reservation = Reservation {
            room: Arc::clone(self),
            left: size,
            unchecked: 0,
        };
        let room = Arc::clone(self);
        Ok((reservation, Share { room, size }))
    }

    fn check(&self, wanted: u64) -> Result<(), StorageFault> {
        let free = volume(&self.directory)?.free;
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
        let mut claims = self.claims();
        claims.reserved = claims.reserved.saturating_sub(bytes);
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for Share {
    fn drop(&mut self) {
        let mut claims = self.room.claims();
        claims.held = claims.held.saturating_sub(self.size);
    }
}

/// A file system, in bytes.
struct Volume {
    size: u64,
    free: u64,
}

fn volume(directory: &Path) -> Result<Volume, StorageFault> {
    let found = rustix::fs::statvfs(directory)
        .map_err(|error| StorageFault::new("measure free space of", directory, error.into()))?;
    Ok(Volume {
        size: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room with about `size` bytes above its floor on the file system of the temporary directory.
    fn room(size: u64) -> (tempfile::TempDir, Arc<Room>) {
        let directory = tempfile::tempdir().unwrap();
        let free = volume(directory.path()).unwrap().free;
        let room = Room::above(directory.path(), free.saturating_sub(size));
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
        let (mut first, _) = room.reserve(3 * GIB).unwrap();
        assert!(room.reserve(3 * GIB).is_err());
        first.use_up(GIB).unwrap();
        assert_eq!(room.claims().reserved, 2 * GIB);
        drop(first);
        assert_eq!(room.claims().reserved, 0);
        assert!(room.reserve(3 * GIB).is_ok());
    }

    /// O2: the spool is exhausted when what arrives or is still read would take more than it may.
    #[test]
    fn bounds_what_all_spool_files_take() {
        let directory = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::of_at_most(directory.path(), Some(100)).unwrap());
        let (mut reservation, first) = room.reserve(60).unwrap();
        reservation.use_up(60).unwrap();
        drop(reservation);
        let fault = room.reserve(41).unwrap_err();
        assert!(fault.is_no_space());
        assert_eq!(
            fault.to_string(),
            format!(
                "find 41 bytes in {}: 60 of the 100 bytes that the spool may take are in use",
                directory.path().display()
            )
        );
        let second = room.reserve(40).unwrap();
        drop((first, second));
        assert!(room.reserve(101).is_err());
        assert!(room.reserve(100).is_ok());
        assert_eq!(room.claims().held, 0);
    }

    #[test]
    fn takes_half_of_a_small_volume_and_twenty_gibibytes_of_a_large_one() {
        let directory = tempfile::tempdir().unwrap();
        let half = volume(directory.path()).unwrap().size / 2;
        let room = Room::of_at_most(directory.path(), None).unwrap();
        assert_eq!(room.most, half.min(20 * GIB));
        assert!(Room::of_at_most(Path::new("/nowhere/at/all"), None).is_err());
    }

    #[test]
    fn looks_again_while_bytes_are_written() {
        let (directory, open) = room(4 * GIB);
        let (mut claim, _) = open.reserve(GIB).unwrap();
        claim.room = Arc::new(Room::above(directory.path(), u64::MAX));
        assert!(claim.use_up(CHECK_EVERY - 1).is_ok());
        assert!(claim.use_up(1).unwrap_err().is_no_space());
    }

    #[test]
    fn says_what_it_could_not_measure() {
        let fault = Arc::new(Room::above(Path::new("/nowhere/at/all"), 0))
            .reserve(1)
            .unwrap_err();
        assert!(!fault.is_no_space());
        assert_eq!(fault.to_string(), "measure free space of /nowhere/at/all");
    }
}
