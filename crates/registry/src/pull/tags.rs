//! Bringing one tag up to date with its upstream: the work that concurrent requests share (M2–M5).

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use quayside_metadata::{Admission, Admitted, Content, Hold, OrganizationId};
use quayside_oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use quayside_upstream::{ManifestBody, UpstreamError};

use super::error::{PullError, Subject, answer_of};
use super::freshness::{Answer, Verdict, conclude};
use super::warm::TagEntry;
use super::{Contact, Engine, Method};
use crate::clock::Millis;
use crate::organizations::Served;

/// A check of a live tag takes no longer (M3).
const CHECK_LIMIT: Duration = Duration::from_secs(5);
/// Asking for a dead tag's digest is part of fetching it, so it gets the patience of a fetch.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

pub(crate) type TagKey = (OrganizationId, RepositoryName, Tag);

/// Why a tag could not be confirmed.
#[derive(Debug, Clone)]
pub(crate) enum Unconfirmed {
    /// Upstream failed or refused.
    Failed(PullError, Answer),
    /// The check was skipped, because an earlier one failed (M3).
    Skipped,
}

impl Unconfirmed {
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Failed(_, answer) => *answer,
            Self::Skipped => Answer::Outage,
        }
    }
}

/// What came of it.
#[derive(Clone)]
pub(crate) enum Refreshed {
    /// Upstream says that the cached row, live or dead, is still right.
    Confirmed(Arc<TagEntry>),
    /// A manifest was stored or made current just now; the row is live.
    Stored(Arc<TagEntry>),
    /// There is a row, and upstream did not confirm it.
    Unconfirmed(Arc<TagEntry>, Unconfirmed),
    /// There is nothing to serve.
    Failed(PullError),
}

/// What a request saw before it asked for the refresh.
pub(crate) type Seen = Option<(quayside_metadata::ManifestId, i64)>;

pub(crate) fn seen(entry: Option<&Arc<TagEntry>>) -> Seen {
    entry.map(|entry| (entry.ready.id, entry.facts().checked_at))
}

impl Engine {
    /// The current row of a tag, from memory while that is fresh.
    pub(crate) async fn find_tag(&self, key: &TagKey) -> Result<Option<Arc<TagEntry>>, PullError> {
        match self.warm.tag(key, self.now()) {
            Some(entry) => Ok(Some(entry)),
            None => self.read_tag(key).await,
        }
    }

    /// The row that a check compares with. Of a live tag memory knows enough: it is fresh, and whoever changes the row
    /// in this process forgets it there.
    async fn find_to_check(&self, key: &TagKey) -> Result<Option<Arc<TagEntry>>, PullError> {
        let known = self.warm.tag(key, self.now());
        match known.filter(|entry| entry.facts().is_live(self.now())) {
            Some(entry) => Ok(Some(entry)),
            None => self.read_settled(key).await,
        }
    }

    /// As the database has it once everything that pulls did to it is written.
    async fn read_settled(&self, key: &TagKey) -> Result<Option<Arc<TagEntry>>, PullError> {
        match self.read_tag(key).await? {
            // A pull by digest that waits for its batch may have revived it (M9).
            Some(entry) if !entry.facts().is_live(self.now()) => {
                self.renewals.flush(&self.metadata).await;
                self.read_tag(key).await
            }
            entry => Ok(entry),
        }
    }

    pub(crate) async fn read_tag(&self, key: &TagKey) -> Result<Option<Arc<TagEntry>>, PullError> {
        let (now, epoch) = (self.now(), self.warm.tag_epoch(key));
        let row = self.metadata.tag(key.0, key.1.as_str(), key.2.as_str()).await?;
        Ok(row.map(|state| self.warm.keep_tag(key, state, now, epoch)))
    }

