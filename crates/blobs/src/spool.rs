//! A blob that is still arriving, as its readers see it.

use std::{ops::Range, sync::Arc};

use tokio::sync::watch;

use crate::{
    OpenFile, SpoolFailure,
    frames::{Buffers, Frames},
    room::Share,
};

/// How many bytes at the end of a blob no reader gets before the whole was verified (B3).
pub const WITHHELD_TAIL: u64 = 64 << 10;

/// How far a spool has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Bytes are arriving.
    Running {
        /// Bytes on disk.
        written: u64,
    },
    /// All bytes are on disk and match the digest.
    Verified,
    /// There will be no more bytes.
    Failed {
        /// Bytes on disk.
        written: u64,
        /// Why.
        reason: SpoolFailure,
    },
}

/// Whether the writer of a spool is to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Advance {
    Continue,
    Stop,
}

/// A growing file with one writer (an [`Ingest`](crate::Ingest)) and any number of readers.
///
/// Readers get what is on disk, less the withheld tail, and wait without polling for the rest. The file stays
/// readable for who holds the spool, also after it was committed, replaced or removed.
#[derive(Debug)]
pub struct Spool {
    file: Arc<OpenFile>,
    size: u64,
    buffers: Arc<Buffers>,
    progress: watch::Sender<Progress>,
    /// The file takes room until its last reader has let go, linked or not.
    _share: Share,
}

impl Spool {
    pub(crate) fn new(file: Arc<OpenFile>, size: u64, buffers: Arc<Buffers>, share: Share) -> Self {
        Self {
            file,
            size,
            buffers,
            _share: share,
            progress: watch::Sender::new(Progress::Running { written: 0 }),
        }
    }

    /// The declared size of the blob in bytes; once verified, its real one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes, from the first on, are on disk. After a fault of local storage this may be less than
    /// what the ingest had accepted.
    pub fn written(&self) -> u64 {
        self.progress.borrow().written(self.size)
    }

    /// How many bytes, from the first on, readers may have by now (B3).
    pub fn released(&self) -> u64 {
        self.progress.borrow().released(self.size)
    }

    /// How far the spool has come.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Tells of every change of [`Spool::progress`]. The channel stays open as long as the spool is held.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Reads `range`, cut to the size of the blob, as its bytes are released.
    ///
    /// If the spool fails, the body ends with [`ReadError::Failed`](crate::ReadError::Failed): at once, or, when
    /// local storage is to blame, after the last released byte.
    pub fn follow(self: &Arc<Self>, range: Range<u64>) -> Frames {
        Frames::growing(Arc::clone(self), Arc::clone(&self.buffers), &range)
    }

    /// Waits for the end: verified, or failed.
    pub async fn settled(&self) -> Result<(), SpoolFailure> {
        match self.wait(|_| false).await {
            Progress::Failed { reason, .. } => Err(reason),
            Progress::Running { .. } | Progress::Verified => Ok(()),
        }
    }

    /// Waits until the first `length` bytes (at most the size) are released. `Ok` at once if they are.
    pub async fn wait_released(&self, length: u64) -> Result<(), SpoolFailure> {
        let length = length.min(self.size);
        match self.wait(|progress| progress.released(self.size) >= length).await {
            progress if progress.released(self.size) >= length => Ok(()),
            Progress::Failed { reason, .. } => Err(reason),
            Progress::Running { .. } | Progress::Verified => Ok(()),
        }
    }

    /// Waits until the first `length` bytes are on disk, or the end; gives the progress that ended the wait.
    pub(crate) async fn wait_written(&self, length: u64) -> Progress {
        self.wait(|progress| progress.written(self.size) >= length).await
    }

    /// Waits until `enough` or the end; gives the progress that ended the wait.
    async fn wait(&self, enough: impl Fn(&Progress) -> bool) -> Progress {
        let mut watch = self.watch();
        match watch
            .wait_for(|progress| progress.has_ended() || enough(progress))
            .await
        {
            Ok(progress) => progress.clone(),
            // Cannot be: the sender lives in this spool.
            Err(_) => self.progress(),
        }
    }

    pub(crate) fn file(&self) -> &Arc<OpenFile> {
        &self.file
    }

    /// Publishes that `written` bytes are on disk.
    pub(crate) fn advance(&self, written: u64) -> Advance {
        let running = self.progress.send_if_modified(|progress| match progress {
            Progress::Running { written: known } => {
                *known = written;
                true
            }
            Progress::Verified | Progress::Failed { .. } => false,
        });
        if running { Advance::Continue } else { Advance::Stop }
    }

    /// Releases everything.
    pub(crate) fn verified(&self) {
        self.end(|_| Progress::Verified);
    }

    /// Ends the spool for its readers, unless it has ended already.
    pub(crate) fn fail(&self, reason: SpoolFailure) {
        self.end(|written| Progress::Failed { written, reason });
    }

    fn end(&self, last: impl FnOnce(u64) -> Progress) {
        self.progress.send_if_modified(|progress| match *progress {
            Progress::Running { written } => {
                *progress = last(written);
                true
            }
            Progress::Verified | Progress::Failed { .. } => false,
        });
    }
}

impl Progress {
    /// True if nothing will change any more.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self, Self::Running { .. })
    }

    fn written(&self, size: u64) -> u64 {
        match self {
            Self::Running { written } | Self::Failed { written, .. } => *written,
            Self::Verified => size,
        }
    }

    /// The length of the prefix that readers of a blob of `size` bytes may have.
    pub(crate) fn released(&self, size: u64) -> u64 {
        let open = |written: u64| written.min(size.saturating_sub(WITHHELD_TAIL));
        match self {
            Self::Running { written } => open(*written),
            Self::Verified => size,
            Self::Failed { written, reason } if reason.is_local_storage() => open(*written),
            Self::Failed { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::StorageFault;

    const KIB: u64 = 1024;

    fn full() -> SpoolFailure {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        SpoolFailure::LocalStorage(StorageFault::new("write", Path::new("f"), source))
    }

    /// B3: the last 64 KiB, or all of a smaller blob, wait for the verification.
    #[test]
    fn withholds_the_tail_until_verified() {
        let running = |written| Progress::Running { written };
        let failed = |reason| Progress::Failed {
            written: 100 * KIB,
            reason,
        };
        let table = [
            (running(0), 100 * KIB, 0),
            (running(20 * KIB), 100 * KIB, 20 * KIB),
            (running(36 * KIB), 100 * KIB, 36 * KIB),
            (running(37 * KIB), 100 * KIB, 36 * KIB),
            (running(100 * KIB), 100 * KIB, 36 * KIB),
            (running(64 * KIB), 64 * KIB, 0),
            (running(64 * KIB + 1), 64 * KIB + 1, 1),
            (running(7), 7, 0),
            (Progress::Verified, 100 * KIB, 100 * KIB),
            (Progress::Verified, 7, 7),
            (failed(SpoolFailure::Abandoned), 200 * KIB, 0),
            (failed(full()), 200 * KIB, 100 * KIB),
            (failed(full()), 100 * KIB, 36 * KIB),
        ];
        for (progress, size, released) in table {
            assert_eq!(progress.released(size), released, "{progress:?} of {size}");
        }
    }
}
