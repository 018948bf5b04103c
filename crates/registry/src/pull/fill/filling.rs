//! One fill from its beginning to its end.

use std::sync::Arc;

use bytes::Bytes;
use quayside_blobs::{Ingest, IngestError, VerifyError};
use quayside_upstream::UpstreamError;

use super::claim::{Claim, Kept, LONGEST, Start};
use super::{Fill, Outcome};
use crate::chain::Chain;
use crate::pull::Engine;
use crate::pull::error::PullError;
use crate::pull::peer::failure::Failure;
use crate::pull::resume::{self, Order};
use crate::pull::source::{Break, Source};

/// Reads the blob. `fill` learns of the spool as soon as upstream, or who reads from it, has answered.
pub(crate) async fn run(engine: &Engine, order: &Order, fill: &Arc<Fill>) -> Outcome {
    let mut claim = match Claim::new(engine, order) {
        Ok(claim) => claim,
        Err(source) => {
            return Outcome::Failed(PullError::Key {
                key: order.digest.as_str().into(),
                source: Arc::new(source),
            });
        }
    };
    let late = || {
        Outcome::Failed(order.failed(UpstreamError::Timeout {
            host: order.served.address.to_string(),
        }))
    };
    let filling = Filling {
        engine,
        order,
        fill,
        claim: &mut claim,
        streaming: Streaming::NotYet,
        from_upstream: false,
    };
    let filled = tokio::time::timeout(LONGEST, filling.run()).await;
    let outcome = filled.unwrap_or_else(|_| late());
    let failure = match &outcome {
        Outcome::Failed(error) => Failure::of(&order.origin(), error),
        _ => None,
    };
    claim.end(failure).await;
    outcome
}

pub(super) struct Filling<'a, 'c> {
    pub(super) engine: &'a Engine,
    pub(super) order: &'a Order,
    pub(super) fill: &'a Arc<Fill>,
    pub(super) claim: &'c mut Claim<'a>,
    pub(super) streaming: Streaming,
    /// Whether upstream is read from, and not somebody who reads from it.
    from_upstream: bool,
}

/// Whether clients were given the spool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Streaming {
    NotYet,
    Begun,
}

/// Why a fill ends before its last byte.
pub(super) enum Stopped {
    /// It is stored by now, and no client has seen the spool.
    Found,
    /// Upstream would have to be asked, and nobody takes part for whom it may be (A3).
    Forbidden,
    Pull(PullError),
    Storage(IngestError),
    /// The registry stops.
    End,
}

impl Filling<'_, '_> {
    async fn run(mut self) -> Outcome {
        let start = match self.claim.begin(self.fill).await {
            Ok(Start::Found) => return Outcome::Found,
            // Its bytes would be read to be thrown away.
            Ok(Start::Held(_)) if !self.fill.is_attended() => return Outcome::Elsewhere,
            Ok(start) => start,
            Err(error) => return Outcome::Failed(error),
        };
        let (order, store) = (self.order, &self.engine.store);
        let mut ingest = match store
            .ingest_as(self.claim.token(), &order.digest, order.size)
            .await
        {
            Ok(ingest) => ingest,
            Err(error) => return storage_fault(order, &error),
        };
        let fill = self.fill;
        let read = tokio::select! {
            read = self.read(start, &mut ingest) => read,
            // Not later than this: what is verified is stored.
            () = fill.stopped() => Err(Stopped::End),
        };
        match read {
            Ok(size) => self.keep(ingest, size).await,
            Err(Stopped::Found) => Outcome::Found,
            Err(Stopped::Forbidden) => Outcome::Elsewhere,
            Err(Stopped::Storage(error)) => storage_fault(order, &error),
            Err(Stopped::End) => {
                ingest.fail(Arc::new(PullError::Stopping));
                Outcome::Failed(PullError::Stopping)
            }
            Err(Stopped::Pull(error)) => {
                tracing::warn!(
                    digest = %order.digest, upstream = %order.served.address,
                    error = %Chain(&error), "fill failed"
                );
                ingest.fail(Arc::new(error.clone()));
                Outcome::Failed(error)
            }
        }
    }

