//! Answering a request for a manifest: what `freshness` decided is carried out here (SPEC §2).

use std::sync::Arc;

use futures::FutureExt as _;
use quayside_config::organizations::Organization;
use quayside_metadata::{Admission, Admitted, Content, HeldBy, Hold, OrganizationId, Renewal};
use quayside_oci::{Digest, Kind, Reference, RepositoryName, Tag};

use super::background::Nudge;
use super::error::{PullError, Subject};
use super::freshness::{Answer, Opening, Verdict, conclude, open};
use super::tags::{Refreshed, TagKey, Unconfirmed, parse, seen};
use super::warm::{Ready, TagEntry};
use super::{CacheStatus, Contact, Engine, Method, Viewer};
use crate::organizations::Served;

pub(crate) type DigestKey = (OrganizationId, RepositoryName, Digest);

/// What shared fetching of a digest comes to: the manifest, and whether upstream was asked for it.
pub(crate) type Fetched = Result<(Arc<Ready>, CacheStatus), PullError>;

/// A manifest to send, and how it was come by.
pub(crate) struct Pulled {
    pub(crate) ready: Arc<Ready>,
    pub(crate) status: CacheStatus,
    /// The text of the `Warning` header (M6, M8).
    pub(crate) warning: Option<String>,
}

impl Pulled {
    fn new(ready: &Arc<Ready>, status: CacheStatus) -> Self {
        Self {
            ready: Arc::clone(ready),
            status,
            warning: None,
        }
    }
}

/// One request for a manifest.
pub(crate) struct Request<'a> {
    pub(crate) served: &'a Arc<Served>,
    /// The local name: aliases are already resolved (N2).
    pub(crate) repository: RepositoryName,
    pub(crate) method: Method,
    pub(crate) viewer: Viewer,
}

impl Request<'_> {
    fn spec(&self) -> &Organization {
        &self.served.spec
    }
}

/// When upstream said that the tag that is served is right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirmation {
    Now,
    Earlier,
}

impl Engine {
    /// Answers GET and HEAD of a manifest.
    pub(crate) async fn manifest(
        self: &Arc<Self>,
        request: &Request<'_>,
        reference: Reference,
    ) -> Result<Pulled, PullError> {
        let by_tag = matches!(reference, Reference::Tag(_));
        let pulled = match reference {
            Reference::Tag(tag) => {
                let key = (request.served.id, request.repository.clone(), tag);
                match request.viewer {
                    Viewer::Member => self.by_tag(request, key).await?,
                    Viewer::Public => self.public_tag(request, &key).await?,
                }
            }
            Reference::Digest(digest) => {
                let key = (request.served.id, request.repository.clone(), digest);
                match request.viewer {
                    Viewer::Member => self.by_digest(request, key).await?,
                    Viewer::Public => self.public_digest(request, &key).await?,
                }
            }
        };
        self.nudge_for_manifest(request, &pulled.ready, by_tag);
        Ok(pulled)
    }

    async fn by_tag(self: &Arc<Self>, request: &Request<'_>, key: TagKey) -> Result<Pulled, PullError> {
        let policy = self.policy(request.served);
        let entry = self.find_tag(&key).await?;
        let facts = entry.as_ref().map(|entry| entry.facts());
        match (open(facts.as_ref(), &policy, self.now()), &entry) {
            (Opening::Serve, Some(entry)) => {
                self.renew_unchecked(request, &key, entry);
                return Ok(Pulled::new(&entry.ready, CacheStatus::Hit));
            }
            (Opening::Absent, _) | (Opening::Serve, None) => {
                return Err(PullError::Unknown(Subject::Manifest));
            }
            (Opening::Check | Opening::Fetch, _) => {}
        }
        match self
            .refresh(request.served, key.clone(), seen(entry.as_ref()))
            .await
        {
            Refreshed::Stored(entry) => Ok(Pulled::new(&entry.ready, CacheStatus::Miss)),
            Refreshed::Failed(error) => Err(error),
            Refreshed::Confirmed(entry) => self.confirmed(request, &key, &entry).await,
            Refreshed::Unconfirmed(entry, why) => self.unconfirmed(request, &key, &entry, why),
        }
    }

