//! Room for what was counted: a planner says what goes, and it goes (Q5, Q6).

use std::collections::HashMap;

use crate::engine::Transaction;
use crate::queries::candidates::Candidates;
use crate::queries::{release, usage};
use crate::sql::{Statement, args};
use crate::{
    Candidate, Demand, ManifestId, MetadataError, Opening, OrganizationId, Plan, Planner, Pruned, Pruning,
    Refusal, Step,
};

const NAME: Statement = Statement::new(
    "name what is pruned",
    "SELECT r.name, m.digest FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE m.id = $1",
);

/// A pruned tag skips the time machine (Q6).
const DROP_HOLDERS: Statement = Statement::new(
    "prune tags and pin",
    "DELETE FROM tag WHERE manifest_id = $1 RETURNING name",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[NAME, DROP_HOLDERS];

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

/// Makes room in an organization that is locked.
pub(crate) async fn make(
    tx: &mut Transaction,
    room: &Room,
    planner: &dyn Planner,
) -> Result<Made, MetadataError> {
    let plan = match planner.open(&room.demand) {
        Opening::Admit => {
            return Ok(Made::Pruned(Pruning {
                usage_bytes: room.demand.usage_bytes,
                ..Pruning::default()
            }));
        }
        Opening::Refuse(refusal) => return Ok(Made::Refused(refusal)),
        Opening::Defer => return Ok(Made::Deferred),
        Opening::Plan(plan) => plan,
    };
    let mut candidates = Candidates::new(tx, room.organization, room.pulled, room.now).await?;
    let evicted = match ask(tx, &mut candidates, plan).await? {
        Ok(evicted) => evicted,
        Err(refusal) => return Ok(Made::Refused(refusal)),
    };
    let mut pruning = Pruning {
        pruned: Vec::with_capacity(evicted.len()),
        usage_bytes: room.demand.usage_bytes,
        rows_read: candidates.rows_read(),
    };
    for candidate in evicted {
        evict(tx, room, candidate, &mut pruning).await?;
    }
    Ok(Made::Pruned(pruning))
}

/// Shows the plan one page after the other until it has decided.
async fn ask(
    tx: &mut Transaction,
    candidates: &mut Candidates,
    mut plan: Box<dyn Plan>,
) -> Result<Result<Vec<Candidate>, Refusal>, MetadataError> {
    let mut shown = HashMap::new();
    loop {
        let page = candidates.page(tx).await?;
        let manifests = page.candidates.iter();
        shown.extend(manifests.map(|candidate| (candidate.manifest, *candidate)));
        match plan.page(&page) {
            Step::Evict(chosen) => {
                let chosen = chosen.into_iter().map(|manifest| shown.get(&manifest).copied());
                let chosen: Option<Vec<Candidate>> = chosen.collect();
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
    candidate: Candidate,
    pruning: &mut Pruning,
) -> Result<(), MetadataError> {
    let manifest = candidate.manifest;
    let named = tx.fetch_one(NAME, args![manifest]).await?;
    let rows = tx.fetch_all(DROP_HOLDERS, args![manifest]).await?;
    let mut tags = Vec::with_capacity(rows.len());
    for row in rows {
        tags.push(row.text(0)?);
    }
    tags.retain(|name| !name.is_empty());
    tags.sort_unstable();
    release::release(tx, room.organization, &[manifest], room.now).await?;
    let before = pruning.usage_bytes;
    pruning.usage_bytes = usage::lock(tx, room.organization).await?;
    pruning.pruned.push(Pruned {
        repository: named.text(0)?,
        digest: named.digest(1)?,
        tags,
        last_used_at: candidate.last_used_at,
        standing: candidate.standing,
        freed_bytes: before.saturating_sub(pruning.usage_bytes),
    });
    Ok(())
}
