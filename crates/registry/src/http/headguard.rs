//! O4: hyper answers a head that it cannot read with a bare status. This gives those answers a body of the
//! distribution-spec's shape.
//!
//! hyper has no hook for its own error answers, so they are recognised on their way out: only while no request is
//! being answered on the connection, and only by the exact form that hyper gives them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use quayside_oci::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How far the connection is with answering.
#[derive(Clone, Default)]
pub(crate) struct Phase(Arc<State>);

#[derive(Default)]
struct State {
    phase: AtomicU8,
    /// Whether a part of a head has arrived that no answer was begun for yet.
    heard: AtomicBool,
    /// Whether an answer that hyper made up was sent in our form.
    replaced: AtomicBool,
}

const IDLE: u8 = 0;
const ANSWERING: u8 = 1;
const DRAINING: u8 = 2;

impl Phase {
    /// A request was read: what is written from now on is its answer.
    pub(crate) fn answering(&self) {
        self.0.phase.store(ANSWERING, Ordering::Release);
        self.0.heard.store(false, Ordering::Release);
    }

    /// The answer's body was handed to hyper completely; it may still be in its buffer.
    pub(crate) fn draining(&self) {
        self.0.phase.store(DRAINING, Ordering::Release);
    }

    fn flushed(&self) {
        let _ = self
            .0
            .phase
            .compare_exchange(DRAINING, IDLE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether the client has begun a request that is not complete, and was told nothing yet. A connection that is merely kept alive has
    /// not, and must hear nothing that its next request could take for its answer.
    pub(crate) fn awaits_head(&self) -> bool {
        self.0.heard.load(Ordering::Acquire) && !self.0.replaced.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == IDLE
    }
}

/// A connection whose bare error answers are given a body.
pub(crate) struct HeadGuard<S> {
    stream: S,
    phase: Phase,
    /// The rest of an answer of ours that replaced one of hyper's, and the length of that one.
    pending: Option<(Vec<u8>, usize)>,
}

impl<S> HeadGuard<S> {
    pub(crate) fn new(stream: S, phase: Phase) -> Self {
        Self {
            stream,
            phase,
            pending: None,
        }
    }
}

/// The answer for what is no HTTP/1 at all, such as the preface of HTTP/2: hyper says nothing to it either.
pub(crate) fn not_http() -> Vec<u8> {
    answer(
        400,
        "Bad Request",
        ErrorCode::Unsupported,
        "only HTTP/1.1 is spoken here",
    )
}

/// The answer for a head that was not complete in time: hyper says nothing at all then.
pub(crate) fn too_slow() -> Vec<u8> {
    answer(
        408,
        "Request Timeout",
        ErrorCode::Unsupported,
        "the request's head did not arrive in time",
    )
}

fn answer(status: u16, reason: &str, code: ErrorCode, message: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"errors":[{{"code":"{}","message":"{message}"}}]}}"#,
        code.as_str()
    );
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         docker-distribution-api-version: registry/2.0\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What to send instead of an answer that hyper made up itself.
fn replacement(written: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(written)
        .ok()
        .filter(|text| text.len() < 512)?;
    let head = text.strip_prefix("HTTP/1.1 4")?.strip_suffix("\r\n\r\n")?;
    if !head.contains("content-length: 0") {
        return None;
    }
    Some(match head.get(..2)? {
        "31" => answer(
            431,
            "Request Header Fields Too Large",
            ErrorCode::Unsupported,
            "the request's head is too large",
        ),
        "14" => answer(
            414,
            "URI Too Long",
            ErrorCode::NameInvalid,
            "the request's path is too long",
        ),
        _ => answer(
            400,
            "Bad Request",
            ErrorCode::NameInvalid,
            "the request is not valid HTTP",
        ),
    })
}

impl<S: AsyncWrite + Unpin> HeadGuard<S> {
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((bytes, length)) = &mut self.pending {
            if bytes.is_empty() {
                let length = *length;
                self.pending = None;
                return Poll::Ready(Ok(length));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
            bytes.drain(..sent);
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.pending.is_none() && self.phase.is_idle() {
            self.pending = replacement(buf).map(|bytes| (bytes, buf.len()));
            self.phase
                .0
                .replaced
                .store(self.pending.is_some(), Ordering::Release);
        }
        if self.pending.is_some() {
            return self.poll_pending(context);
        }
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.phase.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.phase.is_idle() {
            let first = bufs
                .iter()
                .find(|buf| !buf.is_empty())
                .map_or(&[][..], |buf| &**buf);
            return self.poll_write(context, first);
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        if buf.filled().len() > before {
            self.phase.0.heard.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O4: only hyper's own form is replaced, and only with its own status.
    #[test]
    fn replaces_only_what_hyper_made_up() {
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let replaced = String::from_utf8(replacement(bare).unwrap()).unwrap();
        assert!(replaced.starts_with("HTTP/1.1 431 "), "{replaced}");
        let body = replaced.split_once("\r\n\r\n").unwrap().1;
        assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["errors"][0]["message"].is_string());
        assert!(replacement(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_none());
        assert!(replacement(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}").is_none());
        assert!(replacement(b"some bytes of a blob").is_none());
    }
}
