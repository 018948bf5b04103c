//! A proxy in front of a real upstream that writes down what it is asked, at the moment it is asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `HEAD`, …
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

type Body = BoxBody<Bytes, reqwest::Error>;

/// The proxy. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: JoinSet<()>,
}

impl Recorder {
    /// Starts a proxy for the server at `target`, on a free port.
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a free port");
        let address = listener.local_addr().expect("own address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(
            listener,
            Forward {
                target,
                client: client(),
                seen: seen.clone(),
            },
        ));
        Self { address, seen, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections from now on and cuts those that are open.
    pub async fn switch_off(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Everything that was asked so far, in order.
    ///
    /// # Panics
    /// Never, unless a test panicked while it recorded.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("a recorder that did not panic").clone()
    }

    /// Forgets what was asked so far.
    ///
    /// # Panics
    /// As [`Recorder::seen`].
    pub fn forget(&self) {
        self.seen.lock().expect("a recorder that did not panic").clear();
    }

    /// How often content was asked for: `GET`s of manifests and blobs, by what they end in (tag or digest).
    pub fn gets(&self) -> Vec<String> {
        let gets = self.seen().into_iter().filter(|seen| seen.method == Method::GET);
        let content = gets.filter(|seen| seen.path.contains("/manifests/") || seen.path.contains("/blobs/"));
        content
            .filter_map(|seen| seen.path.rsplit('/').next().map(str::to_owned))
            .collect()
    }
}

/// A client that follows nothing and takes no proxy from the environment.
fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    builder.build().expect("build an HTTP client")
}

#[derive(Clone)]
struct Forward {
    target: SocketAddr,
    client: reqwest::Client,
    seen: Arc<Mutex<Vec<Seen>>>,
}

async fn accept(listener: TcpListener, forward: Forward) {
    // Aborting this task drops the set, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let forward = forward.clone();
        let service = service_fn(move |request| {
            let forward = forward.clone();
            async move { Ok::<_, Infallible>(forward.answer(request).await) }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A client that hangs up is nothing to report.
            let _ = connection.await;
        });
    }
}

impl Forward {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let authorization = head.headers.get(header::AUTHORIZATION);
        let authorization = authorization
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let seen = Seen {
            method: head.method.clone(),
            path: path.clone(),
            authorization,
        };
        self.seen
            .lock()
            .expect("a recorder that did not panic")
            .push(seen);
        let Ok(body) = body.collect().await else {
            return failure(StatusCode::BAD_REQUEST);
        };
        let sent = self
            .client
            .request(head.method, format!("http://{}{path}", self.target))
            .headers(end_to_end(&head.headers))
            .body(body.to_bytes())
            .send()
            .await;
        match sent {
            Ok(answer) => relay(answer),
            Err(_) => failure(StatusCode::BAD_GATEWAY),
        }
    }
}

fn relay(answer: reqwest::Response) -> Response<Body> {
    let (status, headers) = (answer.status(), end_to_end(answer.headers()));
    let body = StreamBody::new(answer.bytes_stream().map_ok(Frame::data)).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn failure(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

/// The headers that are not about one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP: [HeaderName; 4] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::UPGRADE,
    ];
    let mut kept = headers.clone();
    for name in HOP {
        kept.remove(name);
    }
    kept
}
