//! A registry that does what a test tells it to and remembers what it was asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use quayside_oci::{Algorithm, Digest, Reference};
use quayside_upstream::{AddressPolicy, Client, Environment, Observer, Settings, Spec, Upstream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }
}

/// A running server. Stops when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers at once.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        Self::start_slow(move |seen| std::future::ready(answer(&seen))).await
    }

    /// Answers when it likes.
    pub(crate) async fn start_slow<F, R>(answer: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::on(listener, port, answer)
    }

    pub(crate) fn on<L, F, R>(listener: L, port: u16, answer: F) -> Self
    where
        L: axum::serve::Listener<Addr = SocketAddr>,
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let answer = Arc::new(answer);
        let router = Router::new().fallback(move |request: Request| {
            let one = Seen {
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                query: request.uri().query().unwrap_or_default().to_owned(),
                headers: request.headers().clone(),
            };
            record.lock().unwrap().push(one.clone());
            let answer = Arc::clone(&answer);
            async move { answer(one).await }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, path_starts: &str) -> usize {
        self.seen()
            .iter()
            .filter(|one| one.path.starts_with(path_starts))
            .count()
    }

    /// `http://<name>:<port><path>`.
    pub(crate) fn url(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.port)
    }

    /// This server as an anonymous upstream named `registry.test`.
    pub(crate) fn anonymous(&self) -> Upstream {
        self.upstream(None)
    }

    pub(crate) fn with_credentials(&self, password: &str) -> Upstream {
        self.upstream(Some(("robot".to_owned(), password.to_owned().into())))
    }

    fn upstream(&self, credentials: Option<(String, secrecy::SecretString)>) -> Upstream {
        local_client()
            .upstream(Spec {
                credentials,
                ..plain("registry.test", self.port)
            })
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An anonymous plain HTTP upstream.
pub(crate) fn plain(host: &str, port: u16) -> Spec {
    Spec {
        host: host.to_owned(),
        port: Some(port),
        plain_http: true,
        ca_bundle: None,
        insecure_skip_verify: false,
        credentials: None,
    }
}

pub(crate) fn settings(allowed: AddressPolicy) -> Settings {
    Settings {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        allowed,
        observer: Observer::default(),
        user_agent: "quayside-test".to_owned(),
    }
}

/// Names ending in `.test` are this machine.
pub(crate) fn environment() -> Environment {
    let resolve = |name: &str| name.strip_suffix(".test").map(|_| vec![LOOPBACK]);
    Environment {
        resolve: Some(Arc::new(resolve)),
        ..Environment::default()
    }
}

/// A client that may contact this machine.
pub(crate) fn local_client() -> Client {
    Client::with_environment(settings(loopback_allowed()), environment())
}

pub(crate) fn loopback_allowed() -> AddressPolicy {
    AddressPolicy::new(&[], &["127.0.0.0/8".parse().unwrap()])
}

pub(crate) fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// A manifest's answer with its type and digest.
pub(crate) fn manifest() -> Response {
    let digest = sha256(MANIFEST).to_string();
    respond(
        200,
        &[
            ("content-type", MANIFEST_TYPE),
            ("docker-content-digest", &digest),
        ],
        MANIFEST,
    )
}

/// The given pieces under the given length, and then the connection is cut.
pub(crate) fn cut(status: u16, headers: &[(&str, &str)], pieces: Vec<Bytes>) -> Response {
    let pieces = futures::stream::iter(pieces.into_iter().map(Ok));
    // Not ready at first, so that what came before is on the wire when the connection goes.
    let end = futures::stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    });
    respond(status, headers, Body::from_stream(pieces.chain(end)))
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn tag(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}
