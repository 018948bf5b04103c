//! The accept loop: connections are served by hyper directly, with a small buffer, so that a client that stops
//! reading holds little memory (ENGINE §2.1), and with the limits of O4.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Response;
use super::body::Body;
use super::headguard::{HeadGuard, Phase, not_http, too_slow};
use super::tls::Certificates;
use crate::chain::Chain;
use crate::pull::blobs::BodyError;

/// What hyper buffers per connection, in either direction.
const BUFFER: usize = 64 << 10;
/// Headers that hyper reads; more than clients send, few enough to be judged by us and not by it.
const HEADERS: usize = 1_000;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 8_192;
/// After a failed accept (out of descriptors) the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    fn answer(
        self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send;
}

/// Where connections come from.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    /// The certificate, where TLS is spoken.
    pub(crate) certificates: Option<Arc<Certificates>>,
}

/// How connections come to their end.
#[derive(Clone)]
pub(crate) struct Stop {
    /// None is accepted any more, idle ones are closed, and busy ones finish what they are at.
    pub(crate) accepting: CancellationToken,
    /// All are cut.
    pub(crate) serving: CancellationToken,
}

/// Accepts connections until it is stopped. `tracker` knows when the last of them has ended.
pub(crate) async fn run(listener: Listener, answer: impl Answer, stop: Stop, tracker: TaskTracker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.accepting.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.accepting.cancelled() => return,
            accepted = listener.tcp.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let certificates = listener.certificates.clone();
                let connection = open(stream, peer, certificates, answer.clone(), stop.clone());
                tracker.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            Err(error) => {
                tracing::warn!(
                    error = %Chain(&error),
                    "connection not accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    answer: impl Answer,
    stop: Stop,
) {
    // Answers are written in few large pieces; waiting for more would only add latency.
    let _ = stream.set_nodelay(true);
    let serving = async {
        let Some(certificates) = certificates else {
            return connection(stream, peer, answer, stop.accepting).await;
        };
        // Who has not asked for anything yet is idle.
        let secured = tokio::select! {
            secured = certificates.accept(stream) => secured,
            () = stop.accepting.cancelled() => return,
        };
        match secured {
            Ok(stream) => connection(stream, peer, answer, stop.accepting).await,
            Err(error) => {
                tracing::debug!(%peer, error = %Chain(&error), "connection not secured");
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop.serving.cancelled() => {}
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    answer: impl Answer,
    stop: CancellationToken,
) {
    let phase = Phase::default();
    let service = service_fn(|request| {
        phase.answering();
        let (answer, phase) = (answer.clone(), phase.clone());
        async move {
            let response = answer.answer(request, peer).await;
            Ok::<_, Infallible>(response.map(|body| Watched { body, phase }))
        }
    });
    let stream = TokioIo::new(HeadGuard::new(stream, phase.clone()));
    let mut connection = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(stream, service);
    let ended = {
        let mut connection = Pin::new(&mut connection);
        let mut stopped = pin!(stop.cancelled());
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = &mut stopped => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = %Chain(&error), "connection ended early");
        let last_words = match phase.awaits_head() {
            true if error.is_timeout() => too_slow(),
            true if error.is_parse() => not_http(),
            _ => return,
        };
        let mut stream = connection.into_parts().io.into_inner();
        // The client may be gone; it was going to be cut off either way.
        let _ = stream.write_all(&last_words).await;
        let _ = stream.shutdown().await;
    }
}

/// A body that tells the connection's guard when it is over.
struct Watched {
    body: Body,
    phase: Phase,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.phase.draining();
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
