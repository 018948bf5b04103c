//! Pulls and checks of what is held already (M3, M9, M11, M15). No bytes change, so no organization
//! is locked.
//!
//! The end time follows the later pull, so that a lowered TTL bites. A batch that arrives after a
//! later one was written never shortens a life, only `pulled_at` says that it came late.
//!
//! A time that lies more than ten minutes ahead was written before the clock was set back: no batch
//! waits that long, so it counts as past (E3).

use crate::engine::{Transaction, Turn};
use crate::queries::{count, usage};
use crate::sql::{Statement, args};
use crate::{INDEX_DEPTH, ManifestId, MetadataError, OrganizationId, RESOLVED_FOR_MS, Renewal, RepositoryId};

/// `SET` clauses of a pull at `$at` until `$end`.
macro_rules! pull {
    ($at:literal, $end:literal) => {
        concat!(
            "ends_at = CASE WHEN ",
            $at,
            " >= pulled_at OR pulled_at > ",
            $at,
            " + 600000 OR ",
            $end,
            " > ends_at THEN ",
            $end,
            " ELSE ends_at END, ",
            used!($at)
        )
    };
}

/// `SET` clause of a use at `$at`.
macro_rules! used {
    ($at:literal) => {
        concat!(
            "pulled_at = CASE WHEN ",
            $at,
            " > pulled_at OR pulled_at > ",
            $at,
            " + 600000 THEN ",
            $at,
            " ELSE pulled_at END"
        )
    };
}

/// `SET` clauses of a check at `$at` that upstream confirmed. A failure one millisecond ahead may be
/// of the same moment, see [`FAILED`].
macro_rules! confirmed {
    ($at:literal) => {
        concat!(
            "checked_at = CASE WHEN ",
            $at,
            " > checked_at OR checked_at > ",
            $at,
            " + 600000 THEN ",
            $at,
            " ELSE checked_at END, failed_at = CASE WHEN failed_at <= ",
            $at,
            " + 1 OR failed_at > ",
            $at,
            " + 600000 THEN 0 ELSE failed_at END"
        )
    };
}

/// Puts a pin on manifest `$2` of repository `$1` until `$4`, unless something live at `$3`, a held
/// index or a held subject holds it. Waits for whoever is about to release it.
macro_rules! put_pin {
    ($when:literal) => {
        concat!(
            "INSERT INTO tag (repository_id, organization_id, name, manifest_id, current, ends_at,
                              pulled_at, checked_at)
             SELECT m.repository_id, m.organization_id, '', m.id, TRUE, $4, $3, 0
             FROM manifest m
             WHERE m.id = $2 AND m.repository_id = $1 AND ",
            $when,
            "  AND NOT EXISTS (
                 SELECT 1 FROM tag t WHERE t.manifest_id = m.id AND t.current AND t.ends_at > $3)
               AND NOT EXISTS (
                 SELECT 1 FROM manifest_child c
                 JOIN manifest p ON p.id = c.parent_id AND p.released_at IS NULL
                 WHERE c.repository_id = m.repository_id AND c.digest = m.digest)
               AND NOT EXISTS (
                 SELECT 1 FROM manifest s
                 WHERE s.repository_id = m.repository_id AND s.digest = m.subject
                   AND s.released_at IS NULL)
             /* FOR SHARE OF m */
             ON CONFLICT (repository_id, name, manifest_id) DO UPDATE SET
               ends_at = excluded.ends_at,
               pulled_at = CASE WHEN excluded.pulled_at > tag.pulled_at THEN excluded.pulled_at
                                ELSE tag.pulled_at END"
        )
    };
}
pub(crate) use put_pin;

