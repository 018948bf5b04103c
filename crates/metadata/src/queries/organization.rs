//! Organizations of an accepted file (G5).

use std::collections::{HashMap, HashSet};

use crate::engine::{Engine, Transaction, Turn};
use crate::sql::{Row, Statement, args};
use crate::{KnownOrganization, MetadataError, OrganizationId, OrganizationIdentity};

const KNOWN: Statement = Statement::new(
    "read known organizations",
    "SELECT id, uid, name, upstream, window_ms FROM organization WHERE removed_at IS NULL ORDER BY name",
);

const FIND: Statement = Statement::new(
    "find organization",
    "SELECT id FROM organization WHERE uid = $1 AND upstream = $2 /* FOR UPDATE */",
);

const REMOVE: Statement = Statement::new(
    "remove organization",
    "UPDATE organization SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL",
);

const INSERT: Statement = Statement::new(
    "insert organization",
    "INSERT INTO organization (uid, name, upstream, window_ms) VALUES ($1, $2, $3, $4) RETURNING id",
);

const UPDATE: Statement = Statement::new(
    "update organization",
    "UPDATE organization SET name = $2, window_ms = $3, removed_at = NULL WHERE id = $1",
);

/// What an accepted file says.
pub(crate) struct Sync {
    pub(crate) wanted: Vec<OrganizationIdentity>,
    /// Identities that stay as they are though they are not served, as (uid, upstream).
    pub(crate) keep: Vec<(String, String)>,
    pub(crate) now: i64,
}

fn known_of(row: &Row) -> Result<KnownOrganization, MetadataError> {
    Ok(KnownOrganization {
        id: row.organization(0)?,
        uid: row.text(1)?,
        name: row.text(2)?,
        upstream: row.text(3)?,
    })
}

pub(crate) async fn known(engine: &Engine) -> Result<Vec<KnownOrganization>, MetadataError> {
    let rows = engine.fetch_all(KNOWN, args![]).await?;
    rows.iter().map(known_of).collect()
}

pub(crate) async fn sync(tx: &mut Transaction, sync: &Sync) -> Result<Vec<OrganizationId>, MetadataError> {
    tx.in_turn(Turn::Organizations).await?;
    let (mut known, mut unchanged) = (Vec::new(), HashMap::new());
    for row in tx.fetch_all(KNOWN, args![]).await? {
        let organization = known_of(&row)?;
        unchanged.insert(identity_of(&organization, row.int(4)?), organization.id);
        known.push(organization);
    }
    for organization in displaced(&known, sync) {
        tx.execute(REMOVE, args![organization, sync.now]).await?;
    }
    let mut ids = Vec::with_capacity(sync.wanted.len());
    for identity in &sync.wanted {
        // Almost always almost all of them: pulls wait while this is written.
        ids.push(match unchanged.get(identity) {
            Some(id) => *id,
            None => put(tx, identity).await?,
        });
    }
    Ok(ids)
}

fn identity_of(organization: &KnownOrganization, window_ms: i64) -> OrganizationIdentity {
    OrganizationIdentity {
        uid: organization.uid.clone(),
        name: organization.name.clone(),
        upstream: organization.upstream.clone(),
        window_ms,
    }
}

/// The known organizations that have to make room: those that are absent, and those whose name goes
/// to another. A wanted one that changes its name is among them only until it is put back, so that
/// two can swap their names.
fn displaced(known: &[KnownOrganization], sync: &Sync) -> Vec<OrganizationId> {
    let wanted: HashSet<_> = sync
        .wanted
        .iter()
        .map(|identity| {
            (
                identity.uid.as_str(),
                identity.upstream.as_str(),
                identity.name.as_str(),
            )
        })
        .collect();
    let names: HashSet<_> = sync
        .wanted
        .iter()
        .map(|identity| identity.name.as_str())
        .collect();
    let kept: HashSet<_> = sync
        .keep
        .iter()
        .map(|(uid, upstream)| (uid.as_str(), upstream.as_str()))
        .collect();
    known
        .iter()
        .filter(|row| {
            let unchanged = wanted.contains(&(row.uid.as_str(), row.upstream.as_str(), row.name.as_str()));
            let kept = kept.contains(&(row.uid.as_str(), row.upstream.as_str()))
                && !names.contains(row.name.as_str());
            !unchanged && !kept
        })
        .map(|row| row.id)
        .collect()
}

async fn put(tx: &mut Transaction, identity: &OrganizationIdentity) -> Result<OrganizationId, MetadataError> {
    let OrganizationIdentity {
        uid,
        name,
        upstream,
        window_ms,
    } = identity;
    if let Some(row) = tx.fetch_optional(FIND, args![uid, upstream]).await? {
        let id = row.organization(0)?;
        tx.execute(UPDATE, args![id, name, *window_ms]).await?;
        return Ok(id);
    }
    tx.fetch_one(INSERT, args![uid, name, upstream, *window_ms])
        .await?
        .organization(0)
}
