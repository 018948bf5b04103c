//! Who fills a blob, of several processes that want it (ENGINE §3.4).
//!
//! A row with a lease says that its fill runs and can be followed. Whoever loses the race for it waits for
//! the winner's transaction and then sees its row; whoever finds no row because its fill has just been
//! committed sees the blob in a statement of its own afterwards.

use quayside_oci::Digest;

use super::fill::{DISCARD, record, scope_number};
use crate::engine::{Engine, Transaction};
use crate::fill::Leased;
use crate::sql::{Row, Rows, Statement, args};
use crate::{FillIntent, FillLease, FillPurpose, HeldFill, MetadataError, OrganizationId};

/// How often a lease is looked for that appears and vanishes between two statements.
const ROUNDS: usize = 3;

const BLOB: Statement = Statement::new(
    "find bytes of blob",
    "SELECT b.storage_key IS NOT NULL,
            NOT b.private OR EXISTS (
              SELECT 1 FROM proof p WHERE p.digest = b.digest AND p.organization_id = $2)
     FROM blob b WHERE b.digest = $1",
);

/// What anybody could fetch is followed by everybody, so that comes first. A row whose time is over is no proof of a
/// death: the database may have been away. Where it leads somewhere, that is asked first.
const LIVE: Statement = Statement::new(
    "find running fills",
    "SELECT token, address, size, expires_at, scope FROM fill
     WHERE digest = $1 AND scope IN (0, $2) AND leased AND (expires_at >= $3 OR address <> '') ORDER BY scope",
);

const TAKE_OVER: Statement = Statement::new(
    "take over fill",
    "DELETE FROM fill WHERE digest = $1 AND scope = $2 AND leased AND expires_at < $3
     RETURNING storage_key, size",
);

/// The fill goes on without its lease, and may still be the first to commit.
const DEMOTE: Statement = Statement::new(
    "take lease from fill",
    "UPDATE fill SET leased = FALSE WHERE token = $1 AND leased AND expires_at >= $2",
);

const REPLACE: Statement = Statement::new(
    "replace fill",
    "DELETE FROM fill WHERE token = $1 AND leased AND expires_at < $2 RETURNING storage_key, size",
);

const UNDO: Statement = Statement::new("record no fill", "DELETE FROM fill WHERE token = $1");

const RENEW: Statement = Statement::new(
    "renew fills",
    "UPDATE fill SET expires_at = $2
     WHERE token IN (SELECT value ->> 0 FROM json_each($1)) AND (leased OR expires_at >= $3) RETURNING token",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[BLOB, LIVE, TAKE_OVER, DEMOTE, REPLACE, UNDO, RENEW];

/// A fill that a process wants to begin.
pub(crate) struct Begin {
    pub(crate) intent: FillIntent,
    /// The fill that has the lease, whose process cannot be reached.
    pub(crate) unreachable: Option<String>,
    pub(crate) now: i64,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn begin(tx: &mut Transaction, begin: &Begin) -> Result<FillLease, MetadataError> {
    let intent = &begin.intent;
    if purpose(tx, intent).await?.is_none() {
        return Ok(FillLease::Found);
    }
    if let Some(token) = &begin.unreachable {
        give_up_on(tx, token, begin).await?;
    }
    match claim(tx, begin).await? {
        Claim::Recorded => {}
        Claim::Held(held) => return Ok(FillLease::Held(held)),
        Claim::Alone => {
            record(tx, intent, Leased::No).await?;
        }
    }
    // Not before the claim: a fill that was committed since the first look has left no row to meet.
    if let Some(purpose) = purpose(tx, intent).await? {
        return Ok(FillLease::Ours(purpose));
    }
    tx.execute(UNDO, args![&intent.token]).await?;
    Ok(FillLease::Found)
}

/// None: nothing is to be fetched. A blob that no manifest names is filled like one that is not stored, and the
/// commit finds that it is not wanted any more.
async fn purpose(tx: &mut Transaction, intent: &FillIntent) -> Result<Option<FillPurpose>, MetadataError> {
    let values = args![&intent.digest, scope_number(intent.scope)];
    let Some(row) = tx.fetch_optional(BLOB, values).await? else {
        return Ok(Some(FillPurpose::Store));
    };
    Ok(match (row.flag(0)?, row.flag(1)?) {
        (false, _) => Some(FillPurpose::Store),
        (true, false) => Some(FillPurpose::Prove),
        (true, true) => None,
    })
}

/// A fill that is silent for too long, or cannot be reached at all, is not waited for. Of several that find so one takes
/// its place, and the others follow that one.
async fn give_up_on(tx: &mut Transaction, token: &str, begin: &Begin) -> Result<(), MetadataError> {
    if let Some(row) = tx.fetch_optional(REPLACE, args![token, begin.now]).await? {
        let (key, size) = (row.text(0)?, row.int(1)?);
        tx.execute(DISCARD, args![&key, size, begin.garbage_not_before])
            .await?;
        return Ok(());
    }
    tx.execute(DEMOTE, args![token, begin.now]).await?;
    Ok(())
}

enum Claim {
    /// The intent has the lease.
    Recorded,
    Held(HeldFill),
    /// The lease is for bytes of another length, or changes hands all the time.
    Alone,
}

async fn claim(tx: &mut Transaction, begin: &Begin) -> Result<Claim, MetadataError> {
    let intent = &begin.intent;
    let scope = scope_number(intent.scope);
    for _ in 0..ROUNDS {
        let mut of_other_size = false;
        for row in tx
            .fetch_all(LIVE, args![&intent.digest, scope, begin.now])
            .await?
        {
            let held = held_of(&row)?;
            if held.size == intent.size {
                return Ok(Claim::Held(held));
            }
            of_other_size |= row.int(4)? == scope && held.expires_at >= begin.now;
        }
        if of_other_size {
            break;
        }
        let values = args![&intent.digest, scope, begin.now];
        if let Some(row) = tx.fetch_optional(TAKE_OVER, values).await? {
            let (key, size) = (row.text(0)?, row.int(1)?);
            tx.execute(DISCARD, args![&key, size, begin.garbage_not_before])
                .await?;
        }
        if record(tx, intent, Leased::Yes).await? {
            return Ok(Claim::Recorded);
        }
    }
    Ok(Claim::Alone)
}

fn held_of(row: &Row) -> Result<HeldFill, MetadataError> {
    Ok(HeldFill {
        token: row.text(0)?,
        address: row.text(1)?,
        size: row.count(2)?,
        expires_at: row.int(3)?,
    })
}

pub(crate) async fn held(
    engine: &Engine,
    digest: &Digest,
    scope: Option<OrganizationId>,
    now: i64,
) -> Result<Option<HeldFill>, MetadataError> {
    let row = engine
        .fetch_optional(LIVE, args![digest, scope_number(scope), now])
        .await?;
    row.as_ref().map(held_of).transpose()
}

/// Fills that go on.
pub(crate) struct Renewal {
    pub(crate) tokens: Vec<(String,)>,
    pub(crate) now: i64,
    pub(crate) expires_at: i64,
}

/// The tokens whose rows are still there.
pub(crate) async fn renew(tx: &mut Transaction, renewal: &Renewal) -> Result<Vec<String>, MetadataError> {
    let values = args![&Rows::new(&renewal.tokens)?, renewal.expires_at, renewal.now];
    let rows = tx.fetch_all(RENEW, values).await?;
    rows.iter().map(|row| row.text(0)).collect()
}
