//! The row that says who fills a blob, and with it who may keep the bytes (ENGINE §1.3, §3.4).
//!
//! Its key is in exactly one of `fill`, `blob` and `garbage` from before storage is touched until it holds nothing.

use std::sync::Arc;
use std::time::Duration;

use quayside_blobs::{Ingest, KeyError, StorageKey, Store};
use quayside_metadata::{FillCommit, FillIntent, FillLease, FillPurpose, HeldFill, MetadataError, View};

use super::Fill;
use crate::clock::millis;
use crate::pull::Engine;
use crate::pull::error::{PullError, Subject};
use crate::pull::peer::failure::Failure;
use crate::pull::replica::{Announcement, lease_end};
use crate::pull::resume::Order;

/// No transfer takes longer in all.
pub(super) const LONGEST: Duration = Duration::from_hours(24);

/// One fill's name and key, of which there is at most one row ever.
pub(super) struct Claim<'a> {
    engine: &'a Engine,
    order: &'a Order,
    token: String,
    key: StorageKey,
    row: Option<Row>,
}

struct Row {
    purpose: FillPurpose,
    recorded: Recorded,
    /// Where others can follow.
    announcement: Option<Announcement>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// The process has the database for itself: the row is needed only before storage is touched.
    NotYet,
    Yes,
}

/// What a fill begins with.
pub(super) enum Start {
    /// Upstream is ours to ask.
    Ours,
    Held(HeldFill),
    Found,
}

/// What became of verified bytes.
pub(super) enum Kept {
    Yes,
    /// They were not ours to keep: somebody else does, or nobody.
    No,
}

