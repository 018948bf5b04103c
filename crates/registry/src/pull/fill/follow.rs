//! Following a fill that runs on another replica, and going on without that replica (B2, ENGINE §3.4).

use std::time::Duration;

use quayside_blobs::{Blob, Ingest, StorageKey};
use quayside_metadata::{HeldFill, View};
use tokio::time::Instant;

use super::claim::Start;
use super::filling::{Filling, Stopped, Streaming};
use crate::chain::Chain;
use crate::pull::error::PullError;
use crate::pull::peer::failure::Failure;
use crate::pull::peer::{Opened, PATIENCE};
use crate::pull::source::Source;

/// Between two attempts to reach a replica, or to learn what became of its fill.
const PAUSE: Duration = Duration::from_millis(100);

/// What one question to a replica comes to.
enum Asked {
    Source(Source),
    /// It is there, and has no bytes yet.
    Again,
    Nothing,
}

impl Filling<'_, '_> {
    /// The bytes from the first missing one on, from whoever has them: the replica that fills, or another one that took
    /// over, or storage, or upstream.
    pub(super) async fn follow(
        &mut self,
        mut held: HeldFill,
        ingest: &mut Ingest,
    ) -> Result<Source, Stopped> {
        let mut heard = Instant::now();
        loop {
            match self.ask_peer(&held, ingest.received()).await? {
                Asked::Source(source) => return Ok(source),
                Asked::Again => {
                    heard = Instant::now();
                    continue;
                }
                Asked::Nothing => {}
            }
            match self.decide(&held, heard).await {
                Ok(Start::Ours) => return self.ask_upstream(ingest).await,
                Ok(Start::Found) => return self.read_stored(ingest).await,
                Ok(Start::Held(other)) => {
                    if other.token != held.token {
                        heard = Instant::now();
                    }
                    held = other;
                }
                Err(error) if self.streaming == Streaming::NotYet => return Err(Stopped::Pull(error)),
                Err(error) => {
                    // Whose the bytes are is not known; the clients get them.
                    tracing::warn!(digest = %self.order.digest, error = %Chain(&error), "going on unrecorded");
                    return self.ask_upstream(ingest).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_peer(&mut self, held: &HeldFill, from: u64) -> Result<Asked, Stopped> {
        if held.address.is_empty() {
            return Ok(Asked::Nothing);
        }
        let (engine, digest) = (self.engine, &self.order.digest);
        match engine.replica.peers.open(held, digest, from, engine.now()).await {
            Ok(Opened::Bytes(body)) => Ok(Asked::Source(Source::Peer(held.clone(), Box::new(body)))),
            Ok(Opened::Waiting) => Ok(Asked::Again),
            Ok(Opened::Failed(failure)) => self.hear_failure(failure, from),
            Ok(Opened::Gone) => Ok(Asked::Nothing),
            Err(error) => {
                let peer = &held.address;
                tracing::debug!(%digest, peer, error = %Chain(&error), "replica not followed");
                Ok(Asked::Nothing)
            }
        }
    }

    /// What upstream told another repository is not the last word here, unless the bytes that we have are wrong (B11).
    fn hear_failure(&mut self, failure: Failure, from: u64) -> Result<Asked, Stopped> {
        let same = failure.is_of(&self.order.origin());
        let last_word = same || (failure.taints() && from > 0);
        if !last_word {
            return Ok(Asked::Nothing);
        }
        if let Some(origin) = failure.origin().filter(|_| !same) {
            self.fill.blame(origin);
        }
        Err(Stopped::Pull(failure.into_error()))
    }

    /// Who has the fill now. A replica that was not heard of for too long is not waited for.
    async fn decide(&mut self, held: &HeldFill, heard: Instant) -> Result<Start, PullError> {
        let fill = self.fill;
        // Not the time that the database takes to answer.
        let silent = heard.elapsed() >= PATIENCE;
        match self.claim.begin(fill).await? {
            Start::Held(same) if same.token == held.token && (same.address.is_empty() || silent) => {
                tracing::info!(
                    digest = %self.order.digest, peer = same.address,
                    "replica cannot be followed, asking upstream"
                );
                // Who may not ask upstream leaves the lease where it is.
                if self.streaming == Streaming::NotYet && !fill.is_allowed() {
                    return Ok(Start::Ours);
                }
                self.claim.begin_instead_of(&same, fill).await
            }
            start => Ok(start),
        }
    }

    async fn read_stored(&mut self, ingest: &mut Ingest) -> Result<Source, Stopped> {
        if self.streaming == Streaming::NotYet {
            return Err(Stopped::Found);
        }
        match self.open_stored().await {
            Ok(Some(blob)) => Ok(Source::Storage(blob.reader(ingest.received()..self.order.size))),
            Ok(None) => self.ask_upstream(ingest).await,
            Err(error) => {
                let digest = &self.order.digest;
                tracing::warn!(%digest, error = format!("{error:#}"), "stored blob cannot be read");
                self.ask_upstream(ingest).await
            }
        }
    }

    async fn open_stored(&self) -> anyhow::Result<Option<Blob>> {
        let (engine, order) = (self.engine, self.order);
        let repository = order.repository.as_str();
        let state = engine
            .metadata
            .blob(order.served.id, repository, &order.digest, View::Member)
            .await?;
        let stored = state.and_then(|state| state.stored);
        let Some(stored) = stored.filter(|stored| stored.size == order.size) else {
            return Ok(None);
        };
        let key = StorageKey::parse(&stored.key)?;
        Ok(Some(engine.store.open(&key, stored.size).await?))
    }
}
