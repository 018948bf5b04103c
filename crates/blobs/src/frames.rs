//! Reading a blob, stored or still growing, in frames that do not block the runtime.

mod buffers;
mod pace;

use std::{
    future::Future,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::Stream;
use thiserror::Error;
use tokio::task::{JoinHandle, coop, spawn_blocking};

use self::{buffers::Buffer, pace::Pace};
use crate::{OpenFile, Spool, SpoolFailure, open_file::Resident};

pub(crate) use self::buffers::Buffers;

/// Why a body ends before its last byte.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file is shorter than it has to be: it was damaged after it had been opened (B8).
    #[error("read blob: the file ends at byte {offset}, {expected} were expected")]
    Truncated {
        /// Where there was nothing to read.
        offset: u64,
        /// The end of the range that was asked for.
        expected: u64,
    },
    /// The system refused to read.
    #[error("read blob")]
    Io(#[source] io::Error),
    /// The blob did not arrive.
    #[error("follow blob")]
    Failed(#[source] SpoolFailure),
}

/// The bytes of one range of a blob, in frames of 64 to 256 KiB.
///
/// A frame is read when it is asked for, from memory if the bytes are there and on the blocking pool otherwise,
/// so a reader that stalls holds at most the frame it was given. Frames grow for a reader that takes them as fast
/// as they come. After an error there is nothing more. Dropping it early costs nothing.
pub struct Frames {
    source: Source,
    buffers: Arc<Buffers>,
    position: u64,
    end: u64,
    pace: Pace,
    pending: Pending,
}

enum Source {
    Stored(Arc<OpenFile>),
    Growing(Arc<Spool>),
}

/// What a reader is waiting for.
enum Pending {
    Nothing,
    Disk(JoinHandle<io::Result<Buffer>>),
    Writer(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// What can be read of a range by now.
enum Available {
    Bytes(u64),
    NotYet,
    Never(SpoolFailure),
}

impl Frames {
    pub(crate) fn stored(file: Arc<OpenFile>, size: u64, buffers: Arc<Buffers>, range: Range<u64>) -> Self {
        Self::new(Source::Stored(file), size, buffers, &range)
    }

    pub(crate) fn growing(spool: Arc<Spool>, buffers: Arc<Buffers>, range: Range<u64>) -> Self {
        let size = spool.size();
        Self::new(Source::Growing(spool), size, buffers, &range)
    }

    fn new(source: Source, size: u64, buffers: Arc<Buffers>, range: &Range<u64>) -> Self {
        let end = range.end.min(size);
        let position = range.start.min(end);
        Self {
            source,
            buffers,
            position,
            end,
            pace: Pace::default(),
            pending: Pending::Nothing,
        }
    }

    /// The next frame: never empty, `None` after the last byte of the range or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        std::future::poll_fn(|context| self.poll_frame(context)).await
    }

    /// Where the next frame begins, in bytes from the start of the blob.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        self.pace.asked(Instant::now());
        loop {
            match &mut self.pending {
                Pending::Nothing => {}
                Pending::Writer(released) => {
                    ready!(released.as_mut().poll(context));
                    self.pending = Pending::Nothing;
                }
                Pending::Disk(read) => {
                    let read = ready!(Pin::new(read).poll(context)).unwrap_or_else(|error| Err(error.into()));
                    self.pending = Pending::Nothing;
                    return Poll::Ready(Some(self.deliver(read)));
                }
            }
            if self.position == self.end {
                return Poll::Ready(None);
            }
            let length = match self.available() {
                Available::Bytes(length) => self.pace.frame(length),
                Available::NotYet => {
                    self.pending = self.wait_for_writer();
                    continue;
                }
                Available::Never(reason) => {
                    self.end = self.position;
                    return Poll::Ready(Some(Err(ReadError::Failed(reason))));
                }
            };
            let turn = ready!(coop::poll_proceed(context));
            let mut buffer = self.buffers.take(length);
            match self.file().read_resident(buffer.space(), self.position) {
                Ok(Resident::Read(filled)) => {
                    turn.made_progress();
                    return Poll::Ready(Some(self.deliver(Ok(buffer.filled(filled)))));
                }
                Ok(Resident::Absent) => self.pending = self.wait_for_disk(buffer),
                Err(error) => return Poll::Ready(Some(self.deliver(Err(error)))),
            }
        }
    }

    fn file(&self) -> &Arc<OpenFile> {
        match &self.source {
            Source::Stored(file) => file,
            Source::Growing(spool) => spool.file(),
        }
    }

    fn available(&self) -> Available {
        let spool = match &self.source {
            Source::Stored(_) => return Available::Bytes(self.end - self.position),
            Source::Growing(spool) => spool,
        };
        let progress = spool.progress();
        let released = progress.released(spool.size()).min(self.end);
        if released > self.position {
            return Available::Bytes(released - self.position);
        }
        match progress {
            crate::Progress::Failed { reason, .. } => Available::Never(reason),
            crate::Progress::Running { .. } | crate::Progress::Verified => Available::NotYet,
        }
    }

    fn wait_for_writer(&self) -> Pending {
        let Source::Growing(spool) = &self.source else {
            return Pending::Nothing;
        };
        let (mut watch, size, position) = (spool.watch(), spool.size(), self.position);
        Pending::Writer(Box::pin(async move {
            // An error means that the spool is gone, which cannot be while its reader holds it.
            let _ = watch
                .wait_for(|now| now.has_ended() || now.released(size) > position)
                .await;
        }))
    }

    fn wait_for_disk(&self, mut buffer: Buffer) -> Pending {
        let (file, position) = (Arc::clone(self.file()), self.position);
        Pending::Disk(spawn_blocking(move || {
            let filled = file.read_waiting(buffer.space(), position)?;
            Ok(buffer.filled(filled))
        }))
    }

    fn deliver(&mut self, read: io::Result<Buffer>) -> Result<Bytes, ReadError> {
        let error = match read {
            Ok(buffer) if !buffer.as_ref().is_empty() => {
                self.position += buffer.as_ref().len() as u64;
                self.pace.handed(buffer.as_ref().len(), Instant::now());
                return Ok(Bytes::from_owner(buffer));
            }
            Ok(_) => {
                self.file().ends_early();
                ReadError::Truncated {
                    offset: self.position,
                    expected: self.end,
                }
            }
            Err(error) => ReadError::Io(error),
        };
        self.end = self.position;
        Err(error)
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_frame(context)
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Frames")
            .field("position", &self.position)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
