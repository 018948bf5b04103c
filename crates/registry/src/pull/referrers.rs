//! Answering a request for what refers to a manifest (L2): upstream's listing, or what is stored here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quayside_metadata::{OrganizationId, Referrer, View};
use quayside_oci::{Digest, Manifest, RepositoryName, media_type};
use quayside_upstream::{Referrers, UpstreamError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::PullError;
use super::tags::upstream_error;
use super::{Contact, Engine, Viewer};
use crate::organizations::Served;

/// What upstream has not answered by then is answered from what is stored.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// How many stored manifests are in memory at once, at up to 4 MiB each.
const BATCH: u32 = 16;
/// What one answer from the store costs at most; a link leads to the rest.
const BATCHES: usize = 64;
const MAX_BYTES: usize = 4 << 20;

/// One listing, as upstream is asked for it.
pub(crate) type ListingKey = (OrganizationId, RepositoryName, Digest, Option<String>);

/// What came of asking. Shared by everybody who asks at one time.
pub(crate) type Asked = Result<Referrers, UpstreamError>;

/// One request for the referrers of a manifest.
pub(crate) struct Request<'a> {
    pub(crate) served: &'a Arc<Served>,
    /// The local name: aliases are already resolved (N2).
    pub(crate) repository: RepositoryName,
    pub(crate) viewer: Viewer,
    pub(crate) subject: Digest,
    pub(crate) artifact_type: Option<String>,
    /// Where a page from the store begins.
    pub(crate) after: Option<String>,
}

/// A listing to send: an OCI index, of the artifact type that was asked for only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) body: Bytes,
    /// After which digest the next page begins.
    pub(crate) next: Option<String>,
    /// Why it is not upstream's.
    pub(crate) warning: Option<String>,
}

impl Engine {
    /// Answers a request for referrers. Fetches none of them.
    pub(crate) async fn referrers(self: &Arc<Self>, request: &Request<'_>) -> Result<Listing, PullError> {
        // A later page of a stored listing is about what is stored.
        let asks =
            request.viewer == Viewer::Member && self.contact == Contact::Allowed && request.after.is_none();
        if !asks {
            return self.stored_referrers(request, None).await;
        }
        let served = request.served;
        let error = match self.ask_for_referrers(request).await? {
            Ok(referrers) => match merge(&referrers, request.artifact_type.as_deref()) {
                Some(listing) => return Ok(listing),
                None => no_such_api(),
            },
            Err(error) => error,
        };
        match error {
            UpstreamError::Status { status, .. } if status < 500 || status == 501 => {
                Err(upstream_error(served, no_such_api()))
            }
            error if is_away(&error) => {
                let warning = format!(
                    "listed from the cache, {} did not answer: {error}",
                    served.address
                );
                self.stored_referrers(request, Some(warning)).await
            }
            error => Err(upstream_error(served, error)),
        }
    }

    async fn ask_for_referrers(self: &Arc<Self>, request: &Request<'_>) -> Result<Asked, PullError> {
        let served = request.served;
        let key = (
            served.id,
            request.repository.clone(),
            request.subject.clone(),
            request.artifact_type.clone(),
        );
        let work = {
            let (engine, served, key) = (Arc::clone(self), Arc::clone(served), key.clone());
            move || async move {
                let (_, repository, subject, artifact_type) = &key;
                let name = served.spec.remote.upstream_repository(repository);
                let asking = served
                    .upstream
                    .get_referrers(&name, subject, artifact_type.as_deref());
                let asked = tokio::time::timeout(ASK_LIMIT, asking).await.unwrap_or_else(|_| {
                    Err(UpstreamError::Timeout {
                        host: served.address.to_string(),
                    })
                });
                if !matches!(&asked, Err(error) if error.is_outage()) {
                    engine.backoffs.answered(&served.check_key);
                }
                asked
            }
        };
        Ok(self.referrer_flights.join(key, work).await?)
    }

