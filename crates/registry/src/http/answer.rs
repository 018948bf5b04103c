//! Answers that several handlers give.

use bytes::Bytes;
use http::header;
use http::{HeaderValue, StatusCode};

use super::Response;
use super::body::Body;

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