/// Manifest `$2` of repository `$1` and the held indexes around it, up to `$5` of them deep.
macro_rules! holders {
    () => {
        "WITH RECURSIVE holder (id, digest, depth) AS (
           SELECT m.id, m.digest, 0 FROM manifest m
           WHERE m.id = $2 AND m.repository_id = $1 AND m.released_at IS NULL
           UNION
           SELECT p.id, p.digest, h.depth + 1
           FROM holder h CROSS JOIN manifest_child c CROSS JOIN manifest p
           WHERE h.depth < $5 AND c.repository_id = $1 AND c.digest = h.digest
             AND p.id = c.parent_id AND p.released_at IS NULL
         ) "
    };
}

/// A tag that died while it was being checked is revived (M5): its row held all the time, so no bytes
/// are added.
const TAG: Statement = Statement::new(
    "renew tag",
    concat!(
        "UPDATE tag SET ",
        pull!("$4", "$5"),
        " WHERE repository_id = $1 AND name = $2 AND manifest_id = $3 AND current"
    ),
);

const CHECKED: Statement = Statement::new(
    "record check of tag",
    concat!(
        "UPDATE tag SET ",
        confirmed!("$4"),
        " WHERE repository_id = $1 AND name = $2 AND manifest_id = $3 AND current"
    ),
);

/// A failure in the millisecond of a confirmation came after it: the batch is in order.
const FAILED: Statement = Statement::new(
    "record failed check of tag",
    "UPDATE tag SET
       failed_at = CASE WHEN checked_at > $3 + 600000 OR $3 > checked_at THEN $3
                        ELSE checked_at + 1 END,
       checked_at = CASE WHEN checked_at > $3 + 600000 THEN 0 ELSE checked_at END
     WHERE repository_id = $1 AND name = $2 AND name <> '' AND current
       AND ($3 >= checked_at OR checked_at > $3 + 600000)
       AND ($3 >= failed_at OR failed_at > $3 + 600000)",
);

const DIGEST: Statement = Statement::new(
    "renew holders of manifest",
    concat!(
        holders!(),
        "UPDATE tag SET ",
        pull!("$3", "$4"),
        " WHERE manifest_id IN (SELECT id FROM holder) AND current AND failed_at <= checked_at
            AND (ends_at > $3
                 OR (name <> '' AND resolved_at > 0 AND resolved_at BETWEEN $3 - $6 AND $3))"
    ),
);

const PIN: Statement = Statement::new("put pin", put_pin!("m.released_at IS NULL"));

const PIN_RELEASED: Statement = Statement::new("put pin", put_pin!("TRUE"));

const RELEASED: Statement = Statement::new(
    "find released manifest",
    "SELECT organization_id FROM manifest
     WHERE id = $2 AND repository_id = $1 AND released_at IS NOT NULL",
);

const STILL_RELEASED: Statement = Statement::new(
    "lock released manifest",
    "SELECT id FROM manifest WHERE id = $1 AND released_at IS NOT NULL /* FOR UPDATE */",
);

const TAG_USED: Statement = Statement::new(
    "record use of tag",
    concat!(
        "UPDATE tag SET ",
        used!("$4"),
        " WHERE repository_id = $1 AND name = $2 AND manifest_id = $3"
    ),
);

const DIGEST_USED: Statement = Statement::new(
    "record use of manifest",
    concat!(
        holders!(),
        "UPDATE tag SET ",
        used!("$3"),
        " WHERE manifest_id IN (SELECT id FROM holder) AND current AND ends_at > $4"
    ),
);

