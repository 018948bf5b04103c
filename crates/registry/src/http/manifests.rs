//! GET and HEAD of a manifest (M14).

use http::HeaderValue;
use http::header::{self, HeaderName};
use quayside_oci::{FullName, Reference};

use super::Response;
use super::answer::{self, not_modified};
use super::body::Body;
use super::conditional::is_not_modified;
use super::context::{Context, pull_scope};
use super::count::Answered;
use crate::auth::Who;
use crate::pull::error::{PullError, Subject};
use crate::pull::manifests::{Pulled, Request};
use crate::pull::{CacheStatus, Method, Viewer};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// A digest names the same bytes for ever; a tag may move at any time.
pub(crate) const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

pub(crate) async fn answer(context: &Context<'_>, name: &FullName, reference: Reference) -> Answered {
    let authorized = context.authorize(name).await?;
    let caching = if matches!(reference, Reference::Tag(_)) {
        REVALIDATE
    } else {
        IMMUTABLE
    };
    let request = Request {
        served: &authorized.served,
        repository: authorized.served.spec.remote.local_repository(&name.repository),
        method: context.method,
        viewer: authorized.viewer,
    };
    let pulled = context
        .front
        .engine
        .manifest(&request, reference)
        .await
        .map_err(|error| {
            let hidden = authorized.viewer == Viewer::Public && authorized.caller.who == Who::Anonymous;
            match error {
                // A3: logging in may be all that is missing.
                PullError::Unknown(Subject::Manifest) if hidden => context.challenge(Some(&pull_scope(name))),
                error => error.into(),
            }
        })?;
    let mut response = if is_not_modified(context.headers, &pulled.ready.etag) {
        not_modified(pulled.ready.etag.clone())
    } else {
        content(&pulled, context.method)
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, pulled.ready.digest_header.clone());
    headers.insert(header::CACHE_CONTROL, caching);
    mark(&mut response, pulled.status);
    if let Some(warning) = pulled.warning.as_deref().and_then(warning) {
        response.headers_mut().insert(header::WARNING, warning);
    }
    Ok((response, pulled.status))
}

fn content(pulled: &Pulled, method: Method) -> Response {
    let ready = &pulled.ready;
    let body = match method {
        Method::Get => Body::full(ready.body.clone()),
        Method::Head => Body::empty(),
    };
    let mut response = answer::content(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, ready.content_type.clone());
    headers.insert(header::CONTENT_LENGTH, ready.content_length.clone());
    headers.insert(header::ETAG, ready.etag.clone());
    response
}

/// Says where the content came from (M14).
pub(crate) fn mark(response: &mut Response, status: CacheStatus) {
    response
        .headers_mut()
        .insert(X_CACHE, HeaderValue::from_static(cache_name(status)));
}

/// The value of `X-Cache` (M14).
pub(crate) fn cache_name(status: CacheStatus) -> &'static str {
    match status {
        CacheStatus::Hit => "HIT",
        CacheStatus::Miss => "MISS",
        CacheStatus::Revalidated => "REVALIDATED",
        CacheStatus::Stale => "STALE",
    }
}

/// M6: exactly the form that podman prints. The text becomes a quoted-string of plain ASCII.
pub(crate) fn warning(text: &str) -> Option<HeaderValue> {
    let quoted: String = text
        .chars()
        .flat_map(|character| match character {
            '"' | '\\' => vec!['\\', character],
            ' '..='~' => vec![character],
            _ => vec!['?'],
        })
        .collect();
    HeaderValue::from_str(&format!("299 - \"{quoted}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M6: `Warning: 299 - "…"`, whatever the text.
    #[test]
    fn a_warning_is_a_quoted_string() {
        assert_eq!(warning("upstream is away").unwrap(), "299 - \"upstream is away\"");
        assert_eq!(
            warning("a \"b\" \\ \u{e9}\r\nx").unwrap(),
            "299 - \"a \\\"b\\\" \\\\ ???x\""
        );
    }
}
