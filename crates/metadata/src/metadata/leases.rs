//! What several processes agree on: who fills a blob, who fetches a manifest, who works.

use quayside_oci::Digest;

use super::{Metadata, Result};
use crate::engine::Engine;
use crate::queries::{begin, lease, wanted};
use crate::{FillIntent, FillLease, HeldFill, Lease, OrganizationId, Taken, Wanted};

impl Metadata {
    /// Whether other processes may use the database. If not, leases cost more than they are worth: what this
    /// process does once is done once.
    pub fn is_shared(&self) -> bool {
        !matches!(*self.engine, Engine::Sqlite(_))
    }

    /// Records the intent to fill a blob, or says why nothing is to be filled: another process does so already,
    /// or has done (B2). Of several that ask at once exactly one is told [`FillLease::Ours`].
    ///
    /// A fill of the same scope, or of none, that expects the same size and has the lease is followed. One that expired before
    /// `now` is followed too if it says where; else it is taken over, and its key becomes garbage. One for another size
    /// is left alone, and this fill runs beside it (B10).
    pub async fn begin_fill(
        &self,
        intent: &FillIntent,
        now: i64,
        garbage_not_before: i64,
    ) -> Result<FillLease> {
        self.begin(begin::Begin {
            intent: intent.clone(),
            unreachable: None,
            now,
            garbage_not_before,
        })
        .await
    }

    /// As [`begin_fill`](Self::begin_fill), after the process whose fill `unreachable` has it could not be
    /// reached (B2). Of several that ask one is told [`FillLease::Ours`], the others are to follow that one. The fill
    /// that could not be reached goes on without the lease, and the first commit decides; one that expired before `now`
    /// is given up, and its key becomes garbage.
    pub async fn begin_fill_instead_of(
        &self,
        unreachable: &str,
        intent: &FillIntent,
        now: i64,
        garbage_not_before: i64,
    ) -> Result<FillLease> {
        self.begin(begin::Begin {
            intent: intent.clone(),
            unreachable: Some(unreachable.to_owned()),
            now,
            garbage_not_before,
        })
        .await
    }

    async fn begin(&self, begin: begin::Begin) -> Result<FillLease> {
        self.engine
            .write(begin, |tx, begin| Box::pin(begin::begin(tx, begin)))
            .await
    }

    /// The running fill that somebody with this scope may follow, one without a scope first. None if there is
    /// none, or its time was over at `now` and it does not say where it runs.
    pub async fn held_fill(
        &self,
        digest: &Digest,
        scope: Option<OrganizationId>,
        now: i64,
    ) -> Result<Option<HeldFill>> {
        begin::held(&self.engine, digest, scope, now).await
    }

    /// Renews fills, and says which of them are still there. One that is not was given up by somebody else, and
    /// can no longer be committed: its key is garbage, or will be. One that lost its lease is renewed only until it
    /// expires: whoever has the lease by then is not to be disturbed.
    pub async fn heartbeat_fills(&self, tokens: &[String], now: i64, expires_at: i64) -> Result<Vec<String>> {
        let renewal = begin::Renewal {
            tokens: super::lifetime::rows(tokens),
            now,
            expires_at,
        };
        self.engine
            .write(renewal, |tx, renewal| Box::pin(begin::renew(tx, renewal)))
            .await
    }

    /// Takes a lease, or renews it if `holder` has it, until `expires_at`. One that expired before `now` is
    /// taken over. A note that has not expired is left, also if `holder` wrote it.
    pub async fn take_lease(&self, name: &str, holder: &str, now: i64, expires_at: i64) -> Result<Taken> {
        self.engine
            .write(want(name, holder, now, expires_at), |tx, want| {
                Box::pin(lease::take(tx, want))
            })
            .await
    }

    /// As [`take_lease`](Self::take_lease), of a lease that was [`Taken::Held`] with a note, although the note
    /// has not expired. Somebody else may be faster.
    pub async fn take_noted_lease(
        &self,
        name: &str,
        holder: &str,
        noted: &Lease,
        now: i64,
        expires_at: i64,
    ) -> Result<Taken> {
        let overrule = lease::Overrule {
            want: want(name, holder, now, expires_at),
            noted: noted.clone(),
        };
        self.engine
            .write(overrule, |tx, overrule| Box::pin(lease::overrule(tx, overrule)))
            .await
    }

    /// Has a lease last until `expires_at`, if `holder` has it. Unlike [`take_lease`](Self::take_lease) this does nothing
    /// to one that was given back, so it may arrive late.
    pub async fn renew_lease(&self, name: &str, holder: &str, expires_at: i64) -> Result<()> {
        let renewal = lease::Renewal {
            name: name.to_owned(),
            holder: holder.to_owned(),
            expires_at,
        };
        self.engine
            .write(renewal, |tx, renewal| Box::pin(lease::renew(tx, renewal)))
            .await
    }

    /// Gives back all leases that `holder` has, and says how many. Notes stay.
    pub async fn give_all_leases(&self, holder: &str) -> Result<u64> {
        self.engine
            .write(holder.to_owned(), |tx, holder| {
                Box::pin(lease::give_all(tx, holder))
            })
            .await
    }

    /// Gives a lease back, if `holder` has it.
    pub async fn give_lease(&self, name: &str, holder: &str) -> Result<()> {
        self.give(name, holder, None).await
    }

    /// Gives a lease back, if `holder` has it, and leaves a note in its place until then: those who wait for
    /// what was to be done under the lease learn that it failed. Never a secret.
    pub async fn give_lease_with_note(&self, name: &str, holder: &str, note: &str, until: i64) -> Result<()> {
        self.give(name, holder, Some((note.to_owned(), until))).await
    }

    /// A lease as it is, also if it expired.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>> {
        lease::read(&self.engine, name).await
    }

    /// Drops the leases and notes that expired before `now`, and says how many. Only what nobody comes back to
    /// needs this.
    pub async fn expire_leases(&self, now: i64) -> Result<u64> {
        self.engine
            .write(now, |tx, now| Box::pin(lease::expire(tx, now)))
            .await
    }

    /// As [`wanted`](Self::wanted), of those that were wanted at `wanted_by` or before: whoever wanted them has had
    /// its time to fill them.
    pub async fn wanted_for_long(&self, now: i64, wanted_by: i64, limit: u32) -> Result<Vec<Wanted>> {
        wanted::left(&self.engine, now, wanted_by, limit).await
    }

    async fn give(&self, name: &str, holder: &str, note: Option<(String, i64)>) -> Result<()> {
        let gift = lease::Gift {
            name: name.to_owned(),
            holder: holder.to_owned(),
            note,
        };
        self.engine
            .write(gift, |tx, gift| Box::pin(lease::give(tx, gift)))
            .await
    }
}

fn want(name: &str, holder: &str, now: i64, expires_at: i64) -> lease::Want {
    lease::Want {
        name: name.to_owned(),
        holder: holder.to_owned(),
        now,
        expires_at,
    }
}
