//! Manifests: asking for the digest of a tag, and fetching verified bytes (M3, M10, M12).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use quayside_oci::{Algorithm, Digest, MAX_MANIFEST_BYTES, Manifest, Reference};

use super::{Upstream, content_length, content_type, manifest_headers, manifest_url, text};
use crate::client::send::{Answer, Attempts, Request};
use crate::error::UpstreamError;

const DIGEST_HEADER: &str = "docker-content-digest";

/// What a HEAD of a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the reference points at now.
    pub digest: Digest,
    /// `Content-Type` without parameters.
    pub media_type: Option<String>,
    /// Size of the body in bytes.
    pub size: Option<u64>,
}

/// A manifest whose bytes were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBody {
    /// The body, byte for byte, at most 4 MiB.
    pub body: Bytes,
    /// `Content-Type` without parameters.
    pub content_type: Option<String>,
    /// What the body hashes to: the digest that was asked for, else the advertised one, else its SHA-256.
    pub digest: Digest,
}

impl Upstream {
    /// Asks what a reference points at now, in one attempt and within `deadline`, authentication
    /// included (M3).
    ///
    /// [`UpstreamError::HeadUnsupported`] if the upstream rejects HEAD or omits the digest.
    pub async fn head_manifest(
        &self,
        repository: &str,
        reference: &Reference,
        deadline: Duration,
    ) -> Result<Head, UpstreamError> {
        let request = Request {
            method: Method::HEAD,
            url: manifest_url(self, repository, reference),
            headers: manifest_headers(),
            attempts: Attempts::One,
        };
        self.within(deadline, async {
            let answer = self.inner.send(&request, repository).await?;
            match answer.status() {
                StatusCode::OK => head(&answer),
                status if rejects_head(status) => Err(UpstreamError::HeadUnsupported {
                    host: answer.host.clone(),
                }),
                _ => Err(self.refusal(answer).await),
            }
        })
        .await
    }

    /// Fetches a manifest and verifies it (M10, M12).
    ///
    /// [`UpstreamError::Invalid`] if it hashes to something else than what was asked for or
    /// advertised, [`UpstreamError::TooLarge`] over 4 MiB, [`UpstreamError::Schema1`] for what is
    /// recognised as that before its digest is believed. Whether it is a manifest at all is not
    /// looked at here.
    pub async fn get_manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<ManifestBody, UpstreamError> {
        let mut request = Request::get(manifest_url(self, repository, reference));
        request.headers = manifest_headers();
        let answer = self.inner.send(&request, repository).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refusal(answer).await);
        }
        let host = answer.host.clone();
        let content_type = content_type(answer.headers());
        let advertised = advertised(answer.headers());
        let body = self.read_whole(answer, MAX_MANIFEST_BYTES).await?;
        if Manifest::is_schema1(&body, content_type.as_deref()) {
            return Err(UpstreamError::Schema1);
        }
        let expected = match reference {
            Reference::Digest(digest) => Some(digest.clone()),
            Reference::Tag(_) => advertised,
        };
        let digest = match expected {
            Some(digest) if digest.matches(&body) => digest,
            Some(digest) => {
                let reason = format!("the manifest's bytes do not hash to {digest}");
                return Err(UpstreamError::Invalid { host, reason });
            }
            None => Digest::of(Algorithm::Sha256, &body),
        };
        Ok(ManifestBody {
            body,
            content_type,
            digest,
        })
    }
}

fn head(answer: &Answer) -> Result<Head, UpstreamError> {
    let headers = answer.headers();
    let digest = advertised(headers).ok_or_else(|| UpstreamError::HeadUnsupported {
        host: answer.host.clone(),
    })?;
    Ok(Head {
        digest,
        media_type: content_type(headers),
        size: content_length(headers),
    })
}

/// The advertised digest, unless it is one that nobody can verify.
fn advertised(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(text(headers, DIGEST_HEADER)?).ok()
}

/// Whether a status is about the method rather than about the manifest.
fn rejects_head(status: StatusCode) -> bool {
    match status {
        StatusCode::NOT_FOUND
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::TOO_MANY_REQUESTS => false,
        StatusCode::NOT_IMPLEMENTED => true,
        other => !other.is_server_error(),
    }
}
