//! Reading a blob, stored or still growing, in frames that do not block the runtime.

mod buffers;
mod file;
mod pace;

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use thiserror::Error;

use self::file::FileFrames;
use crate::{Opened, Spool, SpoolFailure, StorageFault, s3::Reader};

pub(crate) use self::buffers::Buffers;

/// Why a body ends before its last byte.
#[derive(Debug, Error)]
pub enum ReadError {
    /// What is stored is shorter than it has to be, or gone: it was damaged after it had been opened (B8).
    #[error("read blob: it ends at byte {offset}, {expected} were expected")]
    Truncated {
        /// Where there was nothing to read.
        offset: u64,
        /// The end of the range that was asked for.
        expected: u64,
    },
    /// The system refused to read.
    #[error("read blob")]
    Io(#[source] io::Error),
    /// The bucket cannot be read at the moment, which says nothing about the blob (O2).
    #[error("read blob")]
    Storage(#[source] StorageFault),
    /// The blob did not arrive.
    #[error("follow blob")]
    Failed(#[source] SpoolFailure),
}

/// The bytes of one range of a blob: of a file in frames of 64 to 256 KiB, of an object in the pieces in which they
/// come.
///
/// A frame is read when it is asked for, so a reader that stalls holds at most the frame it was given, and what the
/// connection to the bucket holds. After an error there is nothing more. Dropping it early costs nothing.
pub struct Frames(Source);

enum Source {
    File(FileFrames),
    Object(ObjectFrames),
}

struct ObjectFrames {
    reader: Box<Reader>,
    position: u64,
    end: u64,
}

impl Frames {
    pub(crate) fn stored(opened: Opened, size: u64, buffers: Arc<Buffers>, range: &Range<u64>) -> Self {
        Self(match opened {
            Opened::File(file) => Source::File(FileFrames::stored(file, size, buffers, range)),
            Opened::Object(object) => {
                let (position, end) = cut(range, size);
                let reader = Box::new(Reader::new(object));
                Source::Object(ObjectFrames {
                    reader,
                    position,
                    end,
                })
            }
        })
    }

    pub(crate) fn growing(spool: Arc<Spool>, buffers: Arc<Buffers>, range: &Range<u64>) -> Self {
        Self(Source::File(FileFrames::growing(spool, buffers, range)))
    }

    /// The next frame: never empty, `None` after the last byte of the range or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        std::future::poll_fn(|context| self.poll_frame(context)).await
    }

    /// Where the next frame begins, in bytes from the start of the blob.
    pub fn position(&self) -> u64 {
        match &self.0 {
            Source::File(frames) => frames.position(),
            Source::Object(frames) => frames.position,
        }
    }

    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        let end = match &self.0 {
            Source::File(frames) => frames.end(),
            Source::Object(frames) => frames.end,
        };
        end - self.position()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        match &mut self.0 {
            Source::File(frames) => frames.poll_frame(context),
            Source::Object(frames) => frames.poll_frame(context),
        }
    }
}

impl ObjectFrames {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        if self.position == self.end {
            return Poll::Ready(None);
        }
        let frame = ready!(self.reader.poll(self.position, self.end, context));
        match &frame {
            Ok(bytes) => self.position += bytes.len() as u64,
            Err(_) => self.end = self.position,
        }
        Poll::Ready(Some(frame))
    }
}

/// A range, cut to the length of the blob.
fn cut(range: &Range<u64>, size: u64) -> (u64, u64) {
    let end = range.end.min(size);
    (range.start.min(end), end)
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
            .field("position", &self.position())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
