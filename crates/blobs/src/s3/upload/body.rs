//! A piece of a spool file as the body of a request.

use std::{
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};

use super::{Freight, patience::Pulse};
use crate::{Frames, Opened, ReadError};

/// The bytes `range` of a spool file, read as they are sent. Whatever of it was read beats `pulse`.
struct Piece {
    /// Locked by nobody: the client wants bodies that could be shared, and never shares them.
    frames: Mutex<Frames>,
    pulse: Arc<Pulse>,
}

impl Freight {
    /// The bytes `range`, all of which are on disk. They can be sent any number of times, also after the spool file
    /// was removed.
    pub(super) fn body(&self, range: Range<u64>, pulse: &Arc<Pulse>) -> ByteStream {
        let (spool, buffers) = (Arc::clone(&self.spool), Arc::clone(&self.uploads.buffers));
        let pulse = Arc::clone(pulse);
        ByteStream::new(SdkBody::retryable(move || {
            let (file, buffers) = (Arc::clone(spool.file()), Arc::clone(&buffers));
            SdkBody::from_body_1_x(Piece {
                frames: Mutex::new(Frames::stored(Opened::File(file), spool.size(), buffers, &range)),
                pulse: Arc::clone(&pulse),
            })
        }))
    }
}

impl Body for Piece {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let frames = self.frames.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = ready!(Pin::new(frames).poll_next(context));
        self.pulse.beat();
        Poll::Ready(frame.map(|bytes| bytes.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        SizeHint::with_exact(frames.remaining())
    }
}
