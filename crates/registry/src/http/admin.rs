//! The admin port's probes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;

use super::Response;
use super::body::Body;
use super::serve::Answer;
use crate::organizations::Snapshot;

/// What the probes look at.
pub(crate) struct Probes {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) stopping: AtomicBool,
}

impl Answer for Arc<Probes> {
    async fn answer(self, request: http::Request<Incoming>, _peer: SocketAddr) -> Response {
        let readable = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            _ if !readable => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
            "/readyz" if self.stopping.load(Ordering::Relaxed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
            // C3: not before a good organizations file was applied.
            "/readyz" if !self.snapshot.load().loaded => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "no good organizations file was applied yet\n",
            ),
            "/livez" | "/readyz" => text(StatusCode::OK, "ok\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = http::Response::new(Body::Full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}