impl<'a> Claim<'a> {
    pub(super) fn new(engine: &'a Engine, order: &'a Order) -> Result<Self, KeyError> {
        let token = Store::new_token();
        let key = StorageKey::new(&order.digest, &token)?;
        Ok(Self {
            engine,
            order,
            token,
            key,
            row: None,
        })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn key(&self) -> &StorageKey {
        &self.key
    }

    /// Whether the bytes are ours to keep.
    pub(super) fn is_ours(&self) -> bool {
        self.row.is_some()
    }

    /// Whether the bytes go to storage while they arrive, which the row allows by now.
    pub(super) fn uploads(&self) -> bool {
        let row = self.row.as_ref();
        row.is_some_and(|row| row.recorded == Recorded::Yes && row.purpose == FillPurpose::Store)
            && self.engine.store.uploads_early()
    }

    /// Asks the database who fills: another fill may have ended, or begun elsewhere, since the request looked.
    pub(super) async fn begin(&mut self, fill: &Arc<Fill>) -> Result<Start, PullError> {
        if self.engine.metadata.is_shared() {
            return self.begin_shared(fill, None).await;
        }
        let order = self.order;
        let (id, repository) = (order.served.id, order.repository.as_str());
        let metadata = &self.engine.metadata;
        let state = metadata
            .blob(id, repository, &order.digest, View::Member)
            .await?
            .ok_or(PullError::Unknown(Subject::Blob))?;
        let purpose = match (state.stored, state.proven) {
            (None, _) => FillPurpose::Store,
            (Some(_), false) => FillPurpose::Prove,
            (Some(_), true) => return Ok(Start::Found),
        };
        self.row = Some(Row {
            purpose,
            recorded: Recorded::NotYet,
            announcement: None,
        });
        Ok(Start::Ours)
    }

    /// As [`begin`](Self::begin), where the replica that fills cannot be reached (B2).
    pub(super) async fn begin_instead_of(
        &mut self,
        held: &HeldFill,
        fill: &Arc<Fill>,
    ) -> Result<Start, PullError> {
        self.begin_shared(fill, Some(held)).await
    }

    async fn begin_shared(
        &mut self,
        fill: &Arc<Fill>,
        unreachable: Option<&HeldFill>,
    ) -> Result<Start, PullError> {
        let (engine, order) = (self.engine, self.order);
        let announcement = engine.replica.announce(&self.token, &order.digest, fill);
        let intent = self.intent();
        let not_before = engine.garbage_not_before();
        let (metadata, now) = (&engine.metadata, engine.now());
        let begun = match unreachable {
            None => metadata.begin_fill(&intent, now, not_before).await?,
            Some(held) => {
                metadata
                    .begin_fill_instead_of(&held.token, &intent, now, not_before)
                    .await?
            }
        };
        Ok(match begun {
            FillLease::Ours(purpose) => {
                announcement.recorded();
                self.row = Some(Row {
                    purpose,
                    recorded: Recorded::Yes,
                    announcement: Some(announcement),
                });
                Start::Ours
            }
            FillLease::Held(held) => Start::Held(held),
            FillLease::Found => Start::Found,
        })
    }

    fn intent(&self) -> FillIntent {
        let (engine, order) = (self.engine, self.order);
        let (address, expires_at) = if engine.metadata.is_shared() {
            (engine.replica.address.clone(), lease_end(engine))
        } else {
            (None, engine.now().saturating_add(millis(LONGEST)))
        };
        FillIntent {
            token: self.token.clone(),
            digest: order.digest.clone(),
            size: order.size,
            scope: order.served.scope(),
            storage_key: self.key.as_str().to_owned(),
            address: address.unwrap_or_default(),
            expires_at,
        }
    }

    /// Writes the row where storage is to be touched before the end. Beside the request to upstream, so that no
    /// client waits for the disk of the database.
    pub(super) async fn record_early(&mut self) -> Result<(), MetadataError> {
        let wanted = self.engine.store.uploads_early();
        let unrecorded = |row: &Row| row.recorded == Recorded::NotYet && row.purpose == FillPurpose::Store;
        if wanted && self.row.as_ref().is_some_and(unrecorded) {
            self.record().await?;
        }
        Ok(())
    }

    async fn record(&mut self) -> Result<(), MetadataError> {
        self.engine.metadata.record_fill(self.intent()).await?;
        if let Some(row) = &mut self.row {
            row.recorded = Recorded::Yes;
        }
        Ok(())
    }

    /// Makes the verified bytes the blob, or the proof of it.
    pub(super) async fn keep(&mut self, ingest: Ingest, size: u64) -> anyhow::Result<Kept> {
        let Some(row) = &self.row else {
            return Ok(Kept::No);
        };
        if row.purpose == FillPurpose::Prove {
            let scope = self.order.served.scope();
            self.engine.metadata.prove_blob(&self.order.digest, scope).await?;
            return Ok(Kept::Yes);
        }
        if row.recorded == Recorded::NotYet {
            self.record().await?;
        }
        self.ensure_there().await?;
        ingest.commit(&self.key).await?;
        self.commit(size).await
    }

    /// A replica that was paused learns here that its key is garbage, instead of writing it (G3).
    async fn ensure_there(&self) -> anyhow::Result<()> {
        if !self.engine.metadata.is_shared() {
            return Ok(());
        }
        let token = [self.token.clone()];
        let metadata = &self.engine.metadata;
        let (now, end) = (self.engine.now(), lease_end(self.engine));
        let there = metadata.heartbeat_fills(&token, now, end).await?;
        let announcement = self.row.as_ref().and_then(|row| row.announcement.as_ref());
        let lost = announcement.is_some_and(Announcement::is_lost);
        anyhow::ensure!(!lost && !there.is_empty(), "another replica took the fill over");
        Ok(())
    }

    async fn commit(&mut self, size: u64) -> anyhow::Result<Kept> {
        let (order, not_before) = (self.order, self.engine.garbage_not_before());
        // From here on the row may be gone because we took it.
        if let Some(announcement) = self.row.as_ref().and_then(|row| row.announcement.as_ref()) {
            announcement.settled();
        }
        let (token, key, scope) = (&self.token, self.key.as_str(), order.served.scope());
        let metadata = &self.engine.metadata;
        let committed = metadata
            .commit_fill(token, &order.digest, key, size, scope, not_before)
            .await?;
        self.row = None;
        match committed {
            FillCommit::Stored | FillCommit::Superseded | FillCommit::Unreferenced => Ok(Kept::Yes),
            FillCommit::Lost => anyhow::bail!("the record of the fill is gone"),
        }
    }

    /// Gives up what is left of the row; its key becomes garbage. If that fails too, the row expires, or is given up at
    /// the next start. Others who follow are told of `failure`.
    pub(super) async fn end(self, failure: Option<Failure>) {
        let Some(row) = self.row else { return };
        if let Some(announcement) = &row.announcement {
            announcement.settled();
        }
        if let (Some(announcement), Some(failure)) = (row.announcement, failure) {
            announcement.fail(failure);
        }
        if row.recorded == Recorded::Yes {
            let not_before = self.engine.garbage_not_before();
            let abandoned = self.engine.metadata.abandon_fill(&self.token, not_before);
            if let Err(error) = abandoned.await {
                let error = crate::chain::Chain(&error);
                tracing::warn!(digest = %self.order.digest, error = %error, "fill not given up");
            }
        }
    }
}
