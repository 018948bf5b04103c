//! One upstream registry with one set of credentials: what can be asked of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use quayside_oci::{Reference, media_type};
use tokio::time::timeout;
use url::Url;

use crate::body;
use crate::client::authenticate::{Authenticator, Credentials};
use crate::client::send::{Answer, Sender, place};
use crate::error::UpstreamError;

mod blob;
mod manifest;
mod referrers;

pub use blob::BlobAnswer;
pub use manifest::{Head, ManifestBody};
pub use referrers::Referrers;

/// One registry. Cheap to clone; clones share tokens and connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Arc<Authenticator>,
    address: Arc<str>,
}

impl Upstream {
    pub(crate) fn assemble(sender: Sender, base: Url, credentials: Option<Credentials>) -> Self {
        let address = place(&base).into();
        Self {
            inner: Arc::new(Authenticator::new(sender, base, credentials)),
            address,
        }
    }

    /// `host[:port]`, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What A7 says about the name or literal of this upstream. Contacts nobody; the addresses
    /// behind a name are checked whenever one is dialled.
    pub fn check_address(&self) -> Result<(), UpstreamError> {
        self.inner
            .sender()
            .gate
            .check_url(self.inner.base())
            .map_err(UpstreamError::Forbidden)
    }

    /// Asks `/v2/` whether the upstream is there and, where there are any, whether it accepts the
    /// credentials on a request without repository scope (M7).
    ///
    /// [`UpstreamError::CredentialsRefused`] if not; [`UpstreamError::Refused`] if it lets nobody
    /// in without credentials and there are none.
    pub async fn ping(&self) -> Result<(), UpstreamError> {
        self.inner.ping().await
    }

    /// `/v2/<repository>/<kind>/<last>`.
    fn url(&self, repository: &str, kind: &str, last: &str) -> Url {
        let mut url = self.inner.base().clone();
        url.set_path(&format!("/v2/{repository}/{kind}/{last}"));
        url
    }

    async fn refusal(&self, answer: Answer) -> UpstreamError {
        self.inner.sender().refusal(answer).await
    }

    async fn read_whole(&self, answer: Answer, limit: usize) -> Result<Bytes, UpstreamError> {
        let sender = self.inner.sender();
        body::read_whole(answer, limit, sender.read_timeout, sender.drip).await
    }

    /// `work` within `deadline`.
    async fn within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        timeout(deadline, work).await.unwrap_or_else(|_| {
            Err(UpstreamError::Timeout {
                host: self.address.to_string(),
            })
        })
    }
}

/// What every request for a manifest says: the same list on HEAD and GET (M3), as one header, and
/// no compression, so that bytes are what was hashed.
fn manifest_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(media_type::ACCEPT));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

fn manifest_url(upstream: &Upstream, repository: &str, reference: &Reference) -> Url {
    upstream.url(repository, "manifests", &reference.to_string())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// `Content-Type` without parameters.
fn content_type(headers: &HeaderMap) -> Option<String> {
    text(headers, CONTENT_TYPE.as_str()).map(|text| media_type::without_parameters(text).to_owned())
}

/// `Content-Length` as it was sent; the body of a HEAD has none to measure.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH.as_str())?.parse().ok()
}
