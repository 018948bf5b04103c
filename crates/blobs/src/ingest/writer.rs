//! The blocking thread that writes and hashes what an ingest receives.

use std::{
    io::{self, IoSlice, Write},
    path::PathBuf,
    sync::Arc,
};

use quayside_oci::{Digest, Hasher};

use super::queue::{Piece, Receiver};
use crate::{Spool, SpoolFailure, StorageFault, room::Reservation, spool::Advance};

pub(super) struct Writer {
    pub(super) spool: Arc<Spool>,
    pub(super) path: PathBuf,
    pub(super) pieces: Receiver,
    pub(super) room: Reservation,
    pub(super) hasher: Hasher,
}

impl Writer {
    /// Writes until there is nothing more to come; gives the digest of what was written. Stops early if the spool
    /// has failed. A fault of storage fails the spool.
    pub(super) fn run(mut self) -> Result<Digest, StorageFault> {
        let mut written = 0;
        let mut batch = Vec::new();
        loop {
            self.pieces.collect(&mut batch);
            if batch.is_empty() {
                return Ok(self.hasher.finish());
            }
            let before = written;
            let result = self.write(&batch, &mut written);
            // Published before it is hashed: what is verified is still withheld, and readers need not wait.
            let advance = self.spool.advance(written);
            if let Err(fault) = result.and_then(|()| self.room.use_up(written - before)) {
                self.spool.fail(SpoolFailure::LocalStorage(fault.clone()));
                return Err(fault);
            }
            if advance == Advance::Stop {
                return Ok(self.hasher.finish());
            }
            for piece in batch.drain(..) {
                self.hasher.update(&piece.bytes);
            }
        }
    }

    /// Appends a batch to the file, counting in `written` what got there, also if not all did.
    fn write(&self, batch: &[Piece], written: &mut u64) -> Result<(), StorageFault> {
        let fault = |error| StorageFault::new("write spool file", &self.path, error);
        let mut file = self.spool.file().file().map_err(fault)?;
        let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|piece| IoSlice::new(&piece.bytes)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(fault(io::Error::from(io::ErrorKind::WriteZero))),
                Ok(length) => {
                    *written += length as u64;
                    IoSlice::advance_slices(&mut rest, length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(())
    }
}
