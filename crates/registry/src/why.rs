//! `why`: what is known of an image, who may pull it, and what the next pull would do (O5).
//!
//! Nothing is asked of upstream and nothing is changed. What is told is what the pull path itself decides with:
//! `auth::access`, `pull::freshness`, the pauses of `pull::backoff`, and the quota's planner in a transaction that is
//! rolled back.

mod access;
mod cached;
mod image;
mod next;

use std::sync::Arc;

use arc_swap::ArcSwap;
use quayside_config::organizations::Organization;
use quayside_metadata::{Admission, AdmitError, Admitted, Content, HeldBy, Hold, Planner, Unlimited};
use quayside_oci::{Reference, RepositoryName};

pub use image::{Image, ImageError};

pub(crate) use access::{Access, Answer, Networks};
pub(crate) use cached::{Cached, Standing};
pub(crate) use next::{Ending, Next, Outcome, Room, Step, Upstream};

use crate::auth::Who;
use crate::auth::passwords::Passwords;
use crate::organizations::{Served, Snapshot};
use crate::pull::error::PullError;
use crate::pull::freshness::Facts;
use crate::pull::manifests::DigestKey;
use crate::pull::{Engine, Method, Viewer};
use crate::quota::{Planning, QuotaPlanner};
use access::Login;
use cached::Found;
use next::Circumstances;

/// What is asked.
pub(crate) struct Question {
    pub(crate) image: Image,
    /// Whose pull it would be.
    pub(crate) who: Who,
}

/// What the answer is made from.
pub(crate) struct Witness<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) snapshot: &'a ArcSwap<Snapshot>,
    pub(crate) passwords: &'a Passwords,
    pub(crate) networks: Networks,
}

/// The answer.
pub(crate) struct Explanation {
    pub(crate) image: Image,
    pub(crate) standing: OrganizationStanding,
    pub(crate) access: Access,
    /// Of an organization that is served.
    pub(crate) place: Option<Place>,
    pub(crate) cached: Option<Cached>,
    pub(crate) get: Next,
    pub(crate) head: Next,
    pub(crate) now: i64,
}

/// Whether an organization is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrganizationStanding {
    Served,
    /// The file has it, but not in a form that can be served, and there is no good one from before (C3).
    NotServed,
    /// The file does not have it.
    Unknown,
}

/// Where an image is, here and upstream.
pub(crate) struct Place {
    pub(crate) organization: Arc<Organization>,
    /// The repository in the organization; aliases are resolved (N2).
    pub(crate) repository: RepositoryName,
    /// The repository's name at the upstream (N1, N2).
    pub(crate) upstream_repository: String,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) usage_bytes: u64,
}

