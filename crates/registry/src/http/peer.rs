//! The peer port: other replicas read the fills of this one while they run (B2, ENGINE §3.4).
//!
//! `GET /peer/fills/<token>?from=<n>` is answered with the bytes from `n` on as soon as there is one to send: 200. While
//! there is none, who asks is told every now and then that this replica is alive: 202. A fill that failed: 409 and why,
//! in JSON. One that is not known here, or not any more: 404.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use quayside_blobs::Spool;
use quayside_oci::Digest;

use super::Response;
use super::answer;
use super::body::Body;
use super::serve::Answer;
use crate::pull::Engine;
use crate::pull::blobs::Bytestream;
use crate::pull::fill::{Fill, Head, Outcome};
use crate::pull::peer::failure::Failure;
use crate::pull::replica::Told;

const FILLS: &str = "/peer/fills/";
/// How long a request waits for bytes before it is told that there are none yet. Far less than the time after which a
/// replica counts as unreachable.
const WAIT: Duration = Duration::from_millis(500);

/// What the peer port answers from.
#[derive(Clone)]
pub(crate) struct PeerPort(pub(crate) Arc<Engine>);

/// What is asked for.
struct Asked<'a> {
    token: &'a str,
    from: u64,
}

impl Answer for PeerPort {
    async fn answer(self, request: http::Request<Incoming>, _peer: SocketAddr) -> Response {
        let (parts, _) = request.into_parts();
        let Some(digest) = self.signed_for(&parts.headers) else {
            let mut response = status(StatusCode::UNAUTHORIZED);
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        };
        if parts.method != Method::GET {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET");
            response.headers_mut().insert(header::ALLOW, allowed);
            return response;
        }
        match read(&parts.uri) {
            Some(asked) => self.tell(&asked, &digest).await,
            None => status(StatusCode::NOT_FOUND),
        }
    }
}

impl PeerPort {
    fn signed_for(&self, headers: &http::HeaderMap) -> Option<Digest> {
        let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = authorization.strip_prefix("Bearer ")?;
        self.0.replica.peers.tokens().verify(token, self.0.now())
    }

    async fn tell(&self, asked: &Asked<'_>, digest: &Digest) -> Response {
        let fill = match self.0.replica.find(asked.token, digest) {
            Some(Told::Running(fill)) => fill,
            Some(Told::Failed(failure)) => return told(&failure),
            None => return status(StatusCode::NOT_FOUND),
        };
        // Clients over there wait for it: it is no longer background work, and outlasts a drain (B6).
        fill.attend();
        match tokio::time::timeout(WAIT, next_bytes(&fill, asked.from)).await {
            Err(_) => status(StatusCode::ACCEPTED),
            Ok(Ok(spool)) => bytes(&spool, asked.from),
            Ok(Err(Outcome::Failed(error))) => match Failure::of(fill.origin(), &error) {
                Some(failure) => told(&failure),
                None => status(StatusCode::NOT_FOUND),
            },
            Ok(Err(_)) => status(StatusCode::NOT_FOUND),
        }
    }
}

/// Waits until there is a byte to send from `from` on, or none will ever come. Of what is withheld whole there is none
/// before it is verified, so its readers over there get a proper answer if it is not (B3).
async fn next_bytes(fill: &Fill, from: u64) -> Result<Arc<Spool>, Outcome> {
    let spool = match fill.head().await {
        Head::Streaming(spool) => spool,
        Head::Ended(outcome) => return Err(outcome),
    };
    let size = spool.size();
    let waited = if from >= size {
        spool.settled().await
    } else {
        spool.wait_released(from + 1).await
    };
    match waited {
        Ok(()) => Ok(spool),
        Err(_) => Err(fill.outcome().await),
    }
}

fn bytes(spool: &Arc<Spool>, from: u64) -> Response {
    let size = spool.size();
    let frames = spool.follow(from..size);
    let mut response = answer::content(Body::from(Bytestream::Frames(frames)));
    let length = HeaderValue::from(size.saturating_sub(from));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

fn told(failure: &Failure) -> Response {
    let Ok(text) = serde_json::to_vec(failure) else {
        return status(StatusCode::NOT_FOUND);
    };
    let mut response = answer::json(Bytes::from(text));
    *response.status_mut() = StatusCode::CONFLICT;
    response
}

fn status(status: StatusCode) -> Response {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

fn read(uri: &http::Uri) -> Option<Asked<'_>> {
    let token = uri.path().strip_prefix(FILLS)?;
    let from = uri.query()?.strip_prefix("from=")?.parse().ok()?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_token.then_some(Asked { token, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B2: exactly the one path; whatever else is asked for does not exist.
    #[test]
    fn reads_the_one_path_there_is() {
        let read = |text: &str| {
            let uri = text.parse().unwrap();
            read(&uri).map(|asked| (asked.token.to_owned(), asked.from))
        };
        assert_eq!(read("/peer/fills/0a1b?from=7"), Some(("0a1b".to_owned(), 7)));
        for other in [
            "/peer/fills/0a1b",
            "/peer/fills/0a1b?from=",
            "/peer/fills/0a1b?from=-1",
            "/peer/fills/?from=0",
            "/peer/fills/../x?from=0",
            "/v2/?from=0",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
