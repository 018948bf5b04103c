//! `/v2`: a path becomes one route, the route is authorised, then answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use quayside_oci::{ErrorCode, Route, RouteError};

use super::answer::json;
use super::context::Context;
use super::error::Problem;
use super::serve::Answer;
use super::{Front, Response, blobs, count, listing, manifests, referrers, token};
use crate::pull;

/// Heads over this are refused (O4).
const MAX_HEAD: usize = 16 << 10;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Answer for Arc<Front> {
    async fn answer(self, request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        let id = self.ids.next();
        let started = std::time::Instant::now();
        let asked = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| (request.method().clone(), request.uri().path().to_owned()));
        let route = Route::parse(request.uri().path());
        let kind = count::kind(&route);
        let mut response = match respond(&self, request, route, peer).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(id),
        };
        self.metrics.requests.took(kind, started.elapsed());
        response.body_mut().answers(id);
        let headers = response.headers_mut();
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        if let Some(value) = id.header() {
            headers.insert(REQUEST_ID, value);
        }
        if let Some((method, path)) = asked {
            let status = response.status().as_u16();
            tracing::debug!(request = %id, %peer, %method, path, status, elapsed = ?started.elapsed(), "answered");
        }
        response
    }
}

async fn respond(
    front: &Arc<Front>,
    request: http::Request<Incoming>,
    route: Result<Route, RouteError>,
    peer: SocketAddr,
) -> Result<Response, Problem> {
    if head_size(&request) > MAX_HEAD {
        let message = format!("the request's head is larger than {MAX_HEAD} bytes");
        return Err(Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorCode::Unsupported,
            message,
        ));
    }
    if matches!(route, Ok(Route::Token)) {
        return token::answer(front, request, peer).await;
    }
    // A5: what writes is refused before anything else is looked at.
    let method = match *request.method() {
        Method::GET => pull::Method::Get,
        Method::HEAD => pull::Method::Head,
        _ => return Err(Problem::read_only()),
    };
    let (parts, _) = request.into_parts();
    let context = Context {
        front,
        headers: &parts.headers,
        query: parts.uri.query(),
        method,
        peer,
    };
    match route? {
        Route::Base => base(&context).await,
        Route::Manifest { name, reference } => {
            let answered = manifests::answer(&context, &name, reference).await;
            count::manifest(&context, &name, answered)
        }
        Route::Blob { name, digest } => {
            let answered = blobs::answer(&context, &name, digest).await;
            count::blob(&context, &name, answered)
        }
        Route::Tags { name } => listing::tags(&context, &name).await,
        Route::Catalog => listing::catalog(&context).await,
        Route::Referrers { name, digest } => referrers::answer(&context, &name, digest).await,
        // The token service was answered above.
        Route::Upload | Route::Token => Err(Problem::read_only()),
    }
}

fn head_size<B>(request: &http::Request<B>) -> usize {
    let line = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    // Name, value, `: ` and the line's end.
    line + request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
}

/// A1: 200 to any valid credential, also to an anonymous token.
async fn base(context: &Context<'_>) -> Result<Response, Problem> {
    let caller = context.caller(None).await?;
    if caller.proof == crate::auth::Proof::None {
        return Err(context.challenge(None));
    }
    Ok(json(Bytes::from_static(b"{}")))
}