impl Witness<'_> {
    /// Answers. What waits for the next batch of renewals is written first (M15), as it would be a second later.
    pub(crate) async fn explain(&self, question: Question) -> Result<Explanation, PullError> {
        let engine = self.engine;
        engine.renewals.written(&engine.metadata).await?;
        let Question { image, who } = question;
        let served = self.snapshot.load().get(&image.name.organization).cloned();
        let access = self.judge(served.as_deref(), who, &image);
        let Some(served) = served else {
            return self.explain_unserved(image, access).await;
        };
        let place = self.place(&served, &image).await?;
        let found = cached::find(engine, &served, &place.repository, &image.reference).await?;
        let (get, head) = (
            self.next(&served, &place, &image, &access, &found, Method::Get)
                .await?,
            self.next(&served, &place, &image, &access, &found, Method::Head)
                .await?,
        );
        Ok(Explanation {
            image,
            standing: OrganizationStanding::Served,
            access,
            place: Some(place),
            cached: found.cached,
            get,
            head,
            now: engine.now(),
        })
    }

    async fn explain_unserved(&self, image: Image, access: Access) -> Result<Explanation, PullError> {
        let known = self.engine.metadata.known_organizations().await?;
        let name = image.name.organization.as_str();
        let standing = if known.iter().any(|known| known.name == name) {
            OrganizationStanding::NotServed
        } else {
            OrganizationStanding::Unknown
        };
        let denied = Next::denied(access.rule);
        Ok(Explanation {
            image,
            standing,
            access,
            place: None,
            cached: None,
            get: denied.clone(),
            head: denied,
            now: self.engine.now(),
        })
    }

    fn judge(&self, served: Option<&Served>, who: Who, image: &Image) -> Access {
        let login = if self.passwords.exists(&who) {
            Login::Known
        } else {
            Login::Unknown
        };
        let organization = served.map(|served| &*served.spec);
        access::judge(organization, who, login, self.networks, &image.name.to_string())
    }

    async fn place(&self, served: &Served, image: &Image) -> Result<Place, PullError> {
        let engine = self.engine;
        let repository = served.spec.remote.local_repository(&image.name.repository);
        let usages = engine.metadata.usages().await?;
        let usage = usages.iter().find(|(id, _)| *id == served.id);
        Ok(Place {
            organization: Arc::clone(&served.spec),
            upstream_repository: served.spec.remote.upstream_repository(&repository),
            repository,
            quota_bytes: engine.quota(served),
            usage_bytes: usage.map_or(0, |(_, bytes)| *bytes),
        })
    }

    async fn next(
        &self,
        served: &Served,
        place: &Place,
        image: &Image,
        access: &Access,
        found: &Found,
        method: Method,
    ) -> Result<Next, PullError> {
        let Some(viewer) = access.viewer() else {
            return Ok(Next::denied(access.rule));
        };
        let engine = self.engine;
        let circumstances = Circumstances {
            policy: engine.policy(served),
            method,
            viewer,
            anonymous: access.who == Who::Anonymous,
            limited: place.quota_bytes.is_some(),
            checks_paused: engine.backoffs.skips(&served.check_key, engine.now()),
            address: Arc::clone(&served.address),
            now: engine.now(),
        };
        match &image.reference {
            Reference::Tag(_) => {
                let facts = found.tag.as_ref().map(|tag| Facts {
                    ends_at: tag.ends_at,
                    checked_at: tag.checked_at,
                });
                Ok(circumstances.by_tag(facts.as_ref()))
            }
            Reference::Digest(digest) => {
                let key = (served.id, place.repository.clone(), digest.clone());
                self.next_by_digest(&circumstances, served, &key, found).await
            }
        }
    }

    async fn next_by_digest(
        &self,
        circumstances: &Circumstances,
        served: &Served,
        key: &DigestKey,
        found: &Found,
    ) -> Result<Next, PullError> {
        let (organization, repository, digest) = (key.0, key.1.as_str(), &key.2);
        let (metadata, now) = (&self.engine.metadata, self.engine.now());
        let Some(manifest) = &found.manifest else {
            return Ok(circumstances.by_unheld_digest(None, 0));
        };
        if manifest.released {
            let admission = Admission {
                organization,
                repository,
                digest,
                content: Content::Stored,
                hold: Hold::Pin {
                    ends_at: served.end(now),
                },
                now,
            };
            let rehearsed = self.rehearse(served, &admission).await?;
            return Ok(circumstances.by_unheld_digest(rehearsed, found.alone_bytes()));
        }
        let by = match circumstances.viewer {
            Viewer::Public => HeldBy::Tag,
            Viewer::Member => HeldBy::TagOrPin,
        };
        let live = metadata.live_manifest(organization, repository, digest, now, by);
        Ok(circumstances.by_held_digest(live.await?.is_some()))
    }

    /// What the admission would come to; `None`: it is not stored any more.
    async fn rehearse(
        &self,
        served: &Served,
        admission: &Admission<'_>,
    ) -> Result<Option<Result<Admitted, PullError>>, PullError> {
        let planner: Arc<dyn Planner> = match self.engine.quota(served) {
            Some(quota_bytes) => Arc::new(QuotaPlanner::new(quota_bytes, Planning::WithPlan)),
            None => Arc::new(Unlimited),
        };
        match self.engine.metadata.rehearse(admission, planner).await {
            Ok(admitted) => Ok(Some(Ok(admitted))),
            Err(AdmitError::Quota(refusal)) => Ok(Some(Err(PullError::Quota {
                organization: served.spec.name.clone(),
                refusal,
            }))),
            Err(AdmitError::ManifestGone | AdmitError::NeedsPlan) => Ok(None),
            Err(AdmitError::Metadata(error)) => Err(error.into()),
        }
    }
}