    async fn confirmed(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: &TagKey,
        entry: &Arc<TagEntry>,
    ) -> Result<Pulled, PullError> {
        let (now, policy) = (self.now(), self.policy(request.served));
        let pulled = Pulled::new(&entry.ready, CacheStatus::Revalidated);
        entry.checked(now);
        match conclude(&entry.facts(), Answer::Same, &policy, request.method, now) {
            Verdict::Renew => {
                self.renew_tag(request, key, entry, Confirmation::Now);
                // It may have been pruned while upstream was asked.
                if self.warm.tag(key, now).is_none() {
                    return self.still_held(request, key, entry).await;
                }
            }
            Verdict::Touch => {
                let name = key.2.as_str().to_owned();
                let (repository, manifest) = (entry.ready.repository, entry.ready.id);
                self.push(
                    request,
                    Renewal::Checked {
                        repository,
                        name: name.clone(),
                        manifest,
                        at: now,
                    },
                );
                self.used(request, &entry.ready, Some(&key.2));
            }
            Verdict::Resolve => {
                let (repository, manifest) = (entry.ready.repository, entry.ready.id);
                // A digest pull from before this mark must not be judged by it.
                self.renewals.flush(&self.metadata).await;
                self.metadata
                    .mark_resolved(repository, key.2.as_str(), manifest, now)
                    .await?;
            }
            // Revive; the others do not follow from a confirmation.
            _ => return self.revive(request, key, entry).await,
        }
        Ok(pulled)
    }

    /// M5: a dead row holds its manifest, so no bytes are added. Only the current row is revived: another one that
    /// was made current in the meantime stays.
    async fn revive(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: &TagKey,
        entry: &Arc<TagEntry>,
    ) -> Result<Pulled, PullError> {
        self.renew_tag(request, key, entry, Confirmation::Now);
        self.renewals.written(&self.metadata).await?;
        self.still_held(request, key, entry).await
    }

    async fn still_held(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: &TagKey,
        entry: &Arc<TagEntry>,
    ) -> Result<Pulled, PullError> {
        match self.read_tag(key).await? {
            Some(_) => Ok(Pulled::new(&entry.ready, CacheStatus::Revalidated)),
            // Its Window ended while upstream was asked, or it was pruned.
            None => match self.take_stored(request.served, key, &entry.ready.digest).await? {
                Some(entry) => Ok(Pulled::new(&entry.ready, CacheStatus::Revalidated)),
                None => self.fetch_collected(request, key).await,
            },
        }
    }

    /// What upstream confirmed was collected while upstream was asked: as if it had never been there.
    async fn fetch_collected(
        self: &Arc<Self>,
        request: &Request<'_>,
        key: &TagKey,
    ) -> Result<Pulled, PullError> {
        match self.refresh(request.served, key.clone(), None).await {
            Refreshed::Stored(entry) | Refreshed::Confirmed(entry) => {
                Ok(Pulled::new(&entry.ready, CacheStatus::Miss))
            }
            Refreshed::Unconfirmed(_, why) => Err(reason(why)),
            Refreshed::Failed(error) => Err(error),
        }
    }

    fn unconfirmed(
        &self,
        request: &Request<'_>,
        key: &TagKey,
        entry: &Arc<TagEntry>,
        why: Unconfirmed,
    ) -> Result<Pulled, PullError> {
        let (now, policy) = (self.now(), self.policy(request.served));
        let (repository, name) = (entry.ready.repository, key.2.as_str().to_owned());
        self.push(
            request,
            Renewal::Failed {
                repository,
                name: name.clone(),
                at: now,
            },
        );
        let warning = match conclude(&entry.facts(), why.answer(), &policy, request.method, now) {
            Verdict::Stale => stale_warning(request.served, &why),
            Verdict::Stored => format!("{}; the tag has expired", stale_warning(request.served, &why)),
            _ => return Err(reason(why)),
        };
        self.used(request, &entry.ready, Some(&key.2));
        Ok(Pulled {
            ready: Arc::clone(&entry.ready),
            status: CacheStatus::Stale,
            warning: Some(warning),
        })
    }