    /// One upstream check or fetch for everybody who asks while it runs.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        served: &Arc<Served>,
        key: TagKey,
        seen: Seen,
    ) -> Refreshed {
        let work = {
            let (engine, served, key, arrived) =
                (Arc::clone(self), Arc::clone(served), key.clone(), self.now());
            move || async move { engine.refresh_alone(&served, &key, seen, arrived).await }
        };
        self.tag_flights
            .join(key, work)
            .await
            .unwrap_or_else(|vanished| Refreshed::Failed(vanished.into()))
    }

    async fn refresh_alone(&self, served: &Served, key: &TagKey, before: Seen, arrived: i64) -> Refreshed {
        let entry = match self.find_to_check(key).await {
            Ok(entry) => entry,
            // O2: while the database is away, what is in memory goes on for as long as it is fresh.
            Err(error) => match self.warm.tag(key, self.now()) {
                Some(entry) => Some(entry),
                None => return Refreshed::Failed(error),
            },
        };
        let Some(entry) = entry else {
            return self
                .fetch_tag(served, key, None)
                .await
                .map_or_else(Refreshed::Failed, Refreshed::Stored);
        };
        let facts = entry.facts();
        // Another flight fetched or confirmed it between this request's look at the cache and this flight.
        if facts.is_live(self.now()) && facts.checked_at >= arrived && seen(Some(&entry)) != before {
            return match before {
                Some((known, _)) if known == entry.ready.id => Refreshed::Confirmed(entry),
                _ => Refreshed::Stored(entry),
            };
        }
        self.check_tag(served, key, entry).await
    }

    async fn check_tag(&self, served: &Served, key: &TagKey, entry: Arc<TagEntry>) -> Refreshed {
        let live = entry.facts().is_live(self.now());
        if live && self.backoffs.skips(&served.check_key, self.now()) {
            return Refreshed::Unconfirmed(entry, Unconfirmed::Skipped);
        }
        let (started, limit) = (self.now(), if live { CHECK_LIMIT } else { FETCH_LIMIT });
        let result = self.ask(served, key, limit).await;
        self.note_check(served, &result, started);
        match result {
            Ok(asked) => match self.compare(served, &entry, &asked) {
                Verdict::Fetch => self.move_tag(served, key, entry, asked).await,
                _ => Refreshed::Confirmed(entry),
            },
            Err(error) => {
                let answer = answer_of(&error);
                Refreshed::Unconfirmed(entry, Unconfirmed::Failed(upstream_error(served, error), answer))
            }
        }
    }

    /// What upstream's answer means; what the method adds to a confirmation, each request adds for itself.
    fn compare(&self, served: &Served, entry: &TagEntry, asked: &Asked) -> Verdict {
        let answer = if *asked.digest() == entry.ready.digest {
            Answer::Same
        } else {
            Answer::Changed
        };
        conclude(
            &entry.facts(),
            answer,
            &self.policy(served),
            Method::Head,
            self.now(),
        )
    }

    /// The tag points elsewhere now: at something that is stored here already, or at something to be fetched.
    async fn move_tag(&self, served: &Served, key: &TagKey, entry: Arc<TagEntry>, asked: Asked) -> Refreshed {
        match (self.take_stored(served, key, asked.digest()).await, asked) {
            (Ok(Some(moved)), _) => Refreshed::Stored(moved),
            (Ok(None), Asked::Body(body)) => settle(entry, self.store_tag(served, key, body).await),
            (Ok(None), Asked::Digest(digest)) => {
                let moved = Moved {
                    from: &entry,
                    to: digest,
                };
                let fetched = self.fetch_tag(served, key, Some(&moved)).await;
                settle(Arc::clone(&entry), fetched)
            }
            (Err(error), _) => Refreshed::Failed(error),
        }
    }

    /// Makes a manifest that is stored in the repository the tag's current one, without upstream (M5).
    pub(crate) async fn take_stored(
        &self,
        served: &Served,
        key: &TagKey,
        digest: &Digest,
    ) -> Result<Option<Arc<TagEntry>>, PullError> {
        match self.admit_tag(served, key, digest, Content::Stored).await? {
            Some(_) => self.read_admitted(key, digest).await,
            None => Ok(None),
        }
    }

    /// What was admitted is served, though another pull may have pruned it already.
    async fn read_admitted(&self, key: &TagKey, digest: &Digest) -> Result<Option<Arc<TagEntry>>, PullError> {
        if let Some(entry) = self.read_tag(key).await? {
            return Ok(Some(entry));
        }
        let stored = self.metadata.manifest(key.0, key.1.as_str(), digest).await?;
        Ok(stored.map(|stored| TagEntry::passed(stored, self.now())))
    }

    async fn admit_tag(
        &self,
        served: &Served,
        key: &TagKey,
        digest: &Digest,
        content: Content<'_>,
    ) -> Result<Option<Admitted>, PullError> {
        let now = self.now();
        let hold = Hold::Tag {
            name: key.2.as_str(),
            ends_at: served.end(now),
            checked_at: now,
        };
        let admission = Admission {
            organization: key.0,
            repository: key.1.as_str(),
            digest,
            content,
            hold,
            now,
        };
        let admitted = self.admit(served, &admission).await;
        self.warm.forget_tag(key);
        admitted
    }

    async fn ask(&self, served: &Served, key: &TagKey, limit: Duration) -> Result<Asked, UpstreamError> {
        let repository = served.spec.remote.upstream_repository(&key.1);
        let reference = Reference::Tag(key.2.clone());
        let asking = async {
            match served
                .upstream
                .head_manifest(&repository, &reference, limit)
                .await
            {
                Ok(head) => return Ok(Asked::Digest(head.digest)),
                Err(UpstreamError::HeadUnsupported { .. }) => {}
                Err(error) => return Err(error),
            }
            served
                .upstream
                .get_manifest(&repository, &reference)
                .await
                .map(Asked::Body)
        };
        tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| {
            Err(UpstreamError::Timeout {
                host: served.address.to_string(),
            })
        })
    }

    fn note_check(&self, served: &Served, result: &Result<Asked, UpstreamError>, started: Millis) {
        match result {
            Err(error) if error.is_outage() => {
                let retry_after = match error {
                    UpstreamError::RateLimited { retry_after, .. } => *retry_after,
                    _ => None,
                };
                self.backoffs
                    .failed(&served.check_key, retry_after, started, self.now());
            }
            _ => self.backoffs.answered(&served.check_key),
        }
    }

    /// M2: gets the manifest, or lets another replica get it, verifies and stores it.
    async fn fetch_tag(
        &self,
        served: &Served,
        key: &TagKey,
        moved: Option<&Moved<'_>>,
    ) -> Result<Arc<TagEntry>, PullError> {
        let reference = Reference::Tag(key.2.clone());
        let fetch = async {
            let body = self.get_manifest(served, &key.1, &reference).await?;
            self.store_tag(served, key, body).await
        };
        self.fetch(key.0, &key.1, &reference)
            .once(|| self.find_fetched(served, key, moved), fetch.boxed())
            .await
    }

    /// What another replica has fetched since this one looked.
    async fn find_fetched(
        &self,
        served: &Served,
        key: &TagKey,
        moved: Option<&Moved<'_>>,
    ) -> Result<Option<Arc<TagEntry>>, PullError> {
        let row = self.read_tag(key).await?;
        let is_new = |entry: &Arc<TagEntry>| moved.is_none_or(|moved| entry.ready.id != moved.from.ready.id);
        let live = row.filter(|entry| entry.facts().is_live(self.now()));
        if let Some(entry) = live.filter(is_new) {
            return Ok(Some(entry));
        }
        let Some(moved) = moved else {
            return Ok(None);
        };
        // Under another tag, or by its digest.
        let stored = self.metadata.manifest(key.0, key.1.as_str(), &moved.to).await?;
        match stored {
            Some(_) => self.take_stored(served, key, &moved.to).await,
            None => Ok(None),
        }
    }

    async fn store_tag(
        &self,
        served: &Served,
        key: &TagKey,
        body: ManifestBody,
    ) -> Result<Arc<TagEntry>, PullError> {
        let manifest = parse(served, &body)?;
        let content = Content::New {
            media_type: &manifest.media_type,
            body: &body.body,
            manifest: &manifest,
        };
        self.admit_tag(served, key, &body.digest, content).await?;
        self.read_admitted(key, &body.digest)
            .await?
            .ok_or(PullError::Unknown(Subject::Manifest))
    }

    /// One GET of a manifest upstream.
    pub(crate) async fn get_manifest(
        &self,
        served: &Served,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestBody, PullError> {
        debug_assert_eq!(self.contact, Contact::Allowed);
        let name = served.spec.remote.upstream_repository(repository);
        let result = served.upstream.get_manifest(&name, reference).await;
        if !matches!(&result, Err(error) if error.is_outage()) {
            self.backoffs.answered(&served.check_key);
        }
        result.map_err(|error| upstream_error(served, error))
    }
}

