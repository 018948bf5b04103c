//! The blocking thread that writes and hashes what an ingest receives.

use std::{
    io::{self, IoSlice, Write},
    path::PathBuf,
    sync::Arc,
};

use quayside_failpoints::pass;
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
            pass("receive blob: first bytes written");
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use bytes::Bytes;
    use quayside_oci::Algorithm;

    use super::*;
    use crate::{OpenFile, Progress, ingest::queue::queue, room::Room};

    fn writer(path: &str, pieces: Receiver) -> Writer {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let room = Arc::new(Room::above(&std::env::temp_dir(), 0));
        let (reservation, share) = room.reserve(0).unwrap();
        let spool = Spool::new(Arc::new(OpenFile::new(file)), 1 << 20, Arc::default(), share);
        Writer {
            spool: Arc::new(spool),
            path: path.into(),
            pieces,
            room: reservation,
            hasher: Hasher::new(Algorithm::Sha256),
        }
    }

    /// Hands over `chunks` and then the end.
    fn sent(chunks: &[&'static [u8]]) -> Receiver {
        let (sender, receiver) = queue();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for chunk in chunks {
            runtime
                .block_on(sender.send_part(&mut Bytes::from_static(chunk)))
                .unwrap();
        }
        receiver
    }

    #[test]
    fn writes_and_hashes_what_it_is_sent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = writer(file.path().to_str().unwrap(), sent(&[b"abc", b"", b"defg"]));
        let spool = Arc::clone(&writer.spool);
        assert_eq!(writer.run().unwrap(), Digest::of(Algorithm::Sha256, b"abcdefg"));
        assert_eq!(std::fs::read(file.path()).unwrap(), b"abcdefg");
        assert_eq!(spool.written(), 7);
    }

    /// O2: a device without room is told from one that is broken, and the spool fails with it.
    #[test]
    fn fails_the_spool_when_the_device_is_full() {
        let writer = writer("/dev/full", sent(&[b"abc"]));
        let spool = Arc::clone(&writer.spool);
        let fault = writer.run().unwrap_err();
        assert!(matches!(fault, StorageFault::NoSpace { .. }), "{fault:?}");
        let Progress::Failed { written: 0, reason } = spool.progress() else {
            panic!("it goes on")
        };
        assert!(reason.is_local_storage());
    }
}
