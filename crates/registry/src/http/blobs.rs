//! GET and HEAD of a blob (B4, B5).

use http::header;
use http::{HeaderValue, StatusCode};
use quayside_oci::{Digest, ErrorCode, FullName};

use super::Response;
use super::answer::{self, not_modified};
use super::body::Body;
use super::conditional;
use super::context::Context;
use super::count::Answered;
use super::error::Problem;
use super::manifests::{CONTENT_DIGEST, IMMUTABLE, mark};
use super::range::{self, Wanted};
use crate::pull::manifests::Request;
use crate::pull::warm::{digest_header, etag};
use crate::pull::{CacheStatus, Method};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(crate) async fn answer(context: &Context<'_>, name: &FullName, digest: Digest) -> Answered {
    let authorized = context.authorize(name).await?;
    let etag = etag(&digest);
    let unchanged = conditional::is_not_modified(context.headers, &etag);
    let request = Request {
        served: &authorized.served,
        repository: authorized.served.spec.remote.local_repository(&name.repository),
        // Who has the bytes already causes no transfer.
        method: if unchanged { Method::Head } else { context.method },
        viewer: authorized.viewer,
    };
    let located = context.front.engine.blob(&request, digest.clone()).await?;
    let (size, status) = (located.size, located.status);
    if unchanged {
        let mut response = not_modified(etag);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, IMMUTABLE);
        headers.insert(CONTENT_DIGEST, digest_header(&digest));
        mark(&mut response, status);
        return Ok((response, status));
    }
    let asked = match context.method {
        Method::Get => conditional::range(context.headers, &etag),
        Method::Head => None,
    };
    let (code, range) = match range::parse(asked, size) {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Unsatisfiable => return Err(unsatisfiable(size)),
    };
    if let Some(url) = located.elsewhere() {
        return Ok((redirect(url, &digest, status)?, status));
    }
    let bytes = context.front.engine.read(located, range.clone()).await?;
    let mut response = answer::content(Body::from(bytes));
    *response.status_mut() = code;
    describe(&mut response, &digest, etag, status);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if code == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        headers.extend(
            HeaderValue::from_str(&part)
                .ok()
                .map(|part| (header::CONTENT_RANGE, part)),
        );
    }
    Ok((response, status))
}

/// B7: the client fetches the bytes itself, the part that it asked for too. The URL is for nobody else, and not for
/// long.
fn redirect(url: &str, digest: &Digest, status: CacheStatus) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(url);
    let mut response = answer::content(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location.map_err(Problem::internal)?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(CONTENT_DIGEST, digest_header(digest));
    mark(&mut response, status);
    Ok(response)
}

fn describe(response: &mut Response, digest: &Digest, etag: HeaderValue, status: CacheStatus) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, OCTETS);
    headers.insert(header::ACCEPT_RANGES, BYTES);
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(CONTENT_DIGEST, digest_header(digest));
    mark(response, status);
}

fn unsatisfiable(size: u64) -> Problem {
    let message = format!("the blob has {size} bytes, the range lies outside");
    Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid, message)
        .header(header::CONTENT_RANGE, format!("bytes */{size}"))
}
