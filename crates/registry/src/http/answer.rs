//! Answers that several handlers give.

use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Response;
use super::body::Body;

/// How many headers an answer with content has at most, so that their map never grows.
const HEADERS: usize = 12;

/// 200 with `body`, and room for the headers.
pub(crate) fn content(body: Body) -> Response {
    let mut response = http::Response::new(body);
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    response
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
