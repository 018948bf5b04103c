//! Reading a file, stored or still growing, without blocking the runtime.

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
use tokio::task::{JoinHandle, coop, spawn_blocking};

use super::{
    ReadError,
    buffers::{Buffer, Buffers},
    pace::Pace,
};
use crate::{OpenFile, Progress, Spool, SpoolFailure, open_file::Resident};

/// Frames of 64 to 256 KiB of a file, stored or growing.
///
/// A frame is read when it is asked for, from memory if the bytes are there and on the blocking pool otherwise. Frames
/// grow for a reader that takes them as fast as they come. After an error there is nothing more.
pub(super) struct FileFrames {
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

impl FileFrames {
    pub(super) fn stored(file: Arc<OpenFile>, size: u64, buffers: Arc<Buffers>, range: &Range<u64>) -> Self {
        Self::new(Source::Stored(file), size, buffers, range)
    }

    pub(super) fn growing(spool: Arc<Spool>, buffers: Arc<Buffers>, range: &Range<u64>) -> Self {
        let size = spool.size();
        Self::new(Source::Growing(spool), size, buffers, range)
    }

    fn new(source: Source, size: u64, buffers: Arc<Buffers>, range: &Range<u64>) -> Self {
        let (position, end) = super::cut(range, size);
        Self {
            source,
            buffers,
            position,
            end,
            pace: Pace::default(),
            pending: Pending::Nothing,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
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
            Progress::Failed { reason, .. } => Available::Never(reason),
            Progress::Running { .. } | Progress::Verified => Available::NotYet,
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
