//! Room for what was counted: a planner says what goes, and it goes (Q5, Q6).

use std::collections::HashMap;

use crate::engine::Transaction;
use crate::queries::candidates::{Candidates, Latest};
use crate::queries::{release, usage};
use crate::sql::{Rows, Statement, args};
use crate::{
    Candidate, Demand, ManifestId, MetadataError, Opening, OrganizationId, Plan, Planner, Pruned, Pruning,
    Refusal, Start, Step,
};

/// How many candidates go at once, so that no statement takes too much.
pub(crate) const STEP: usize = 256;

const NAMES: Statement = Statement::new(
    "name what is pruned",
    "SELECT m.id, r.name, m.digest FROM manifest m CROSS JOIN repository r
     WHERE m.id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1)) AND r.id = m.repository_id",
);

const TAGS: Statement = Statement::new(
    "find tags and pins of what is pruned",
    "SELECT manifest_id, name FROM tag
     WHERE manifest_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

/// A pruned tag skips the time machine (Q6).
const DROP_HOLDERS: Statement = Statement::new(
    "prune tags and pins",
    "DELETE FROM tag WHERE manifest_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     RETURNING manifest_id, name",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[NAMES, TAGS, DROP_HOLDERS];

/// What room is for.
pub(crate) struct Room {
    pub(crate) organization: OrganizationId,
    /// The manifest for which it is, which is counted.
    pub(crate) pulled: Option<ManifestId>,
    pub(crate) demand: Demand,
    pub(crate) now: i64,
}

/// What came of it.
pub(crate) enum Made {
    /// It fits now. Perhaps nothing had to go.
    Pruned(Pruning),
    Refused(Refusal),
    Deferred,
}

/// A candidate that is to go.
#[derive(Clone, Copy)]
pub(crate) struct Evicted {
    pub(crate) candidate: Candidate,
    /// Its rows as they were when that was decided.
    pub(crate) latest: Latest,
    /// How many bytes go with it.
    pub(crate) freed_bytes: u64,
}

/// What a planner said.
pub(crate) enum Planned {
    /// This makes it fit; nothing, if it does as it is.
    Evict {
        evicted: Vec<Evicted>,
        rows_read: u64,
    },
    Refused(Refusal),
    Deferred,
}

/// Makes room in an organization that is locked.
pub(crate) async fn make(
    tx: &mut Transaction,
    room: &Room,
    planner: &dyn Planner,
) -> Result<Made, MetadataError> {
    let (evicted, rows_read) = match plan(tx, room, planner).await? {
        Planned::Evict { evicted, rows_read } => (evicted, rows_read),
        Planned::Refused(refusal) => return Ok(Made::Refused(refusal)),
        Planned::Deferred => return Ok(Made::Deferred),
    };
    let mut pruning = Pruning {
        pruned: Vec::with_capacity(evicted.len()),
        usage_bytes: room.demand.usage_bytes,
        rows_read,
    };
    for evicted in evicted.chunks(STEP) {
        let pruned = evict(tx, room.organization, evicted, room.now).await?;
        pruning.pruned.extend(pruned);
    }
    if !pruning.pruned.is_empty() {
        pruning.usage_bytes = usage::lock(tx, room.organization).await?;
    }
    Ok(Made::Pruned(pruning))
}

/// Asks the planner what would have to go. Only reads.
pub(crate) async fn plan(
    tx: &mut Transaction,
    room: &Room,
    planner: &dyn Planner,
) -> Result<Planned, MetadataError> {
    let mut plan = match planner.open(&room.demand) {
        Opening::Admit => {
            return Ok(Planned::Evict {
                evicted: Vec::new(),
                rows_read: 0,
            });
        }
        Opening::Refuse(refusal) => return Ok(Planned::Refused(refusal)),
        Opening::Plan(plan) => plan,
    };
    let mut candidates = Candidates::new(tx, room.organization, room.pulled, room.now).await?;
    match plan.start(candidates.staying(tx).await?) {
        Start::Go => {}
        Start::Defer => return Ok(Planned::Deferred),
        Start::Refuse(refusal) => return Ok(Planned::Refused(refusal)),
    }
    Ok(match ask(tx, &mut candidates, plan).await? {
        Ok(evicted) => Planned::Evict {
            evicted,
            rows_read: candidates.rows_read(),
        },
        Err(refusal) => Planned::Refused(refusal),
    })
}

/// Shows the plan one page after the other until it has decided.
async fn ask(
    tx: &mut Transaction,
    candidates: &mut Candidates,
    mut plan: Box<dyn Plan>,
) -> Result<Result<Vec<Evicted>, Refusal>, MetadataError> {
    let mut shown = HashMap::new();
    loop {
        let page = candidates.page(tx).await?;
        let manifests = page.candidates.iter();
        shown.extend(manifests.map(|candidate| (candidate.manifest, *candidate)));
        match plan.page(&page) {
            Step::Evict(chosen) => {
                let chosen = chosen.iter().map(|eviction| {
                    Some(Evicted {
                        candidate: *shown.get(&eviction.manifest)?,
                        latest: candidates.latest(eviction.manifest)?,
                        freed_bytes: eviction.freed_bytes,
                    })
                });
                let chosen: Option<Vec<Evicted>> = chosen.collect();
                return Ok(Ok(chosen.ok_or_else(|| wrong("what goes is no candidate"))?));
            }
            Step::Refuse(refusal) => return Ok(Err(refusal)),
            Step::More if page.last => return Err(wrong("undecided after the last candidate")),
            Step::More => {}
        }
    }
}

fn wrong(plan: &'static str) -> MetadataError {
    MetadataError::Failed {
        action: "plan what is pruned",
        source: plan.into(),
    }
}

/// Lets them go.
pub(crate) async fn evict(
    tx: &mut Transaction,
    organization: OrganizationId,
    evicted: &[Evicted],
    now: i64,
) -> Result<Vec<Pruned>, MetadataError> {
    let manifests: Vec<ManifestId> = evicted.iter().map(|one| one.candidate.manifest).collect();
    let pruned = describe(tx, &manifests, evicted, DROP_HOLDERS).await?;
    release::release(tx, organization, &manifests, now).await?;
    Ok(pruned)
}

/// What would be said of them if they went. Only reads.
pub(crate) async fn rehearse(
    tx: &mut Transaction,
    evicted: &[Evicted],
) -> Result<Vec<Pruned>, MetadataError> {
    let manifests: Vec<ManifestId> = evicted.iter().map(|one| one.candidate.manifest).collect();
    describe(tx, &manifests, evicted, TAGS).await
}

/// `holders` gives the tags and pins that they have, or had.
async fn describe(
    tx: &mut Transaction,
    manifests: &[ManifestId],
    evicted: &[Evicted],
    holders: Statement,
) -> Result<Vec<Pruned>, MetadataError> {
    let given = Rows::manifests(manifests)?;
    let mut named = HashMap::new();
    for row in tx.fetch_all(NAMES, args![&given]).await? {
        named.insert(row.manifest(0)?, (row.text(1)?, row.digest(2)?));
    }
    let mut tags: HashMap<ManifestId, Vec<String>> = HashMap::new();
    for row in tx.fetch_all(holders, args![&given]).await? {
        tags.entry(row.manifest(0)?).or_default().push(row.text(1)?);
    }
    let pruned = evicted.iter().map(|one| {
        let candidate = one.candidate;
        let Some((repository, digest)) = named.remove(&candidate.manifest) else {
            return Err(wrong("what goes is gone"));
        };
        let mut tags = tags.remove(&candidate.manifest).unwrap_or_default();
        tags.retain(|name| !name.is_empty());
        tags.sort_unstable();
        Ok(Pruned {
            repository,
            digest,
            tags,
            last_used_at: candidate.last_used_at,
            standing: candidate.standing,
            freed_bytes: one.freed_bytes,
        })
    });
    pruned.collect()
}