const RESOLVED: Statement = Statement::new(
    "mark tag resolved",
    concat!(
        "UPDATE tag SET resolved_at = $4, ",
        confirmed!("$4"),
        " WHERE repository_id = $1 AND name = $2 AND manifest_id = $3 AND current AND name <> ''"
    ),
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[
    TAG,
    CHECKED,
    FAILED,
    DIGEST,
    PIN,
    RELEASED,
    STILL_RELEASED,
    TAG_USED,
    DIGEST_USED,
    RESOLVED,
];

pub(crate) async fn renew(tx: &mut Transaction, batch: &Vec<Renewal>) -> Result<(), MetadataError> {
    // Two batches name the same tags in different orders.
    tx.in_turn(Turn::Renew).await?;
    for renewal in batch {
        apply(tx, renewal).await?;
    }
    Ok(())
}

async fn apply(tx: &mut Transaction, renewal: &Renewal) -> Result<(), MetadataError> {
    match renewal {
        Renewal::Tag {
            repository,
            name,
            manifest,
            at,
            ends_at,
        } => {
            tx.execute(TAG, args![*repository, name, *manifest, *at, *ends_at])
                .await?;
        }
        Renewal::Checked {
            repository,
            name,
            manifest,
            at,
        } => {
            tx.execute(CHECKED, args![*repository, name, *manifest, *at])
                .await?;
        }
        Renewal::Failed { repository, name, at } => {
            tx.execute(FAILED, args![*repository, name, *at]).await?;
        }
        Renewal::Digest {
            repository,
            manifest,
            at,
            ends_at,
            quota_bytes,
        } => {
            let values = args![
                *repository,
                *manifest,
                *at,
                *ends_at,
                INDEX_DEPTH,
                RESOLVED_FOR_MS
            ];
            tx.execute(DIGEST, values).await?;
            tx.execute(PIN, args![*repository, *manifest, *at, *ends_at])
                .await?;
            take_back(tx, *repository, *manifest, (*at, *ends_at), *quota_bytes).await?;
        }
        Renewal::Used {
            repository,
            manifest,
            name: Some(name),
            at,
        } => {
            tx.execute(TAG_USED, args![*repository, name, *manifest, *at])
                .await?;
        }
        Renewal::Used {
            repository,
            manifest,
            name: None,
            at,
        } => {
            let values = args![*repository, *manifest, *at, *at, INDEX_DEPTH];
            tx.execute(DIGEST_USED, values).await?;
        }
    }
    Ok(())
}

/// A manifest that was swept between the pull and the batch that tells of it is held again by a pin: the
/// client has its answer, and the next one must not find the content gone (G3, M9). Unless there is no
/// room: nothing is pruned for an answer that was given already, so it stays released, and the next pull
/// asks for an admission (Q3, Q8).
async fn take_back(
    tx: &mut Transaction,
    repository: RepositoryId,
    manifest: ManifestId,
    (at, ends_at): (i64, i64),
    quota_bytes: Option<u64>,
) -> Result<(), MetadataError> {
    let Some(released) = tx.fetch_optional(RELEASED, args![repository, manifest]).await? else {
        return Ok(());
    };
    let organization = OrganizationId(released.int(0)?);
    // Locked before it is read: nobody else may count on the same room.
    let usage_bytes = usage::lock(tx, organization).await?;
    let released = tx.fetch_optional(STILL_RELEASED, args![manifest]).await?;
    if released.is_none() {
        return Ok(());
    }
    let uncounted = count::weigh(tx, organization, manifest).await?;
    let fits = quota_bytes.is_none_or(|quota| usage_bytes + uncounted.bytes <= quota);
    if uncounted.bytes > 0 && !fits {
        return Ok(());
    }
    tx.execute(PIN_RELEASED, args![repository, manifest, at, ends_at])
        .await?;
    count::hold(tx, organization, &uncounted).await
}

/// A tag that a HEAD found dead and unchanged.
pub(crate) struct Resolved {
    pub(crate) repository: RepositoryId,
    pub(crate) tag: String,
    pub(crate) manifest: ManifestId,
    pub(crate) now: i64,
}

pub(crate) async fn mark_resolved(tx: &mut Transaction, resolved: &Resolved) -> Result<(), MetadataError> {
    let Resolved {
        repository,
        tag,
        manifest,
        now,
    } = resolved;
    tx.execute(RESOLVED, args![*repository, tag, *manifest, *now])
        .await?;
    Ok(())
}