/// What upstream said of a tag: its digest, or the manifest where HEAD says too little.
enum Asked {
    Digest(Digest),
    Body(ManifestBody),
}

impl Asked {
    fn digest(&self) -> &Digest {
        match self {
            Self::Digest(digest) | Self::Body(ManifestBody { digest, .. }) => digest,
        }
    }
}

/// A tag that points elsewhere than its row says.
struct Moved<'a> {
    from: &'a TagEntry,
    to: Digest,
}

pub(crate) fn upstream_error(served: &Served, source: UpstreamError) -> PullError {
    PullError::Upstream {
        upstream: Arc::clone(&served.address),
        subject: Subject::Manifest,
        source,
    }
}

/// Reads an upstream manifest, or says why it is none (M8, M12).
pub(crate) fn parse(served: &Served, body: &ManifestBody) -> Result<Manifest, PullError> {
    Manifest::parse(&body.body, body.content_type.as_deref()).map_err(|source| PullError::Manifest {
        upstream: Arc::clone(&served.address),
        source: Arc::new(source),
    })
}

/// A changed tag whose manifest could not be had leaves the old row unconfirmed (M6).
fn settle(entry: Arc<TagEntry>, fetched: Result<Arc<TagEntry>, PullError>) -> Refreshed {
    match fetched {
        Ok(stored) => Refreshed::Stored(stored),
        Err(error @ PullError::Upstream { .. }) => {
            let answer = match &error {
                PullError::Upstream { source, .. } => answer_of(source),
                _ => Answer::Outage,
            };
            Refreshed::Unconfirmed(entry, Unconfirmed::Failed(error, answer))
        }
        Err(error @ (PullError::Manifest { .. } | PullError::Unusable { .. })) => {
            Refreshed::Unconfirmed(entry, Unconfirmed::Failed(error, Answer::Unusable))
        }
        Err(error) => Refreshed::Failed(error),
    }
}
