//! One connection through the door: requests one after the other, each to the server and back.

use std::io::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RANGE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{Fault, Operation, Seen, Shared};

type Passing = BoxBody<Bytes, Error>;

/// The connection to the server that belongs to one to the door.
type Onward = Mutex<Option<SendRequest<Passing>>>;

pub(super) async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let onward = Arc::new(Onward::default());
    let service = service_fn(move |request| {
        let (shared, onward) = (shared.clone(), onward.clone());
        async move { exchange(request, &shared, &onward).await }
    });
    // It ends with an error whenever a fault ends it.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn exchange(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    onward: &Arc<Onward>,
) -> Result<Response<Passing>, Error> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let range = request.headers().get(RANGE).map(|range| range.to_str());
    let seen = Seen {
        operation: Operation::of(request.method(), path, query),
        path: path.to_owned(),
        range: range
            .transpose()
            .map_err(Error::other)?
            .unwrap_or_default()
            .to_owned(),
    };
    let head = request.method() == Method::HEAD;
    let (fault, healed) = shared.meet(seen);
    match fault {
        Some(Fault::Drop) => return Err(Error::other("dropped")),
        Some(Fault::SlowDown) => return refusal(head, StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Some(Fault::Denied) => return refusal(head, StatusCode::FORBIDDEN, "AccessDenied"),
        _ => {}
    }
    let response = if let Some(Fault::Stall(time)) = fault {
        late(request, (time, healed.clone()), shared.clone(), onward.clone()).await?
    } else {
        let request = request.map(|body| Paced::new(body, fault).boxed());
        pass(request, shared, onward).await?
    };
    match fault {
        Some(Fault::LoseAnswer) => {
            // Only the end of the body says that the server is done.
            response.into_body().collect().await.map_err(Error::other)?;
            Err(Error::other("lost"))
        }
        Some(Fault::StallAnswer(time)) => {
            stall(time, healed).await;
            Ok(response.map(|body| Paced::new(body, None).boxed()))
        }
        fault => Ok(response.map(|body| Paced::new(body, fault).boxed())),
    }
}

/// What is on its way arrives, also when who sent it has gone meanwhile.
async fn late(
    request: Request<Incoming>,
    (time, healed): (Duration, watch::Receiver<u64>),
    shared: Arc<Shared>,
    onward: Arc<Onward>,
) -> Result<Response<Incoming>, Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(Error::other)?.to_bytes();
    let request = Request::from_parts(head, whole(body));
    let underway = async move {
        stall(time, healed).await;
        pass(request, &shared, &onward).await
    };
    tokio::spawn(underway).await.map_err(Error::other)?
}

fn whole(bytes: impl Into<Bytes>) -> Passing {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Waits, but not longer than until the door is healed.
async fn stall(time: Duration, mut healed: watch::Receiver<u64>) {
    tokio::select! {
        () = sleep(time) => {}
        _ = healed.changed() => {}
    }
}

/// A connection, unless the server has closed it meanwhile.
async fn usable(sender: Option<SendRequest<Passing>>) -> Option<SendRequest<Passing>> {
    let mut sender = sender?;
    sender.ready().await.ok()?;
    Some(sender)
}

async fn pass(
    request: Request<Passing>,
    shared: &Shared,
    onward: &Onward,
) -> Result<Response<Incoming>, Error> {
    let mut onward = onward.lock().await;
    let mut sender = if let Some(sender) = usable(onward.take()).await {
        sender
    } else {
        let stream = TcpStream::connect(shared.server).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
        tokio::spawn(connection);
        sender
    };
    let response = sender.send_request(request).await.map_err(Error::other)?;
    *onward = Some(sender);
    Ok(response)
}

fn refusal(head: bool, status: StatusCode, code: &str) -> Result<Response<Passing>, Error> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as the test says</Message></Error>"
    );
    let text = if head { String::new() } else { text };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/xml")
        .body(whole(text))
        .map_err(Error::other)
}

/// A body that arrives as a fault says.
struct Paced {
    body: Incoming,
    /// Bytes a second.
    rate: Option<u64>,
    /// How many bytes may still pass.
    left: Option<u64>,
    /// What has arrived and may not pass yet.
    waiting: BytesMut,
    pause: Option<Pin<Box<Sleep>>>,
}

/// So much passes at once where it is slow: a twentieth of a second's worth.
const STEPS: u64 = 20;

impl Paced {
    fn new(body: Incoming, fault: Option<Fault>) -> Self {
        Self {
            body,
            rate: match fault {
                Some(Fault::Slow(rate)) => Some(rate.max(STEPS)),
                _ => None,
            },
            left: match fault {
                Some(Fault::Cut(bytes)) => Some(bytes),
                _ => None,
            },
            waiting: BytesMut::new(),
            pause: None,
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.left == Some(0) {
            return Poll::Ready(Some(Err(Error::other("cut"))));
        }
        if self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(frame) => match frame.map_err(Error::other)?.into_data() {
                    Ok(data) => self.waiting = BytesMut::from(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let mut length = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        if let Some(rate) = self.rate {
            length = length.min(rate / STEPS);
            let pause = Duration::from_micros(length * 1_000_000 / rate);
            self.pause = Some(Box::pin(sleep_until(Instant::now() + pause)));
        }
        if let Some(left) = &mut self.left {
            length = length.min(*left);
            *left -= length;
            if *left == 0 {
                // What has passed leaves before the connection ends.
                self.pause = Some(Box::pin(sleep(Duration::from_millis(20))));
            }
        }
        let data = self
            .waiting
            .split_to(usize::try_from(length).unwrap_or(usize::MAX))
            .freeze();
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        match self.body.size_hint().exact() {
            Some(exact) => SizeHint::with_exact(exact + waiting),
            None => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_empty() && self.left != Some(0) && self.body.is_end_stream()
    }
}
