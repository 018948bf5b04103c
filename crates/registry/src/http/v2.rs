//! `/v2`: a path becomes one route, the route is authorised, then answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use quayside_oci::{ErrorCode, FullName, Route, RouteError};

use super::body::Body;
use super::error::Problem;
use super::serve::Answer;
use super::{Front, Response, blobs, count, listing, manifests, referrers, token};
use crate::auth::access::{Decision, decide};
use crate::auth::{AuthError, Caller, Who};
use crate::organizations::Served;
use crate::pull::{self, Viewer};

/// Heads over this are refused (O4).
const MAX_HEAD: usize = 16 << 10;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Answer for Arc<Front> {
    async fn answer(self, request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        let id = self.ids.next();
        let started = std::time::Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
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
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(REQUEST_ID, value);
        }
        let status = response.status().as_u16();
        tracing::debug!(request = %id, %peer, %method, path, status, elapsed = ?started.elapsed(), "answered");
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

/// One request, taken apart.
pub(crate) struct Context<'a> {
    pub(crate) front: &'a Arc<Front>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) method: pull::Method,
    pub(crate) peer: SocketAddr,
}

/// A request that may see an organization's content.
pub(crate) struct Authorized {
    pub(crate) served: Arc<Served>,
    pub(crate) viewer: Viewer,
    pub(crate) caller: Caller,
}

impl Context<'_> {
    /// Who asks. `scope` is what a token for the request has to list.
    pub(crate) async fn caller(&self, scope: Option<&str>) -> Result<Caller, Problem> {
        let caller = self.front.caller(self.headers, self.peer.ip()).await;
        caller.map_err(|error| self.unauthenticated(&error, scope))
    }

    /// M1: decides before anything else happens.
    pub(crate) async fn authorize(&self, name: &FullName) -> Result<Authorized, Problem> {
        let (full, scope) = (name.to_string(), pull_scope(name));
        let caller = self.caller(Some(&scope)).await?;
        let served = self.front.snapshot.load().get(&name.organization).cloned();
        let decision = decide(served.as_deref().map(|served| &*served.spec), &caller, &full);
        let viewer = match decision {
            Decision::Member => Viewer::Member,
            Decision::Public => Viewer::Public,
            Decision::Challenge => return Err(self.challenge(Some(&scope))),
            Decision::InsufficientScope => return Err(self.insufficient_scope(&scope)),
            Decision::Denied => return Err(denied(&caller.who, name)),
        };
        // Only an organization that is served grants anything.
        let served = served.ok_or_else(|| denied(&caller.who, name))?;
        Ok(Authorized {
            served,
            viewer,
            caller,
        })
    }

    fn unauthenticated(&self, error: &AuthError, scope: Option<&str>) -> Problem {
        if let Some(problem) = Problem::unheard(error) {
            return problem;
        }
        let error_attribute = matches!(error, AuthError::BadToken).then_some("invalid_token");
        self.unauthorized(error.to_string(), scope, error_attribute)
    }

    /// A4: 401 for who did not log in.
    pub(crate) fn challenge(&self, scope: Option<&str>) -> Problem {
        self.unauthorized("authentication required".to_owned(), scope, None)
    }

    /// A1: the token does not say that it is for this, so the client gets another one.
    pub(crate) fn insufficient_scope(&self, scope: &str) -> Problem {
        let message = "the token was not issued for this";
        self.unauthorized(message.to_owned(), Some(scope), Some("insufficient_scope"))
    }

    fn unauthorized(&self, message: String, scope: Option<&str>, error: Option<&str>) -> Problem {
        let Front { realm, service, .. } = &**self.front;
        let scope = scope
            .map(|scope| format!(",scope=\"{scope}\""))
            .unwrap_or_default();
        let error = error
            .map(|error| format!(",error=\"{error}\""))
            .unwrap_or_default();
        let challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}{error}");
        Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
            .header(header::WWW_AUTHENTICATE, challenge)
    }
}

/// The scope that a token for a pull lists.
pub(crate) fn pull_scope(name: &FullName) -> String {
    format!("repository:{name}:pull")
}

fn denied(who: &Who, name: &FullName) -> Problem {
    let message = match who {
        Who::Anonymous => "anonymous users may not pull from this organization".to_owned(),
        who => format!(
            "{} has no role in organization {}",
            who.login(),
            name.organization
        ),
    };
    Problem::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
}

/// A1: 200 to any valid credential, also to an anonymous token.
async fn base(context: &Context<'_>) -> Result<Response, Problem> {
    let caller = context.caller(None).await?;
    if caller.proof == crate::auth::Proof::None {
        return Err(context.challenge(None));
    }
    Ok(json(Bytes::from_static(b"{}")))
}

/// A JSON document of ours.
pub(crate) fn json(body: Bytes) -> Response {
    let length = HeaderValue::from(body.len());
    let mut response = http::Response::new(Body::full(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

/// 304: the client has it.
pub(crate) fn not_modified(etag: HeaderValue) -> Response {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, etag);
    response
}
