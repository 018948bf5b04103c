//! Plans against a database that really deletes and counts.

use futures::future::BoxFuture;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use std::sync::Arc;

use super::planner::{Everything, Greedy, Told};
use super::{dump, order};
use crate::queries::room::{self, Room};
use crate::queries::usage;
use crate::tests::fixture::{Fixture, Made, TTL, image, index, referrer, subject_index};
use crate::{AdmitError, Demand, Hold, ManifestId, MetadataError};

/// When the quota is asked for: what was pulled in the first third is dead.
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
    endless: bool,
}

#[derive(Clone, Debug)]
struct Situation {
    pulls: Vec<Pull>,
    last: Pull,
    /// Of the bytes in use, how many in a thousand may stay.
    quota_per_mille: u64,
}

fn situations() -> impl Strategy<Value = Situation> {
    let pull = (
        0..REPOSITORIES.len(),
        0..manifests().len(),
        0..TAGS.len(),
        0..NOW,
        prop::bool::weighted(0.1),
    );
    let pull = pull.prop_map(|(repository, manifest, tag, at, endless)| Pull {
        repository,
        manifest,
        tag,
        at,
        endless,
    });
    (prop::collection::vec(pull.clone(), 1..9), pull, 0..1100_u64).prop_map(
        |(pulls, last, quota_per_mille)| Situation {
            pulls,
            last,
            quota_per_mille,
        },
    )
}

/// Images that share layers, nested indexes, referrers, and an index that names its own subject.
fn manifests() -> Vec<Made> {
    let one = image("one", &[("l0", 1000), ("l1", 200)]);
    let two = image("two", &[("l0", 1000), ("l2", 3000)]);
    let three = image("three", &[("l3", 700)]);
    let inner = index("inner", &[&one, &two]);
    let outer = index("outer", &[&inner, &three]);
    let about_one = referrer("about one", &one, &[("l3", 700)]);
    let about_outer = referrer("about outer", &outer, &[("l4", 50)]);
    let knot = subject_index("knot", &two, &[&two, &one]);
    vec![one, two, three, inner, outer, about_one, about_outer, knot]
}

/// Q5, Q9: whatever is shared with what, a plan is enough and not more than that, is in the order of dead
/// content and last use, comes to what it said, and leaves everything counted right; a refusal and a plan
/// that is only asked for change nothing. Against the database itself, which tries every plan that takes
/// one less.
pub(in crate::tests) fn any_plan_is_enough_and_no_more<F>(cases: u32, open: F)
where
    F: Fn() -> BoxFuture<'static, Fixture>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&situations(), |situation| {
            runtime.block_on(async {
                let db = open().await;
                let made = manifests();
                for pull in &situation.pulls {
                    let admission = made[pull.manifest].admission(
                        db.acme,
                        REPOSITORIES[pull.repository],
                        hold(pull),
                        pull.at,
                    );
                    let unlimited = Arc::new(crate::Unlimited);
                    db.metadata.admit(&admission, unlimited).await.unwrap();
                }
                prune(&db, situation.quota_per_mille).await?;
                admit(&db, &made, &situation).await
            })
        })
        .unwrap();
}

fn hold(pull: &Pull) -> Hold<'static> {
    let ends_at = if pull.endless { crate::NEVER } else { pull.at + TTL };
    match TAGS[pull.tag] {
        "" => Hold::Pin { ends_at },
        name => Hold::Tag {
            name,
            ends_at,
            checked_at: pull.at,
        },
    }
}

