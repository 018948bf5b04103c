//! What a plan must be, whatever is shared with what.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use quayside_metadata::{Demand, Opening, Page, Planner, Step};

use super::world::{Image, NOW, World, number};
use super::{Planning, QuotaPlanner};

const IMAGES: usize = 8;
const BLOBS: usize = 4;

/// Up to eight manifests with what they share, how many candidates come at once, whether one of them is
/// being pulled, and how many in a thousand of the bytes in use the quota is.
#[derive(Debug, Clone)]
struct Situation {
    world: World,
    page: usize,
    pulled: Option<usize>,
    quota_per_mille: u64,
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    let rows = prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec((NOW - 20..NOW + 20, 0..30_i64), 1..3),
    ];
    let image = (
        prop::collection::btree_set(0..IMAGES, 0..3),
        prop::option::weighted(0.3, 0..IMAGES),
        prop::collection::btree_set(0..BLOBS, 0..3),
        rows,
    );
    prop::collection::vec(image, 1..=IMAGES).prop_map(|images| {
        let images = images.into_iter().enumerate();
        let lower =
            |(number, (children, subject, blobs, rows)): (usize, (BTreeSet<usize>, Option<usize>, _, _))| {
                Image {
                    children: children.into_iter().filter(|child| *child < number).collect(),
                    subject: subject.filter(|subject| *subject < number),
                    blobs,
                    rows,
                }
            };
        images.map(lower).collect()
    })
}

fn situations() -> impl Strategy<Value = Situation> {
    let sizes = prop::collection::vec(0..20_u64, IMAGES + BLOBS);
    let pulled = prop::option::of(0..IMAGES);
    (images(), sizes, 1..4_usize, pulled, 0..1000_u64).prop_map(
        |(images, sizes, page, pulled, quota_per_mille)| {
            let world = World { images, sizes };
            let held = world.held(&[]);
            Situation {
                pulled: pulled.filter(|pulled| held.contains(pulled)),
                world,
                page,
                quota_per_mille,
            }
        },
    )
}

fn plan(planner: QuotaPlanner, demand: &Demand, pages: &[Page]) -> Option<Vec<(usize, u64)>> {
    let Opening::Plan(mut plan) = planner.open(demand) else {
        panic!("no plan for {demand:?}");
    };
    for page in pages {
        match plan.page(page) {
            Step::More => assert!(!page.last, "undecided"),
            Step::Evict(evicted) => {
                let evicted = evicted.iter();
                let evicted = evicted.map(|eviction| (number(eviction.manifest), eviction.freed_bytes));
                return Some(evicted.collect());
            }
            Step::Refuse(refusal) => {
                assert!(page.last, "refused too early");
                let (used, needed) = (refusal.used_bytes, refusal.needed_bytes);
                assert_eq!(used + needed, demand.usage_bytes);
                return None;
            }
        }
    }
    panic!("undecided");
}

/// Q5 to the letter, counting everything anew for every question.
fn oracle(world: &World, candidates: &[usize], quota: u64) -> Option<Vec<usize>> {
    let enough = |evicted: &[usize]| world.usage(evicted) <= quota;
    let taken = (1..=candidates.len()).find(|taken| enough(&candidates[..*taken]))?;
    let mut evicted = candidates[..taken].to_vec();
    for candidate in candidates[..taken].iter().rev() {
        let others: Vec<usize> = evicted
            .iter()
            .copied()
            .filter(|other| other != candidate)
            .collect();
        if enough(&others) {
            evicted = others;
        }
    }
    Some(evicted)
}

/// Q5: a plan covers the shortfall, has nothing that it can do without, takes what comes first in the order
/// of dead content and last use, and is refused only if everything together is not enough.
#[test]
fn a_plan_is_sufficient_minimal_and_in_order() {
    let cases = if std::env::var_os("QUAYSIDE_LONG").is_some() {
        50_000
    } else {
        2000
    };
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (gaps, whole) = (Cell::new(0_u32), Cell::new(0_u32));
    let checked = TestRunner::new(config).run(&situations(), |situation| {
        let Situation {
            world,
            page,
            pulled,
            quota_per_mille,
        } = situation;
        let usage_bytes = world.usage(&[]);
        let quota = usage_bytes * quota_per_mille / 1000;
        if quota >= usage_bytes {
            return Ok(());
        }
        let candidates = world.candidates(pulled);
        let demand = Demand {
            usage_bytes,
            needed_bytes: usage_bytes / 2,
            alone_bytes: 0,
        };
        let pages = world.pages(&candidates, page);
        let evicted = plan(QuotaPlanner::new(quota, Planning::WithPlan), &demand, &pages);
        let Some(evictions) = evicted else {
            prop_assert!(world.usage(&candidates) > quota, "refused although it can fit");
            return Ok(());
        };
        let evicted: Vec<usize> = evictions.iter().map(|(image, _)| *image).collect();
        for (place, (_, freed_bytes)) in evictions.iter().enumerate() {
            let freed = world.usage(&evicted[..place]) - world.usage(&evicted[..=place]);
            prop_assert_eq!(*freed_bytes, freed);
        }
        prop_assert!(world.usage(&evicted) <= quota, "not enough: {:?}", evicted);
        for one in &evicted {
            let others: Vec<usize> = evicted.iter().copied().filter(|other| other != one).collect();
            prop_assert!(world.usage(&others) > quota, "{} goes for nothing", one);
        }
        let last = candidates
            .iter()
            .position(|candidate| Some(candidate) == evicted.last());
        let count = if last.is_some_and(|last| last >= evicted.len()) {
            &gaps
        } else {
            &whole
        };
        count.set(count.get() + 1);
        let mut rest = candidates.iter();
        prop_assert!(
            evicted.iter().all(|one| rest.any(|candidate| candidate == one)),
            "out of order"
        );
        prop_assert_eq!(Some(evicted), oracle(&world, &candidates, quota));
        Ok(())
    });
    checked.unwrap();
    // With something put back before the last one that goes, and without: neither is rare.
    assert!(
        gaps.get() > cases / 20 && whole.get() > cases / 20,
        "{gaps:?} {whole:?}"
    );
}
