//! The rules of the quota against the database that they are for: what a plan counts on is what happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "quota/oracle.rs"]
mod oracle;
#[path = "quota/shelf.rs"]
mod shelf;

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use quayside_metadata::{AdmitError, Hold, ManifestId, Planner, Pruned, Unlimited};
use quayside_registry::quota::{Planning, QuotaPlanner};

use oracle::Oracle;
use shelf::{Made, Shelf, TTL, manifests};

/// When room is asked for: what was pulled in the first third is dead.
const NOW: i64 = TTL + TTL / 2;

const REPOSITORIES: [&str; 2] = ["app", "library/base"];
const TAGS: [&str; 3] = ["", "1", "latest"];

/// A pull of a manifest, by their numbers; a pull by no tag pins.
#[derive(Clone, Debug)]
struct Pull {
    repository: usize,
    manifest: usize,
    tag: usize,
    at: i64,
}

impl Pull {
    fn hold(&self) -> Hold<'static> {
        let ends_at = self.at + TTL;
        match TAGS[self.tag] {
            "" => Hold::Pin { ends_at },
            name => Hold::Tag {
                name,
                ends_at,
                checked_at: self.at,
            },
        }
    }
}

#[derive(Clone, Debug)]
struct Situation {
    pulls: Vec<Pull>,
    last: Pull,
    /// Of the bytes in use with the last pull, how many in a thousand may stay.
    quota_per_mille: u64,
}

fn situations() -> impl Strategy<Value = Situation> {
    let pull = (0..REPOSITORIES.len(), 0..manifests().len(), 0..TAGS.len(), 0..NOW);
    let pull = pull.prop_map(|(repository, manifest, tag, at)| Pull {
        repository,
        manifest,
        tag,
        at,
    });
    (prop::collection::vec(pull.clone(), 1..9), pull, 100..1000_u64).prop_map(
        |(pulls, last, quota_per_mille)| Situation {
            pulls,
            last: Pull { at: NOW, ..last },
            quota_per_mille,
        },
    )
}

async fn ids(shelf: &Shelf, pruned: &[Pruned]) -> Vec<ManifestId> {
    let mut ids = Vec::new();
    for pruned in pruned {
        ids.push(shelf.id(&pruned.repository, &pruned.digest).await);
    }
    ids
}

/// What the quota's planner does for a pull, held against Q5 to the letter.
async fn admit(shelf: &Shelf, made: &Made, situation: &Situation) -> Result<Option<usize>, TestCaseError> {
    let pull = &situation.last;
    let admission = made.admission(shelf.acme, REPOSITORIES[pull.repository], pull.hold(), NOW);
    let before = shelf.usage().await;
    let unlimited = shelf.metadata.rehearse(&admission, Arc::new(Unlimited)).await;
    let unlimited = unlimited.unwrap();
    let quota = unlimited.usage_bytes * situation.quota_per_mille / 1000;
    let planner: Arc<dyn Planner> = Arc::new(QuotaPlanner::new(quota, Planning::WithPlan));
    let foreseen = shelf.metadata.rehearse(&admission, Arc::clone(&planner)).await;
    let oracle = Oracle {
        shelf,
        admission: &admission,
    };
    // What adds nothing is not asked about (Q3).
    let expected = if unlimited.needed_bytes == 0 {
        Some(Vec::new())
    } else if made.alone() > quota {
        None
    } else {
        oracle.evict(quota).await
    };
    let evicted = match &foreseen {
        Ok(admitted) => Some(ids(shelf, &admitted.pruned).await),
        Err(AdmitError::Quota(refusal)) => {
            prop_assert_eq!(refusal.used_bytes, before);
            prop_assert_eq!(refusal.needed_bytes, unlimited.needed_bytes);
            None
        }
        Err(error) => panic!("{error:?}"),
    };
    prop_assert_eq!(&evicted, &expected);
    prop_assert_eq!(shelf.usage().await, before);

    let admitted = shelf.metadata.admit(&admission, planner).await;
    let usage = shelf.usage().await;
    match (admitted, foreseen) {
        (Ok(admitted), Ok(foreseen)) => {
            prop_assert_eq!(&admitted.pruned, &foreseen.pruned);
            let freed: u64 = admitted.pruned.iter().map(|pruned| pruned.freed_bytes).sum();
            prop_assert_eq!(usage + freed, before + admitted.needed_bytes);
            prop_assert!(usage <= quota || admitted.needed_bytes == 0);
        }
        (Err(AdmitError::Quota(_)), Err(_)) => prop_assert_eq!(usage, before),
        (admitted, foreseen) => panic!("{admitted:?} {foreseen:?}"),
    }
    prop_assert_eq!(shelf.metadata.recount().await.unwrap(), []);
    Ok(evicted.map(|evicted| evicted.len()))
}

/// Q9: the same without a pull, which goes by what a pull would do that has nothing to do with anything.
async fn prune(shelf: &Shelf, quota_per_mille: u64) -> Result<(), TestCaseError> {
    let quota = shelf.usage().await * quota_per_mille / 1000;
    let planner = Arc::new(QuotaPlanner::new(quota, Planning::WithPlan));
    let plan = shelf.metadata.plan_prune(shelf.acme, planner, NOW).await.unwrap();
    let probe = shelf::image("probe", &[("probe", 1)]);
    let admission = probe.admission(shelf.acme, "probe", Hold::Pin { ends_at: NOW + TTL }, NOW);
    let oracle = Oracle {
        shelf,
        admission: &admission,
    };
    let expected = oracle.evict(quota + probe.alone()).await;
    prop_assert_eq!(Some(ids(shelf, &plan.pruned).await), expected);
    prop_assert!(plan.usage_bytes <= quota);
    Ok(())
}

/// Q3-Q6, Q9: whatever is shared with what, the planner that serves pulls takes what Q5 says, in its order and not more,
/// and refuses only what could never fit; the database then has freed what was planned, and counts right.
#[test]
fn the_planner_does_to_the_database_what_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cases = if std::env::var_os("QUAYSIDE_LONG").is_some() {
        1000
    } else {
        40
    };
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (refused, made_room) = (Cell::new(0_u32), Cell::new(0_u32));
    TestRunner::new(config)
        .run(&situations(), |situation| {
            runtime.block_on(async {
                let shelf = Shelf::open().await;
                let made = manifests();
                for pull in &situation.pulls {
                    let repository = REPOSITORIES[pull.repository];
                    let admission =
                        made[pull.manifest].admission(shelf.acme, repository, pull.hold(), pull.at);
                    let admitted = shelf.metadata.admit(&admission, Arc::new(Unlimited)).await;
                    admitted.unwrap();
                }
                prune(&shelf, situation.quota_per_mille).await?;
                match admit(&shelf, &made[situation.last.manifest], &situation).await? {
                    None => refused.set(refused.get() + 1),
                    Some(0) => {}
                    Some(_) => made_room.set(made_room.get() + 1),
                }
                Ok(())
            })
        })
        .unwrap();
    // Neither is rare; of forty it may be two by chance.
    let least = cases / 50;
    assert!(
        refused.get() > least && made_room.get() > least,
        "{refused:?} {made_room:?}"
    );
}