/// Plans a prune, tries it out in part, and does it.
async fn prune(db: &Fixture, quota_per_mille: u64) -> Result<(), TestCaseError> {
    let usage = db.usage(db.acme).await;
    let quota = usage * quota_per_mille / 1000;
    let before = dump(db).await;
    let expected = order(db, NOW).await;
    let planner = Greedy::new(quota);
    let plan = db
        .metadata
        .plan_prune(db.acme, Arc::new(Arc::clone(&planner)), NOW)
        .await;
    let plan = plan.unwrap();
    prop_assert_eq!(&dump(db).await, &before);
    prop_assert!(plan.usage_bytes <= quota);
    let seen = planner.seen().candidates;
    prop_assert_eq!(&seen[..], &expected[..seen.len()]);

    let mut evicted = Vec::new();
    for pruned in &plan.pruned {
        let stored = db
            .metadata
            .manifest(db.acme, &pruned.repository, &pruned.digest)
            .await;
        evicted.push(stored.unwrap().unwrap().id);
    }
    let mut places = expected.iter();
    let in_order = evicted
        .iter()
        .all(|one| places.any(|candidate| candidate.manifest == *one));
    prop_assert!(in_order, "{:?} of {:?}", evicted, expected);
    let mut freed = 0;
    for (number, pruned) in plan.pruned.iter().enumerate() {
        let left = usage_without(db, &evicted[..=number]).await;
        freed += pruned.freed_bytes;
        prop_assert_eq!(usage - left, freed);
        let mut others = evicted.clone();
        others.remove(number);
        prop_assert!(
            usage_without(db, &others).await > quota,
            "{} goes for nothing",
            number
        );
    }
    prop_assert_eq!(&dump(db).await, &before);

    let pruning = db.prune(db.acme, Arc::new(Arc::clone(&planner)), NOW).await;
    prop_assert_eq!(pruning.unwrap(), plan);
    prop_assert_eq!(db.metadata.recount().await.unwrap(), []);
    prop_assert!(db.usage(db.acme).await <= quota);
    Ok(())
}

/// What would be left without these: they go, and come back.
async fn usage_without(db: &Fixture, evicted: &[ManifestId]) -> u64 {
    let tried = (db.acme, Told(evicted.to_vec()));
    let work = db.metadata.engine().write(tried, |tx, (organization, told)| {
        Box::pin(async move {
            let room = Room {
                organization: *organization,
                pulled: None,
                demand: Demand {
                    usage_bytes: usage::lock(tx, *organization).await?,
                    needed_bytes: 0,
                    alone_bytes: 0,
                },
                now: NOW,
            };
            match room::make(tx, &room, told).await? {
                room::Made::Pruned(pruning) => Err::<(), _>(Tried::Left(pruning.usage_bytes)),
                room::Made::Refused(_) | room::Made::Deferred => unreachable!("it does as told"),
            }
        })
    });
    match work.await {
        Err(Tried::Left(usage)) => usage,
        other => panic!("{other:?}"),
    }
}

/// What makes a transaction come to nothing.
#[derive(Debug)]
enum Tried {
    Left(u64),
    Failed(#[allow(dead_code, reason = "shown if it happens")] MetadataError),
}

impl From<MetadataError> for Tried {
    fn from(source: MetadataError) -> Self {
        Self::Failed(source)
    }
}

/// Pulls something that has to find room, or not.
async fn admit(db: &Fixture, made: &[Made], situation: &Situation) -> Result<(), TestCaseError> {
    let pull = &situation.last;
    let made = &made[pull.manifest];
    let quota = 6500 * situation.quota_per_mille / 1000;
    let before = dump(db).await;
    let used = db.usage(db.acme).await;
    let planner = Greedy::new(quota);
    let repository = REPOSITORIES[pull.repository];
    let admission = made.admission(
        db.acme,
        repository,
        hold(&Pull {
            at: NOW,
            ..pull.clone()
        }),
        NOW,
    );
    match db
        .metadata
        .admit(&admission, Arc::new(Arc::clone(&planner)))
        .await
    {
        Ok(admitted) => {
            let usage = db.usage(db.acme).await;
            prop_assert_eq!(usage, admitted.usage_bytes);
            prop_assert!(usage <= quota || (admitted.needed_bytes == 0 && usage <= used));
            let freed: u64 = admitted.pruned.iter().map(|pruned| pruned.freed_bytes).sum();
            prop_assert_eq!(usage + freed, used + admitted.needed_bytes);
            let stored = db
                .metadata
                .manifest(db.acme, repository, &made.digest)
                .await
                .unwrap();
            prop_assert!(!stored.unwrap().released, "pruned for itself");
        }
        Err(AdmitError::Quota(refusal)) => {
            prop_assert_eq!(refusal.used_bytes, used);
            prop_assert_eq!(dump(db).await, before);
            let seen = planner.seen();
            prop_assert_eq!(seen.pages, 0, "planned in vain");
            if let Some(staying) = seen.staying {
                // Exactly what would be left without everything that may go, which is too much.
                let stripped = db
                    .metadata
                    .admit(&admission, Arc::new(Everything::default()))
                    .await;
                prop_assert_eq!(stripped.unwrap().usage_bytes, staying);
                prop_assert!(staying > quota);
            }
        }
        Err(error) => panic!("{error:?}"),
    }
    prop_assert_eq!(db.metadata.recount().await.unwrap(), []);
    Ok(())
}