    async fn stored_referrers(
        &self,
        request: &Request<'_>,
        warning: Option<String>,
    ) -> Result<Listing, PullError> {
        let view = match request.viewer {
            Viewer::Member => View::Member,
            Viewer::Public => View::Public { now: self.now() },
        };
        let mut after = request.after.clone();
        let (mut entries, mut size) = (Vec::new(), 0);
        for _ in 0..BATCHES {
            let (organization, repository) = (request.served.id, request.repository.as_str());
            let (subject, artifact_type) = (&request.subject, request.artifact_type.as_deref());
            let page = self
                .metadata
                .referrers(
                    organization,
                    repository,
                    subject,
                    artifact_type,
                    view,
                    after.as_deref(),
                    BATCH,
                )
                .await?;
            for referrer in page.referrers {
                let entry = descriptor(&referrer);
                size += entry.to_string().len();
                if size > MAX_BYTES && !entries.is_empty() {
                    return Ok(listing(&entries, after, warning));
                }
                after = Some(referrer.digest.to_string());
                entries.push(entry);
            }
            match page.next {
                Some(next) => after = Some(next.to_string()),
                None => return Ok(listing(&entries, None, warning)),
            }
        }
        Ok(listing(&entries, after, warning))
    }
}

/// Whether upstream cannot be reached, for whatever reason, as opposed to having answered.
fn is_away(error: &UpstreamError) -> bool {
    error.is_outage()
        || matches!(
            error,
            UpstreamError::Forbidden(_) | UpstreamError::RedirectRefused { .. }
        )
}

/// Clients that hear this fall back to the tag scheme.
fn no_such_api() -> UpstreamError {
    UpstreamError::NotFound {
        name_unknown: false,
        message: Some("it has no referrers API".to_owned()),
    }
}

fn listing(manifests: &[Value], next: Option<String>, warning: Option<String>) -> Listing {
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests });
    Listing {
        body: Bytes::from(index.to_string()),
        next,
        warning,
    }
}

fn descriptor(referrer: &Referrer) -> Value {
    let Referrer {
        digest,
        media_type,
        artifact_type,
        body,
    } = referrer;
    let mut descriptor = json!({ "mediaType": media_type, "digest": digest.as_str(), "size": body.len() });
    if let Some(artifact_type) = artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    // What is stored was a manifest when it was stored.
    let annotations = Manifest::parse(body, Some(media_type)).map(|manifest| manifest.annotations);
    if let Some(annotations) = annotations.ok().filter(|annotations| !annotations.is_empty()) {
        descriptor["annotations"] = json!(annotations);
    }
    descriptor
}

/// As much of an index as a listing has to be. Some registries write an empty one as null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    manifests: Option<Vec<Value>>,
}

/// Upstream's listing as one index of the asked type; `None` if it is none, which some registries without that API
/// send instead of a 404.
fn merge(referrers: &Referrers, artifact_type: Option<&str>) -> Option<Listing> {
    let Referrers {
        pages,
        filters_applied,
    } = referrers;
    let indexes: Vec<Index> = pages
        .iter()
        .map(|page| serde_json::from_slice(page).ok())
        .collect::<Option<_>>()?;
    if indexes.iter().any(|index| index.schema_version != 2) {
        return None;
    }
    let filtered = filters_applied
        .as_deref()
        .is_some_and(|filters| filters.split(',').any(|filter| filter.trim() == "artifactType"));
    if let (
        [page],
        [
            Index {
                manifests: Some(_), ..
            },
        ],
    ) = (&pages[..], &indexes[..])
        && (filtered || artifact_type.is_none())
    {
        return Some(Listing {
            body: page.clone(),
            next: None,
            warning: None,
        });
    }
    let manifests = indexes.into_iter().filter_map(|index| index.manifests).flatten();
    let wanted = manifests
        .filter(|descriptor| artifact_type.is_none_or(|wanted| descriptor["artifactType"] == *wanted));
    Some(listing(&wanted.collect::<Vec<_>>(), None, None))
}

#[cfg(test)]
mod tests;