    fn renew_unchecked(&self, request: &Request<'_>, key: &TagKey, entry: &Arc<TagEntry>) {
        if request.method == Method::Get {
            self.renew_tag(request, key, entry, Confirmation::Earlier);
        } else {
            self.used(request, &entry.ready, Some(&key.2));
        }
    }

    /// A use that moves no end time, for the order of pruning (M11, A3).
    fn used(&self, request: &Request<'_>, ready: &Ready, tag: Option<&Tag>) {
        let renewal = Renewal::Used {
            repository: ready.repository,
            manifest: ready.id,
            name: tag.map(|tag| tag.as_str().to_owned()),
            at: self.now(),
        };
        self.push(request, renewal);
    }

    fn renew_tag(
        &self,
        request: &Request<'_>,
        key: &TagKey,
        entry: &Arc<TagEntry>,
        confirmation: Confirmation,
    ) {
        let (now, ends_at) = (self.now(), request.served.end(self.now()));
        entry.renewed(now, ends_at);
        let (repository, manifest) = (entry.ready.repository, entry.ready.id);
        let name = key.2.as_str().to_owned();
        if confirmation == Confirmation::Now {
            self.push(
                request,
                Renewal::Checked {
                    repository,
                    name: name.clone(),
                    manifest,
                    at: now,
                },
            );
        }
        self.push(
            request,
            Renewal::Tag {
                repository,
                name,
                manifest,
                at: now,
                ends_at,
            },
        );
    }

    fn push(&self, request: &Request<'_>, renewal: Renewal) {
        self.renewals.push(renewal, request.spec().ttl);
    }

    async fn by_digest(self: &Arc<Self>, request: &Request<'_>, key: DigestKey) -> Result<Pulled, PullError> {
        let held = match self.contact {
            Contact::Allowed => self.find_held(&key).await?,
            // C2: what is dead is not served, although it is stored.
            Contact::Never => Some(self.find_live(&key, HeldBy::TagOrPin).await?),
        };
        if let Some(ready) = held {
            match request.method {
                Method::Head => self.used(request, &ready, None),
                Method::Get => {
                    let (now, repository, manifest) = (self.now(), ready.repository, ready.id);
                    let ends_at = request.served.end(now);
                    self.push(
                        request,
                        Renewal::Digest {
                            repository,
                            manifest,
                            at: now,
                            ends_at,
                            quota_bytes: self.quota(request.served),
                        },
                    );
                }
            }
            return Ok(Pulled::new(&ready, CacheStatus::Hit));
        }
        let work = {
            let (engine, served, key) = (Arc::clone(self), Arc::clone(request.served), key.clone());
            move || async move { engine.obtain_digest(&served, &key).await }
        };
        let (ready, status) = self.digest_flights.join(key, work).await??;
        Ok(Pulled::new(&ready, status))
    }

    /// A held manifest of the repository, from memory while that is fresh (M9).
    async fn find_held(&self, key: &DigestKey) -> Result<Option<Arc<Ready>>, PullError> {
        let now = self.now();
        if let Some(ready) = self.warm.manifest(key, now) {
            return Ok(Some(ready));
        }
        let epoch = self.warm.manifest_epoch(key);
        let stored = self.metadata.manifest(key.0, key.1.as_str(), &key.2).await?;
        Ok(stored.filter(|stored| !stored.released).map(|stored| {
            let ready = Ready::new(stored, now);
            self.warm.keep_manifest(key, &ready, epoch);
            ready
        }))
    }

    /// A manifest that something live holds, or nothing at all.
    async fn find_live(&self, key: &DigestKey, by: HeldBy) -> Result<Arc<Ready>, PullError> {
        let find = || {
            self.metadata
                .live_manifest(key.0, key.1.as_str(), &key.2, self.now(), by)
        };
        let mut stored = find().await?;
        if stored.is_none() {
            // A renewal that waits for its batch may keep it alive.
            self.renewals.flush(&self.metadata).await;
            stored = find().await?;
        }
        Ok(Ready::new(
            stored.ok_or(PullError::Unknown(Subject::Manifest))?,
            self.now(),
        ))
    }

