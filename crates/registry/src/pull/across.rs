//! Fetching a manifest once, however many replicas want it (M2, ENGINE §3.4).
//!
//! One of them takes a lease and fetches. The others look at the database until what they want is there, or the lease
//! carries a note that says why it could not be had, or the lease is gone: then the next one fetches. A replica that
//! dies costs the others what is left of its lease. Where the database is not shared none of this happens.

mod note;

use std::convert::Infallible;
use std::time::Duration;

use futures::future::BoxFuture;
use quayside_metadata::{Lease, Metadata, Taken};
use quayside_oci::{Reference, RepositoryName};

use super::Engine;
use super::error::PullError;
use crate::chain::Chain;
use crate::clock::{Millis, millis};
use note::Note;

/// How long a fetch may be silent before another replica takes over.
const LEASE: Duration = Duration::from_secs(10);
/// How often it says that it goes on.
const BEAT: Duration = Duration::from_secs(3);
/// How long a failure is there for those who waited.
const NOTED: Duration = Duration::from_secs(2);
/// Between two looks of one that waits; each is twice as long as the one before, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(200));

/// What is fetched once.
pub(super) struct Fetch<'a> {
    engine: &'a Engine,
    /// `m:<organization>/<repository>@<reference>`; the repository as it is called here.
    name: String,
    /// Failures from before are not this one's.
    started: Millis,
}

impl Engine {
    /// A fetch of a manifest that other replicas may be at as well.
    pub(super) fn fetch<'a>(
        &'a self,
        organization: quayside_metadata::OrganizationId,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Fetch<'a> {
        Fetch {
            engine: self,
            name: format!("m:{}/{repository}@{reference}", organization.0),
            started: self.now(),
        }
    }

    /// Lets others do at once what this process has leases for: to fetch what it does not get to the end of, and to lead
    /// (O1). Nothing here relies on them any more.
    pub(crate) async fn give_back_leases(&self) {
        if !self.metadata.is_shared() {
            return;
        }
        if let Err(error) = self.metadata.give_all_leases(&self.replica.id).await {
            tracing::debug!(error = %Chain(&error), "leases not given back");
        }
    }
}

/// Who is to fetch.
enum Turn<T> {
    Ours,
    /// Somebody has.
    Found(T),
    /// Somebody tried.
    Failed(PullError),
}

impl Fetch<'_> {
    /// What `fetch` gives, or what `look` finds that another replica has fetched meanwhile, or why that failed.
    pub(super) async fn once<T, Looking>(
        self,
        look: impl Fn() -> Looking,
        fetch: BoxFuture<'_, Result<T, PullError>>,
    ) -> Result<T, PullError>
    where
        Looking: Future<Output = Result<Option<T>, PullError>>,
    {
        if !self.metadata().is_shared() {
            return fetch.await;
        }
        match self.turn(&look).await? {
            Turn::Found(found) => return Ok(found),
            Turn::Failed(error) => return Err(error),
            Turn::Ours => {}
        }
        // It may have been given back since the last look.
        let fetched = match look().await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => self.keeping(fetch).await,
            Err(error) => Err(error),
        };
        self.give_back(fetched.as_ref().err()).await;
        fetched
    }

    fn metadata(&self) -> &Metadata {
        &self.engine.metadata
    }

    async fn turn<T, Looking>(&self, look: &impl Fn() -> Looking) -> Result<Turn<T>, PullError>
    where
        Looking: Future<Output = Result<Option<T>, PullError>>,
    {
        let (mut pause, longest) = PAUSES;
        let mut waited = false;
        let mut held = self.take().await?;
        while let Taken::Held(lease) = held {
            let fresh = |note: &Note| waited || note.failed_at >= self.started;
            if lease.note.is_some() {
                match Note::of(&lease).filter(fresh).and_then(Note::into_error) {
                    Some(error) => return Ok(Turn::Failed(error)),
                    // What failed before this one came says nothing about now.
                    None => held = self.overrule(&lease).await?,
                }
                continue;
            }
            waited = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            if let Some(found) = look().await? {
                return Ok(Turn::Found(found));
            }
            held = self.look_at_lease().await?;
        }
        Ok(Turn::Ours)
    }

    /// Writes only if there is something to take.
    async fn look_at_lease(&self) -> Result<Taken, PullError> {
        match self.metadata().lease(&self.name).await? {
            Some(lease) if lease.expires_at >= self.engine.now() => Ok(Taken::Held(lease)),
            _ => self.take().await,
        }
    }

    async fn take(&self) -> Result<Taken, PullError> {
        let now = self.engine.now();
        let (holder, until) = (&self.engine.replica.id, now.saturating_add(millis(LEASE)));
        let taken = self.metadata().take_lease(&self.name, holder, now, until).await;
        Ok(taken?)
    }

    async fn overrule(&self, lease: &Lease) -> Result<Taken, PullError> {
        let now = self.engine.now();
        let (holder, until) = (&self.engine.replica.id, now.saturating_add(millis(LEASE)));
        let metadata = self.metadata();
        let taken = metadata
            .take_noted_lease(&self.name, holder, lease, now, until)
            .await;
        Ok(taken?)
    }

    /// Renews the lease while `fetch` runs.
    async fn keeping<T>(&self, fetch: impl Future<Output = Result<T, PullError>>) -> Result<T, PullError> {
        tokio::select! {
            fetched = fetch => fetched,
            never = self.beat() => match never {},
        }
    }

    async fn beat(&self) -> Infallible {
        loop {
            self.engine.clock.sleep(BEAT).await;
            let until = self.engine.now().saturating_add(millis(LEASE));
            let holder = &self.engine.replica.id;
            // Lost, it costs a fetch: what is fetched is right all the same. Nor may it be taken anew: the fetch may end
            // while this is on its way, and the lease be given back before.
            if let Err(error) = self.metadata().renew_lease(&self.name, holder, until).await {
                tracing::debug!(error = %Chain(&error), "lease of a fetch not renewed");
            }
        }
    }

    /// With a note if those who wait are to be told what this one is told.
    async fn give_back(&self, failure: Option<&PullError>) {
        let (metadata, holder) = (self.metadata(), &self.engine.replica.id);
        let now = self.engine.now();
        let given = match failure.and_then(|error| Note::new(error, now)) {
            None => metadata.give_lease(&self.name, holder).await,
            Some(note) => {
                let until = now.saturating_add(millis(NOTED));
                metadata
                    .give_lease_with_note(&self.name, holder, &note.to_string(), until)
                    .await
            }
        };
        if let Err(error) = given {
            tracing::debug!(error = %Chain(&error), "lease of a fetch not given back");
        }
    }
}
