//! Leases by name.

use crate::engine::{Engine, Transaction};
use crate::sql::{Statement, args};
use crate::{Lease, MetadataError, Taken};

/// One that is ours is renewed, one that expired is taken over. A note is left alone until it expires, also by
/// the process that wrote it.
const TAKE: Statement = Statement::new(
    "take lease",
    "INSERT INTO lease (name, holder, expires_at, note) VALUES ($1, $2, $4, NULL)
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at, note = NULL
     WHERE lease.expires_at < $3 OR (lease.holder = excluded.holder AND lease.note IS NULL)",
);

const TAKE_NOTED: Statement = Statement::new(
    "take lease with note",
    "UPDATE lease SET holder = $2, expires_at = $3, note = NULL
     WHERE name = $1 AND holder = $4 AND expires_at = $5 AND note = $6",
);

const READ: Statement = Statement::new(
    "read lease",
    "SELECT holder, expires_at, note FROM lease WHERE name = $1",
);

const GIVE: Statement = Statement::new(
    "give lease",
    "DELETE FROM lease WHERE name = $1 AND holder = $2 AND note IS NULL",
);

const NOTE: Statement = Statement::new(
    "give lease with note",
    "UPDATE lease SET note = $3, expires_at = $4 WHERE name = $1 AND holder = $2 AND note IS NULL",
);

/// One that was given back stays so, however late this comes.
const RENEW: Statement = Statement::new(
    "renew lease",
    "UPDATE lease SET expires_at = $3 WHERE name = $1 AND holder = $2 AND note IS NULL",
);

/// There are as many leases as things that are being done.
const GIVE_ALL: Statement = Statement::new(
    "give leases of process",
    "DELETE FROM lease WHERE holder = $1 AND note IS NULL",
);

const EXPIRE: Statement = Statement::new("drop expired leases", "DELETE FROM lease WHERE expires_at < $1");

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[TAKE, TAKE_NOTED, READ, GIVE, NOTE, RENEW];

/// How often a lease is asked for that somebody gives back meanwhile.
const ROUNDS: usize = 3;

/// A lease that somebody wants.
pub(crate) struct Want {
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) now: i64,
    pub(crate) expires_at: i64,
}

pub(crate) async fn take(tx: &mut Transaction, want: &Want) -> Result<Taken, MetadataError> {
    let Want {
        name,
        holder,
        now,
        expires_at,
    } = want;
    for _ in 0..ROUNDS {
        let values = args![name, holder, *now, *expires_at];
        if tx.execute(TAKE, values).await? > 0 {
            return Ok(Taken::Ours);
        }
        if let Some(row) = tx.fetch_optional(READ, args![name]).await? {
            return Ok(Taken::Held(lease_of(&row)?));
        }
    }
    Err(MetadataError::Unavailable {
        action: TAKE.action,
        source: "it changes hands all the time".into(),
    })
}

/// A lease with a note that somebody wants in spite of the note.
pub(crate) struct Overrule {
    pub(crate) want: Want,
    pub(crate) noted: Lease,
}

pub(crate) async fn overrule(tx: &mut Transaction, overrule: &Overrule) -> Result<Taken, MetadataError> {
    let Overrule { want, noted } = overrule;
    if let Some(note) = &noted.note {
        let values = args![
            &want.name,
            &want.holder,
            want.expires_at,
            &noted.holder,
            noted.expires_at,
            note
        ];
        if tx.execute(TAKE_NOTED, values).await? > 0 {
            return Ok(Taken::Ours);
        }
    }
    take(tx, want).await
}

pub(crate) async fn read(engine: &Engine, name: &str) -> Result<Option<Lease>, MetadataError> {
    let row = engine.fetch_optional(READ, args![name]).await?;
    row.as_ref().map(lease_of).transpose()
}

fn lease_of(row: &crate::sql::Row) -> Result<Lease, MetadataError> {
    Ok(Lease {
        holder: row.text(0)?,
        expires_at: row.int(1)?,
        note: row.optional_text(2)?,
    })
}

/// A lease that goes back.
pub(crate) struct Gift {
    pub(crate) name: String,
    pub(crate) holder: String,
    /// What is left to read, and until when.
    pub(crate) note: Option<(String, i64)>,
}

pub(crate) async fn give(tx: &mut Transaction, gift: &Gift) -> Result<(), MetadataError> {
    match &gift.note {
        None => tx.execute(GIVE, args![&gift.name, &gift.holder]).await?,
        Some((note, until)) => {
            tx.execute(NOTE, args![&gift.name, &gift.holder, note, *until])
                .await?
        }
    };
    Ok(())
}

/// A lease that is to last longer.
pub(crate) struct Renewal {
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) expires_at: i64,
}

pub(crate) async fn renew(tx: &mut Transaction, renewal: &Renewal) -> Result<(), MetadataError> {
    let values = args![&renewal.name, &renewal.holder, renewal.expires_at];
    tx.execute(RENEW, values).await?;
    Ok(())
}

pub(crate) async fn give_all(tx: &mut Transaction, holder: &String) -> Result<u64, MetadataError> {
    tx.execute(GIVE_ALL, args![holder]).await
}

pub(crate) async fn expire(tx: &mut Transaction, now: &i64) -> Result<u64, MetadataError> {
    tx.execute(EXPIRE, args![*now]).await
}
