//! Bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};
use quayside_blobs::Frames;

use crate::pull::blobs::{BodyError, Bytestream};

/// What is sent after the head. An error cuts the connection, so a client never takes a part for the whole.
pub(crate) enum Body {
    Empty,
    /// Taken when sent.
    Full(Bytes),
    Frames(Frames),
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

impl From<Bytestream> for Body {
    fn from(bytes: Bytestream) -> Self {
        match bytes {
            Bytestream::Nothing => Self::Empty,
            Bytestream::Frames(frames) => Self::Frames(frames),
            Bytestream::Stream(stream) => Self::Stream(stream),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Self::Frames(frames) => Pin::new(frames).poll_next(context).map_err(BodyError::Read),
            Self::Stream(stream) => stream.as_mut().poll_next(context),
        };
        if let Poll::Ready(Some(Err(error))) = &next {
            tracing::warn!(error = error as &dyn std::error::Error, "answer cut short");
        }
        next.map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Frames(_) | Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // The head says it: `Content-Length` is always set.
            Self::Frames(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}