    async fn read(&mut self, start: Start, ingest: &mut Ingest) -> Result<u64, Stopped> {
        let mut source = match start {
            Start::Held(held) => self.follow(held, ingest).await?,
            Start::Ours | Start::Found => self.ask_upstream(ingest).await?,
        };
        self.fill.begin(ingest.spool());
        self.streaming = Streaming::Begun;
        while let Some(chunk) = self.next(&mut source, ingest).await? {
            ingest.append(chunk).await.map_err(|error| match error {
                IngestError::TooLong { .. } => Stopped::Pull(self.order.mismatch(error.to_string())),
                error => Stopped::Storage(error),
            })?;
        }
        ingest.verify().await.map_err(|error| match error {
            VerifyError::Storage(fault) => Stopped::Storage(IngestError::Storage(fault)),
            error => Stopped::Pull(self.order.mismatch(error.to_string())),
        })
    }

    /// The next bytes, from another source if this one has no more.
    async fn next(&mut self, source: &mut Source, ingest: &mut Ingest) -> Result<Option<Bytes>, Stopped> {
        loop {
            match source.next().await {
                Ok(next) => return Ok(next),
                Err(Break::Upstream(error)) => return Err(Stopped::Pull(error)),
                Err(_) if ingest.received() >= self.order.size => return Ok(None),
                Err(Break::Peer(held, error)) => {
                    tracing::debug!(
                        digest = %self.order.digest, peer = held.address, position = ingest.received(),
                        error = %Chain(&error), "replica broke off"
                    );
                    *source = self.follow(held, ingest).await?;
                }
                Err(Break::Storage(error)) => {
                    tracing::warn!(
                        digest = %self.order.digest, error = %Chain(&error),
                        "stored blob cannot be read, asking upstream"
                    );
                    *source = self.ask_upstream(ingest).await?;
                }
            }
        }
    }

    /// From the byte that is missing on. The row, where it is needed by now, is written meanwhile.
    pub(super) async fn ask_upstream(&mut self, ingest: &mut Ingest) -> Result<Source, Stopped> {
        let order = self.order;
        // What is streaming was begun for somebody who might.
        if self.streaming == Streaming::NotYet && !self.fill.is_allowed() {
            return Err(Stopped::Forbidden);
        }
        self.from_upstream = true;
        let open = async {
            let from = ingest.received();
            match self.streaming {
                Streaming::NotYet => resume::Source::open(order.clone(), from).await,
                Streaming::Begun => resume::Source::go_on(order.clone(), from).await,
            }
        };
        let (opened, recorded) = tokio::join!(open, self.claim.record_early());
        if let Err(error) = recorded {
            // The transfer goes on for its clients; there is another attempt at its end.
            tracing::debug!(digest = %order.digest, error = %Chain(&error), "fill not recorded yet");
        }
        if !matches!(&opened, Err(PullError::Upstream { source, .. }) if source.is_outage()) {
            self.engine.backoffs.answered(&order.served.check_key);
        }
        let source = opened.map_err(Stopped::Pull)?;
        if self.claim.uploads() {
            ingest.upload_to(self.claim.key());
        }
        Ok(Source::Upstream(Box::new(source)))
    }

    /// Readers have all bytes by now; what goes wrong from here on costs them nothing.
    async fn keep(&mut self, ingest: Ingest, size: u64) -> Outcome {
        let unclaimed = self.from_upstream && !self.claim.is_ours();
        match self.claim.keep(ingest, size).await {
            Ok(Kept::No) if unclaimed => Outcome::Unstored,
            Ok(Kept::Yes | Kept::No) => Outcome::Done,
            Err(error) => {
                let digest = &self.order.digest;
                tracing::warn!(%digest, error = format!("{error:#}"), "verified blob not kept");
                Outcome::Unstored
            }
        }
    }
}

fn storage_fault(order: &Order, error: &IngestError) -> Outcome {
    tracing::warn!(digest = %order.digest, error = %Chain(error), "storage takes no bytes, passing through");
    Outcome::StorageFault
}
