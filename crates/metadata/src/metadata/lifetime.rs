//! What workers do: the end of tags, of manifests, and of keys.

use std::sync::Arc;

use super::{Metadata, Result};
use crate::queries::{collect, forecast, garbage, prune, repair, sweep};
use crate::{
    Collected, Discrepancy, Forecast, Garbage, OrganizationId, Planner, PruneError, PrunePlan, Pruning,
    Slacks, Swept,
};

impl Metadata {
    /// The organizations, removed ones too, of which some tag or pin has outlived its Window; a step of
    /// [`sweep`](Self::sweep) may still find that its slack is not over.
    pub async fn sweepable(&self, now: i64) -> Result<Vec<OrganizationId>> {
        sweep::due(&self.engine, now).await
    }

    /// One step of the sweeper: up to 256 rows of an organization whose Window and slack are over go, the
    /// oldest first, and what nothing holds any more is released (E2). The rows of a removed organization
    /// count as dead since it was removed, with a Window of an hour at least (G5).
    ///
    /// Renewals have to be written before, so that none of them is overtaken (M15).
    pub async fn sweep(&self, organization: OrganizationId, slack_ms: i64, now: i64) -> Result<Swept> {
        let step = sweep::Sweep {
            organization,
            slack_ms,
            now,
        };
        self.engine
            .write(step, |tx, step| Box::pin(sweep::sweep(tx, step)))
            .await
    }

    /// Those of the organizations that have a tag or pin that never ends.
    pub async fn endless(&self, organizations: &[OrganizationId]) -> Result<Vec<OrganizationId>> {
        sweep::endless(&self.engine, organizations).await
    }

    /// Gives up to 256 of an organization's tags and pins that never end an end, and says how many that
    /// were: its TTL is no longer 0 (E3).
    pub async fn limit_endless(&self, organization: OrganizationId, ends_at: i64) -> Result<u64> {
        let endless = sweep::Endless {
            organization,
            ends_at,
        };
        self.engine
            .write(endless, |tx, endless| Box::pin(sweep::limit(tx, endless)))
            .await
    }

    /// One step of the collector: up to 256 manifests that were released at `released_by` or before go,
    /// the blobs that nothing names any more, and repositories that are empty then. The keys of the blobs
    /// become garbage (G3).
    pub async fn collect(&self, released_by: i64, garbage_not_before: i64) -> Result<Collected> {
        let collection = collect::Collection {
            released_by,
            garbage_not_before,
        };
        self.engine
            .write(collection, |tx, step| Box::pin(collect::collect(tx, step)))
            .await
    }

    /// Asks the planner what has to go without new content (Q9), for [`prune`](Self::prune) to carry out. Reads the
    /// database as it is at one moment, and nobody waits for it.
    ///
    /// Renewals have to be written before, so that nothing goes that was just used (M15).
    pub async fn start_prune(
        &self,
        organization: OrganizationId,
        planner: Arc<dyn Planner>,
        now: i64,
    ) -> Result<PrunePlan, PruneError> {
        let request = prune::Request {
            organization,
            planner,
            now,
        };
        self.engine
            .snapshot(&request, |tx, request| Box::pin(prune::plan(tx, request)))
            .await
    }

    /// One step of a plan: the next 256 candidates at most go, in one transaction, so that nobody has to wait for all
    /// of them. Those are spared that were used, tagged or untagged since the plan was made, and those that are not
    /// needed any more because somebody else made room. So the organization may still hold too much in the end, and
    /// needs another plan. None: nothing is left to do.
    ///
    /// A step that failed is left out: what it was to do is for another plan as well. Renewals as for
    /// [`start_prune`](Self::start_prune).
    pub async fn prune(&self, plan: &mut PrunePlan) -> Result<Option<Pruning>> {
        let Some(step) = plan.step() else {
            return Ok(None);
        };
        let pruning = self
            .engine
            .write(step, |tx, step| Box::pin(prune::carry_out(tx, step)))
            .await?;
        if pruning.is_none() {
            plan.give_up();
        }
        Ok(pruning)
    }

    /// What a whole prune would do if nobody wrote meanwhile, and changes nothing. Nobody waits for it. What is left
    /// may weigh less than it says, where manifests declare different sizes of a blob that nobody has verified.
    pub async fn plan_prune(
        &self,
        organization: OrganizationId,
        planner: Arc<dyn Planner>,
        now: i64,
    ) -> Result<Pruning, PruneError> {
        let request = prune::Request {
            organization,
            planner,
            now,
        };
        self.engine
            .snapshot(&request, |tx, request| Box::pin(prune::rehearse(tx, request)))
            .await
    }

    /// Drops the rows of organizations that were removed, whose Window was over at `before`, and of whose
    /// content nothing is left (G5). Says how many.
    pub async fn drop_departed_organizations(&self, before: i64) -> Result<u64> {
        self.engine
            .write(before, |tx, before| Box::pin(sweep::drop_departed(tx, before)))
            .await
    }

    /// Gives up to 256 fills up whose time is over; their keys become garbage. Says how many.
    pub async fn expire_fills(&self, now: i64, garbage_not_before: i64) -> Result<u64> {
        let expiry = garbage::Expiry {
            now,
            garbage_not_before,
        };
        self.engine
            .write(expiry, |tx, expiry| Box::pin(garbage::expire_fills(tx, expiry)))
            .await
    }

    /// Keys whose bytes may be deleted, those that waited longest first.
    pub async fn due_garbage(&self, now: i64, limit: u32) -> Result<Vec<Garbage>> {
        garbage::due(&self.engine, now, limit).await
    }

    /// Takes keys off the garbage list: their bytes are deleted.
    pub async fn forget_garbage(&self, keys: &[String]) -> Result<()> {
        self.engine
            .write(rows(keys), |tx, keys| Box::pin(garbage::forget(tx, keys)))
            .await
            .map(drop)
    }

    /// Keeps the bytes of keys that are garbage until `not_before` at least: their deletion failed and is
    /// tried again later, or somebody still reads them and nothing but the entry keeps them alive (G3).
    /// Keys that are not garbage are left alone.
    pub async fn postpone_garbage(&self, keys: &[String], not_before: i64) -> Result<()> {
        let postponed = garbage::Postponed {
            keys: rows(keys),
            not_before,
        };
        self.engine
            .write(postponed, |tx, keys| Box::pin(garbage::postpone(tx, keys)))
            .await
            .map(drop)
    }

    /// How many bytes are waiting to be deleted.
    pub async fn garbage_bytes(&self) -> Result<u64> {
        garbage::bytes(&self.engine).await
    }

    /// What a pass would find to do now; `sweep` is none if nothing is to be released (C2). Reads much of
    /// the database, changes nothing.
    pub async fn forecast(&self, sweep: Option<&Slacks>, released_by: i64, now: i64) -> Result<Forecast> {
        let question = forecast::Question {
            sweep,
            released_by,
            now,
        };
        forecast::forecast(&self.engine, question).await
    }

    /// Puts right whatever [`recount`](Self::recount) would find, in one transaction, and says what that
    /// was. Reads everything, and nothing else is written meanwhile.
    pub async fn recount_repair(&self, now: i64, garbage_not_before: i64) -> Result<Vec<Discrepancy>> {
        let repair = repair::Repair {
            now,
            garbage_not_before,
        };
        self.engine
            .write(repair, |tx, repair| Box::pin(repair::repair(tx, repair)))
            .await
    }
}

pub(super) fn rows(keys: &[String]) -> Vec<(String,)> {
    keys.iter().map(|key| (key.clone(),)).collect()
}