    /// M9, M10: takes back what is stored but released, fetches what is not stored.
    async fn obtain_digest(&self, served: &Served, key: &DigestKey) -> Fetched {
        let stored = self.metadata.manifest(key.0, key.1.as_str(), &key.2).await?;
        if let Some(stored) = stored {
            if !stored.released {
                return Ok((Ready::new(stored, self.now()), CacheStatus::Hit));
            }
            if self.admit_pin(served, key, Content::Stored).await?.is_some() {
                return self.reread(key).await.map(|ready| (ready, CacheStatus::Hit));
            }
        }
        let reference = Reference::Digest(key.2.clone());
        let fetch = async {
            let body = self.get_manifest(served, &key.1, &reference).await?;
            let manifest = parse(served, &body)?;
            let content = Content::New {
                media_type: &manifest.media_type,
                body: &body.body,
                manifest: &manifest,
            };
            self.admit_pin(served, key, content).await?;
            self.reread(key).await
        };
        let fetched = self
            .fetch(key.0, &key.1, &reference)
            .once(|| self.find_held(key), fetch.boxed())
            .await;
        fetched.map(|ready| (ready, CacheStatus::Miss))
    }

    /// What was admitted is served, though another pull may have pruned it already.
    async fn reread(&self, key: &DigestKey) -> Result<Arc<Ready>, PullError> {
        if let Some(ready) = self.find_held(key).await? {
            return Ok(ready);
        }
        let stored = self.metadata.manifest(key.0, key.1.as_str(), &key.2).await?;
        let stored = stored.ok_or(PullError::Unknown(Subject::Manifest))?;
        Ok(Ready::new(stored, self.now()))
    }

    async fn admit_pin(
        &self,
        served: &Served,
        key: &DigestKey,
        content: Content<'_>,
    ) -> Result<Option<Admitted>, PullError> {
        let now = self.now();
        let hold = Hold::Pin {
            ends_at: served.end(now),
        };
        let admission = Admission {
            organization: key.0,
            repository: key.1.as_str(),
            digest: &key.2,
            content,
            hold,
            now,
        };
        self.admit(served, &admission).await
    }

    async fn public_tag(&self, request: &Request<'_>, key: &TagKey) -> Result<Pulled, PullError> {
        let now = self.now();
        let entry = self
            .find_tag(key)
            .await?
            .filter(|entry| entry.facts().is_live(now));
        let entry = entry.ok_or(PullError::Unknown(Subject::Manifest))?;
        self.used(request, &entry.ready, Some(&key.2));
        Ok(Pulled::new(&entry.ready, CacheStatus::Hit))
    }

    async fn public_digest(&self, request: &Request<'_>, key: &DigestKey) -> Result<Pulled, PullError> {
        let ready = self.find_live(key, HeldBy::Tag).await?;
        self.used(request, &ready, None);
        Ok(Pulled::new(&ready, CacheStatus::Hit))
    }

    /// B6: after a GET of an image its missing blobs are wanted; of a child, once a layer is asked for.
    fn nudge_for_manifest(&self, request: &Request<'_>, ready: &Arc<Ready>, by_tag: bool) {
        let fills = request.viewer == Viewer::Member
            && request.method == Method::Get
            && request.spec().background_fill
            && self.contact == Contact::Allowed;
        if fills && ready.kind == Kind::Image && ready.wants_nudge(self.now()) {
            let (repository, manifest) = (ready.repository, ready.id);
            self.background.send(if by_tag {
                Nudge::Image { manifest }
            } else {
                Nudge::ImageUnlessChild { repository, manifest }
            });
        }
    }
}

/// Why there is nothing to serve.
fn reason(why: Unconfirmed) -> PullError {
    match why {
        Unconfirmed::Failed(error, _) => error,
        // A dead tag's check is never skipped, and a live tag whose check was is served.
        Unconfirmed::Skipped => PullError::Unknown(Subject::Manifest),
    }
}

fn stale_warning(served: &Served, why: &Unconfirmed) -> String {
    let reason = match why {
        Unconfirmed::Failed(PullError::Upstream { source, .. }, _) => source.to_string(),
        Unconfirmed::Failed(error, _) => error.to_string(),
        Unconfirmed::Skipped => "the last check failed and the next one is due later".to_owned(),
    };
    format!(
        "served from the cache, not confirmed by {}: {reason}",
        served.address
    )
}
