//! The admin port (O1): probes and metrics are open, everything else takes the admin token.

mod commands;
mod prune;
mod scrub;
mod why;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;

use super::body::Body;
use super::serve::Answer;
use super::{Front, Response};
use crate::auth::admin::AdminToken;
use crate::chain::Chain;
use crate::gc::Gc;
use crate::metrics::{self, Metrics};
use crate::organizations::Snapshot;
use crate::pull::Engine;
use crate::scrub::Scrub;

const TEXT: &str = "text/plain; charset=utf-8";
/// A scrape does not wait longer for the database: what it last knew is shown then.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// What the admin port answers from.
pub(crate) struct Admin {
    pub(crate) engine: Arc<Engine>,
    pub(crate) front: Arc<Front>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gc: Arc<Gc>,
    pub(crate) scrub: Scrub,
    pub(crate) token: AdminToken,
    pub(crate) stopping: AtomicBool,
}

impl Answer for Arc<Admin> {
    async fn answer(self, request: http::Request<Incoming>, _peer: SocketAddr) -> Response {
        let (parts, _) = request.into_parts();
        match parts.uri.path() {
            "/livez" | "/readyz" | "/metrics" if !matches!(parts.method, Method::GET | Method::HEAD) => {
                text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
            }
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics().await,
            _ => self.command(&parts.method, &parts.uri, &parts.headers).await,
        }
    }
}

impl Admin {
    fn ready(&self) -> Response {
        if self.stopping.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        // C3: not before a good organizations file was applied.
        if !self.snapshot.load().loaded {
            let message = "no good organizations file was applied yet\n";
            return text(StatusCode::SERVICE_UNAVAILABLE, message);
        }
        text(StatusCode::OK, "ok\n")
    }

    async fn metrics(&self) -> Response {
        self.metrics.set_fills_in_flight(self.engine.running.count());
        self.read_usages().await;
        self.read_garbage().await;
        match self.metrics.encode() {
            Ok(metrics) => respond(StatusCode::OK, metrics::CONTENT_TYPE, Bytes::from(metrics)),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "metrics not written");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics could not be written\n",
                )
            }
        }
    }

    async fn read_garbage(&self) {
        let reading = self.engine.metadata.garbage_bytes();
        if let Ok(Ok(bytes)) = tokio::time::timeout(DATABASE_PATIENCE, reading).await {
            self.metrics.set_garbage_bytes(bytes);
        }
    }

    async fn read_usages(&self) {
        let reading = self.engine.metadata.usages();
        let Ok(Ok(usages)) = tokio::time::timeout(DATABASE_PATIENCE, reading).await else {
            return;
        };
        let usages: HashMap<_, _> = usages.into_iter().collect();
        for served in self.snapshot.load().by_name.values() {
            if let Some(bytes) = usages.get(&served.id) {
                served.metrics.set_usage(*bytes);
            }
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response {
    respond(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let length = HeaderValue::from(body.len());
    let mut response = http::Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    response
}
