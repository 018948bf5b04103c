//! Room for what was counted: a planner says what goes, and it goes (Q5, Q6).

use std::collections::HashMap;

use crate::engine::Transaction;
use crate::queries::candidates::Candidates;
use crate::queries::{release, usage};
use crate::sql::{Rows, Statement, args};
use crate::{
    Candidate, Demand, ManifestId, MetadataError, Opening, OrganizationId, Plan, Planner, Pruned, Pruning,
    Refusal, Start, Step,
};

/// How many candidates go at once, so that no statement takes too much.
const STEP: usize = 256;

const NAMES: Statement = Statement::new(
    "name what is pruned",
    "SELECT m.id, r.name, m.digest FROM manifest m CROSS JOIN repository r
     WHERE m.id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1)) AND r.id = m.repository_id",
);

/// A pruned tag skips the time machine (Q6).
const DROP_HOLDERS: Statement = Statement::new(
    "prune tags and pins",
    "DELETE FROM tag WHERE manifest_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     RETURNING manifest_id, name",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[NAMES, DROP_HOLDERS];

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

/// What goes, and how many bytes with it.
type Evicted = (Candidate, u64);

/// Makes room in an organization that is locked.
pub(crate) async fn make(
    tx: &mut Transaction,
    room: &Room,
    planner: &dyn Planner,
) -> Result<Made, MetadataError> {
    let mut plan = match planner.open(&room.demand) {
        Opening::Admit => {
            return Ok(Made::Pruned(Pruning {
                usage_bytes: room.demand.usage_bytes,
                ..Pruning::default()
            }));
        }
        Opening::Refuse(refusal) => return Ok(Made::Refused(refusal)),
        Opening::Plan(plan) => plan,
    };
    let mut candidates = Candidates::new(tx, room.organization, room.pulled, room.now).await?;
    match plan.start(candidates.staying(tx).await?) {
        Start::Go => {}
        Start::Defer => return Ok(Made::Deferred),
        Start::Refuse(refusal) => return Ok(Made::Refused(refusal)),
    }
    let evicted = match ask(tx, &mut candidates, plan).await? {
        Ok(evicted) => evicted,
        Err(refusal) => return Ok(Made::Refused(refusal)),
    };
    let mut pruning = Pruning {
        pruned: Vec::with_capacity(evicted.len()),
        usage_bytes: room.demand.usage_bytes,
        rows_read: candidates.rows_read(),
    };
    for evicted in evicted.chunks(STEP) {
        evict(tx, room, evicted, &mut pruning).await?;
    }
    pruning.usage_bytes = usage::lock(tx, room.organization).await?;
    Ok(Made::Pruned(pruning))
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
                    let candidate = shown.get(&eviction.manifest)?;
                    Some((*candidate, eviction.freed_bytes))
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

async fn evict(
    tx: &mut Transaction,
    room: &Room,
    evicted: &[Evicted],
    pruning: &mut Pruning,
) -> Result<(), MetadataError> {
    let manifests: Vec<ManifestId> = evicted.iter().map(|(candidate, _)| candidate.manifest).collect();
    let given = Rows::manifests(&manifests)?;
    let mut named = HashMap::new();
    for row in tx.fetch_all(NAMES, args![&given]).await? {
        named.insert(row.manifest(0)?, (row.text(1)?, row.digest(2)?));
    }
    let mut tags: HashMap<ManifestId, Vec<String>> = HashMap::new();
    for row in tx.fetch_all(DROP_HOLDERS, args![&given]).await? {
        tags.entry(row.manifest(0)?).or_default().push(row.text(1)?);
    }
    release::release(tx, room.organization, &manifests, room.now).await?;
    for (candidate, freed_bytes) in evicted {
        let Some((repository, digest)) = named.remove(&candidate.manifest) else {
            return Err(wrong("what goes is gone"));
        };
        let mut tags = tags.remove(&candidate.manifest).unwrap_or_default();
        tags.retain(|name| !name.is_empty());
        tags.sort_unstable();
        pruning.pruned.push(Pruned {
            repository,
            digest,
            tags,
            last_used_at: candidate.last_used_at,
            standing: candidate.standing,
            freed_bytes: *freed_bytes,
        });
    }
    Ok(())
}
