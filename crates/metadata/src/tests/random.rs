//! Any history of pulls, moves, renewals, fills, expiries, prunes, removals and collections leaves everything
//! counted right, and database and disk of one mind.

mod history;

use futures::future::BoxFuture;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::fixture::{Fixture, Made, TTL, image, index, referrer, subject_index};
use crate::REMOVED_WINDOW_MS;
use history::History;

const REPOSITORIES: [&str; 2] = ["app", "library/base"];
const LAYERS: [(&str, u64); 4] = [("l0", 10), ("l1", 200), ("l2", 3000), ("l3", 40_000)];
const TAGS: [&str; 3] = ["", "1", "latest"];

/// A manifest of a repository of an organization, by their numbers.
type Place = (usize, usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Admit { place: Place, tag: usize, stored: bool },
    AdmitWithin { place: Place, tag: usize, quota: u64 },
    Prune { organization: usize, quota: u64 },
    PullDigestWithin { place: Place, quota: u64 },
    PullDigest(Place),
    PullTag { place: Place, tag: usize },
    FailCheck { place: Place, tag: usize },
    Resolve { place: Place, tag: usize },
    Drop { place: Place, tag: usize },
    AdmitEndless { place: Place, tag: usize },
    Limit { organization: usize },
    Sweep,
    Collect,
    Delete,
    Remove { organization: usize },
    Return { organization: usize, window: i64 },
    StartFill { layer: usize, scope: Option<usize> },
    CommitFill,
    GiveUpFills,
    Fill { layer: usize, scope: Option<usize> },
    Forget { layer: usize },
    Want(Place),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0..2_usize, 0..2_usize, 0..manifests().len());
    let tag = 0..TAGS.len();
    let at = (place.clone(), tag);
    // Now and then next to nothing fits, now and then nearly everything.
    let quota = prop_oneof![0..1000_u64, 0..60_000_u64];
    let step = prop_oneof![
        8 => (at.clone(), any::<bool>())
            .prop_map(|((place, tag), stored)| Step::Admit { place, tag, stored }),
        4 => (at.clone(), quota.clone())
            .prop_map(|((place, tag), quota)| Step::AdmitWithin { place, tag, quota }),
        1 => (0..2_usize, quota.clone())
            .prop_map(|(organization, quota)| Step::Prune { organization, quota }),
        2 => (place.clone(), quota)
            .prop_map(|(place, quota)| Step::PullDigestWithin { place, quota }),
        3 => place.clone().prop_map(Step::PullDigest),
        1 => at.clone().prop_map(|(place, tag)| Step::PullTag { place, tag }),
        1 => at.clone().prop_map(|(place, tag)| Step::FailCheck { place, tag }),
        1 => at.clone().prop_map(|(place, tag)| Step::Resolve { place, tag }),
        2 => at.clone().prop_map(|(place, tag)| Step::Drop { place, tag }),
        1 => at.prop_map(|(place, tag)| Step::AdmitEndless { place, tag }),
        1 => (0..2_usize).prop_map(|organization| Step::Limit { organization }),
        4 => Just(Step::Sweep),
        4 => Just(Step::Collect),
        2 => Just(Step::Delete),
        1 => (0..2_usize).prop_map(|organization| Step::Remove { organization }),
        1 => (0..2_usize, prop_oneof![Just(0), 0..2 * TTL])
            .prop_map(|(organization, window)| Step::Return { organization, window }),
        1 => (0..LAYERS.len(), proptest::option::of(0..2_usize))
            .prop_map(|(layer, scope)| Step::StartFill { layer, scope }),
        1 => Just(Step::CommitFill),
        1 => Just(Step::GiveUpFills),
        2 => (0..LAYERS.len(), proptest::option::of(0..2_usize))
            .prop_map(|(layer, scope)| Step::Fill { layer, scope }),
        1 => (0..LAYERS.len()).prop_map(|layer| Step::Forget { layer }),
        1 => place.prop_map(Step::Want),
        3 => prop_oneof![
            8 => 1..TTL,
            2 => TTL..4 * TTL,
            1 => Just(REMOVED_WINDOW_MS),
        ].prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Images that share layers and do not agree on their sizes, nested indexes, referrers, and an index that
/// names its own subject.
fn manifests() -> Vec<Made> {
    let [l0, l1, l2, l3] = LAYERS;
    let one = image("one", &[l0, l1]);
    let two = image("two", &[l0, l2]);
    let wrong = image("wrong", &[("l0", 7), ("l1", 999), l3]);
    let inner = index("inner", &[&one, &two]);
    let outer = index("outer", &[&inner, &wrong]);
    let about_one = referrer("about one", &one, &[("l3", 1)]);
    let about_outer = referrer("about outer", &outer, &[l2]);
    let about_that = referrer("about that", &about_outer, &[]);
    let knot = subject_index("knot", &two, &[&two, &one]);
    vec![
        one,
        two,
        wrong,
        inner,
        outer,
        about_one,
        about_outer,
        about_that,
        knot,
    ]
}

/// Q2, Q3, Q5, Q8, Q9, G1, G3, G5, M9, E2: whatever happens in whatever order, usage, references, held manifests, blob
/// rows and storage keys are right after each step: every key on disk is in exactly one of fills, blobs and
/// garbage, and the bytes of every stored blob are there. In the end, when everything has died, nothing is
/// left of it.
pub(super) fn any_history_can_be_recounted<F>(cases: u32, open: F)
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
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let mut history = History::new(open().await).await;
                for step in &steps {
                    history.take(step).await;
                    let found = history.db.metadata.recount().await.unwrap();
                    prop_assert_eq!(found, [], "after {:?}", step);
                    history.compare_with_disk(step).await?;
                }
                history.outlive_everything().await
            })
        })
        .unwrap();
}
