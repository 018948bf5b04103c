//! Bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use quayside_blobs::Frames;

use super::RequestId;
use crate::chain::Chain;
use crate::pull::blobs::{BodyError, Bytestream};

/// What is sent after the head. An error cuts the connection, so a client never takes a part for the whole.
pub(crate) struct Body {
    content: Content,
    /// Where the bytes that are sent are counted.
    sent: Option<Counter>,
    /// Whose answer it is, for the log.
    request: Option<RequestId>,
}

enum Content {
    Empty,
    /// Taken when sent.
    Full(Bytes),
    Frames(Frames),
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::new(Content::Empty)
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::new(Content::Full(bytes))
    }

    fn new(content: Content) -> Self {
        Self {
            content,
            sent: None,
            request: None,
        }
    }

    /// Adds what is sent to `counter`.
    pub(crate) fn count_in(&mut self, counter: Counter) {
        self.sent = Some(counter);
    }

    /// Says in the log whose answer is cut short.
    pub(crate) fn answers(&mut self, request: RequestId) {
        self.request = Some(request);
    }
}

impl From<Bytestream> for Body {
    fn from(bytes: Bytestream) -> Self {
        Self::new(match bytes {
            Bytestream::Nothing => Content::Empty,
            Bytestream::Frames(frames) => Content::Frames(frames),
            Bytestream::Stream(stream) => Content::Stream(stream),
        })
    }
}

impl Content {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Self::Frames(frames) => Pin::new(frames).poll_next(context).map_err(BodyError::Read),
            Self::Stream(stream) => stream.as_mut().poll_next(context),
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
        let next = ready!(self.content.poll_next(context));
        match &next {
            Some(Ok(bytes)) => {
                if let Some(counter) = &self.sent {
                    counter.inc_by(bytes.len() as u64);
                }
            }
            Some(Err(error)) => {
                let request = self.request.map(tracing::field::display);
                tracing::warn!(
                    request,
                    error = %Chain(error),
                    "answer cut short"
                );
            }
            None => {}
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Frames(_) | Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // The head says it: `Content-Length` is always set.
            Content::Frames(_) | Content::Stream(_) => SizeHint::default(),
        }
    }
}
