//! Two processes on one database, one of them just before its commit when the other comes (ENGINE §1.4).

mod paused;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use tokio::sync::Barrier;

use super::fixture::{CONFIG, Fixture, Made, TTL, digest, identity, image, index, key};
use super::quota::planner::Greedy;
use crate::engine::Transaction;
use crate::queries::{admit, collect, fill, organization, renew, sweep};
use crate::sql::{Statement, args};
use crate::{
    AdmitError, Admitted, Collected, FillCommit, Hold, MetadataError, Planner, Renewal, Swept, Unlimited,
};
use paused::Paused;

/// When everything that is released may be collected, and what is garbage then may be deleted.
const DUE: i64 = 2 * TTL + 2000;
const GARBAGE: i64 = DUE + 1000;

type Admission = Paused<Admitted, AdmitError>;

async fn paused_admission(db: &Fixture, made: &Made, name: &str, planner: Arc<dyn Planner>) -> Admission {
    let hold = Hold::Tag {
        name,
        ends_at: DUE + TTL,
        checked_at: DUE,
    };
    let request = admit::Request::new(&made.admission(db.acme, "app", hold, DUE), planner);
    Paused::before_commit(&db.metadata, request, |tx, request| {
        Box::pin(admit::admit(tx, request))
    })
    .await
}

async fn paused_collection(db: &Fixture) -> Paused<Collected, MetadataError> {
    let collection = collect::Collection {
        released_by: DUE,
        garbage_not_before: GARBAGE,
    };
    Paused::before_commit(&db.metadata, collection, |tx, collection| {
        Box::pin(collect::collect(tx, collection))
    })
    .await
}

async fn paused_sweep(db: &Fixture) -> Paused<Swept, MetadataError> {
    let sweep = sweep::Sweep {
        organization: db.acme,
        slack_ms: 0,
        now: DUE,
    };
    Paused::before_commit(&db.metadata, sweep, |tx, sweep| Box::pin(sweep::sweep(tx, sweep))).await
}

/// An image that was released and whose layer is stored at the key of `stored`.
async fn released(db: &Fixture) -> Admitted {
    let admitted = db.tag("app", "old", &image("old", &[("layer", 10)]), 0).await;
    db.fill("stored", &digest("layer"), 10, None).await;
    db.drop_holder(admitted.repository, "old", admitted.manifest, 1)
        .await;
    admitted
}

fn digest_pull(admitted: &Admitted) -> Vec<Renewal> {
    vec![Renewal::Digest {
        repository: admitted.repository,
        manifest: admitted.manifest,
        at: DUE,
        ends_at: DUE + TTL,
        quota_bytes: None,
    }]
}

/// G3: an admission names a blob whose last manifest is being collected: the collector waits, and spares it.
pub(super) async fn collector_waits_for_an_admission(db: Fixture) {
    let other = db.another().await;
    released(&db).await;
    let new = image("new", &[("layer", 10)]);
    let admission = paused_admission(&db, &new, "new", Arc::new(Unlimited)).await;

    let (admitted, collected) = admission.beside(&db, other.collect(DUE, GARBAGE)).await;

    admitted.unwrap();
    assert_eq!(
        (collected.as_ref().unwrap().manifests, collected.unwrap().blobs),
        (1, 1)
    );
    assert_eq!(db.places("stored").await, ["blob"]);
    db.assert_consistent().await;
}

/// G3: the other way round the blob is gone, and the admission begins a new one that is not stored.
pub(super) async fn admission_waits_for_the_collector(db: Fixture) {
    let other = db.another().await;
    released(&db).await;
    let new = image("new", &[("layer", 10)]);
    let collection = paused_collection(&db).await;

    let hold = Hold::Pin { ends_at: DUE + TTL };
    let admission = new.admission(db.acme, "app", hold, DUE);
    let (collected, admitted) = collection
        .beside(&db, other.admit(&admission, Arc::new(Unlimited)))
        .await;

    assert_eq!(collected.unwrap().blobs, 2);
    admitted.unwrap();
    assert_eq!(db.places("stored").await, ["garbage"]);
    let layer = digest("layer");
    let blob = db.metadata.blob(db.acme, "app", &layer, crate::View::Member);
    assert_eq!(blob.await.unwrap().unwrap().stored, None);
    db.assert_consistent().await;
}

/// G3: bytes that are committed while the last manifest that names them is collected are garbage.
pub(super) async fn commit_waits_for_the_collector(db: Fixture) {
    let other = db.another().await;
    let admitted = db.tag("app", "old", &image("old", &[("layer", 10)]), 0).await;
    db.start_fill("late", &digest("layer"), 10, None).await;
    db.drop_holder(admitted.repository, "old", admitted.manifest, 1)
        .await;
    let collection = paused_collection(&db).await;

    let (layer, key) = (digest("layer"), key("late"));
    let commit = other.commit_fill("late", &layer, &key, 10, None, GARBAGE);
    let (collected, committed) = collection.beside(&db, commit).await;

    assert_eq!(collected.unwrap().blobs, 2);
    assert_eq!(committed.unwrap(), FillCommit::Unreferenced);
    assert_eq!(db.places("late").await, ["garbage"]);
    db.assert_consistent().await;
}

/// G3: and those that were committed just before the collector took the blob are, too.
pub(super) async fn collector_waits_for_a_commit(db: Fixture) {
    let other = db.another().await;
    let admitted = db.tag("app", "old", &image("old", &[("layer", 10)]), 0).await;
    db.start_fill("late", &digest("layer"), 10, None).await;
    db.drop_holder(admitted.repository, "old", admitted.manifest, 1)
        .await;
    let commit = fill::Commit {
        token: "late".to_owned(),
        digest: digest("layer"),
        storage_key: key("late"),
        size: 10,
        scope: None,
        garbage_not_before: GARBAGE,
    };
    let commit = Paused::before_commit(&db.metadata, commit, |tx, commit| {
        Box::pin(fill::commit(tx, commit))
    })
    .await;

    let (committed, collected) = commit.beside(&db, other.collect(DUE, GARBAGE)).await;

    assert_eq!(committed.unwrap(), FillCommit::Stored);
    assert_eq!(collected.unwrap().bytes, 10);
    assert_eq!(db.places("late").await, ["garbage"]);
    db.assert_consistent().await;
}

/// Q8: two admissions of two processes that both fit, but not together, never overshoot.
pub(super) async fn second_admission_sees_what_the_first_has_counted(db: Fixture) {
    let other = db.another().await;
    let (one, two) = (image("one", &[("one", 1000)]), image("two", &[("two", 1000)]));
    let quota = 1000 + CONFIG + one.size() + 10;
    let first = paused_admission(&db, &one, "1", Arc::new(Greedy::new(quota))).await;

    let hold = Hold::Tag {
        name: "2",
        ends_at: DUE + TTL,
        checked_at: DUE,
    };
    let admission = two.admission(db.acme, "app", hold, DUE);
    let (_, second) = first
        .beside(&db, other.admit(&admission, Arc::new(Greedy::new(quota))))
        .await;

    let pruned = second.unwrap().pruned;
    assert_eq!(
        pruned.iter().flat_map(|pruned| &pruned.tags).collect::<Vec<_>>(),
        ["1"]
    );
    assert!(db.usage(db.acme).await <= quota);
    db.assert_consistent().await;
}

/// M11: two processes that find different images behind one tag: the later one has it, and one only.
pub(super) async fn one_of_two_has_the_tag(db: Fixture) {
    let other = db.another().await;
    let (one, two) = (image("one", &[("one", 1000)]), image("two", &[("two", 1000)]));
    let first = paused_admission(&db, &one, "1", Arc::new(Unlimited)).await;

    let hold = Hold::Tag {
        name: "1",
        ends_at: DUE + TTL,
        checked_at: DUE,
    };
    let admission = two.admission(db.acme, "app", hold, DUE + 1);
    let (first, second) = first
        .beside(&db, other.admit(&admission, Arc::new(Unlimited)))
        .await;

    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.repository, second.repository);
    assert_eq!(db.state("app", "1").await.manifest.id, second.manifest);
    assert!(!db.holders(first.manifest).await[0].current);
    db.assert_consistent().await;
}

/// M9, E2: a pin that is put while the sweeper releases the manifest holds it.
pub(super) async fn sweeper_waits_for_a_pin(db: Fixture) {
    let other = db.another().await;
    let admitted = db.tag("app", "old", &image("old", &[("layer", 10)]), 0).await;
    let renewal = Paused::before_commit(&db.metadata, digest_pull(&admitted), |tx, batch| {
        Box::pin(renew::renew(tx, batch))
    })
    .await;

    let (renewed, swept) = renewal.beside(&db, other.sweep(db.acme, 0, DUE)).await;

    renewed.unwrap();
    let swept = swept.unwrap();
    assert_eq!((swept.tags, swept.released), (1, 0));
    assert_eq!(db.holders(admitted.manifest).await.len(), 1);
    db.assert_consistent().await;
}

/// M9, G3: the other way round the manifest is taken back and counted again.
pub(super) async fn pin_waits_for_the_sweeper(db: Fixture) {
    let other = db.another().await;
    let admitted = db.tag("app", "old", &image("old", &[("layer", 10)]), 0).await;
    let usage = db.usage(db.acme).await;
    let sweep = paused_sweep(&db).await;

    let batch = digest_pull(&admitted);
    let (swept, renewed) = sweep.beside(&db, other.renew(&batch)).await;

    renewed.unwrap();
    assert_eq!(swept.unwrap().released, 1);
    assert_eq!(db.usage(db.acme).await, usage);
    assert_eq!(db.holders(admitted.manifest).await.len(), 1);
    db.assert_consistent().await;
}

/// Q2, M15: a manifest that an admission takes back while a renewal is about to counts once.
pub(super) async fn content_is_taken_back_once(db: Fixture) {
    let other = db.another().await;
    let old = released(&db).await;
    let admission = paused_admission(&db, &image("old", &[("layer", 10)]), "old", Arc::new(Unlimited)).await;

    let batch = digest_pull(&old);
    let (admitted, renewed) = admission.beside(&db, other.renew(&batch)).await;

    renewed.unwrap();
    assert_eq!(db.usage(db.acme).await, admitted.unwrap().usage_bytes);
    db.assert_consistent().await;
}

/// Q2, G3: a child that the collector drops is not counted with its index.
pub(super) async fn index_does_not_count_a_child_that_is_collected(db: Fixture) {
    let other = db.another().await;
    released(&db).await;
    let list = index("list", &[&image("old", &[("layer", 10)])]);
    let collection = paused_collection(&db).await;

    let hold = Hold::Pin { ends_at: DUE + TTL };
    let admission = list.admission(db.acme, "app", hold, DUE);
    let (collected, admitted) = collection
        .beside(&db, other.admit(&admission, Arc::new(Unlimited)))
        .await;

    assert_eq!(collected.unwrap().manifests, 1);
    assert_eq!(admitted.unwrap().usage_bytes, list.size());
    db.assert_consistent().await;
}

/// Q2, G3: a child that is counted with its index is not collected, and the collector does not wait for that.
pub(super) async fn collector_spares_a_child_that_is_counted(db: Fixture) {
    let other = db.another().await;
    let old = released(&db).await;
    let child = image("old", &[("layer", 10)]);
    let list = index("list", &[&child]);
    let admission = paused_admission(&db, &list, "list", Arc::new(Unlimited)).await;

    assert_eq!(other.collect(DUE, GARBAGE).await.unwrap(), Collected::default());

    let admitted = admission.go_on().await.unwrap();
    assert!(admitted.usage_bytes > list.size());
    assert_eq!(other.collect(DUE, GARBAGE).await.unwrap(), Collected::default());
    let held = db.metadata.manifest(db.acme, "app", &child.digest);
    assert_eq!(held.await.unwrap().unwrap().id, old.manifest);
    db.assert_consistent().await;
}

/// G5: one file applied by two processes at once gives each organization one row.
pub(super) async fn file_is_applied_by_one_after_the_other(db: Fixture) {
    let other = db.another().await;
    let wanted = vec![identity("new"), identity("acme")];
    let sync = organization::Sync {
        wanted: wanted.clone(),
        keep: Vec::new(),
        now: DUE,
    };
    let first = Paused::before_commit(&db.metadata, sync, |tx, sync| {
        Box::pin(organization::sync(tx, sync))
    })
    .await;

    let (first, second) = first
        .beside(&db, other.sync_organizations(&wanted, &[], DUE))
        .await;

    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(db.count("SELECT COUNT(*) FROM organization").await, 2);
}

const OCCUPIED: Statement = Statement::new(
    "insert twice",
    "INSERT INTO setting (name, value) VALUES ('a', $1)",
);

async fn insert(tx: &mut Transaction) -> Result<(), MetadataError> {
    tx.execute(OCCUPIED, args![&bytes::Bytes::new()]).await.map(drop)
}

/// ENGINE §1.3: what others were in the way of is run again as a whole, three times, and then it is an error.
pub(super) async fn conflicts_are_tried_again(db: Fixture) {
    db.metadata.setting_or_insert("a", b"").await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let run = async |good: u32| {
        runs.store(0, Ordering::Relaxed);
        let data = (Arc::clone(&runs), good);
        let work = db.metadata.engine().write(data, |tx, (runs, good)| {
            async {
                let number = runs.fetch_add(1, Ordering::Relaxed) + 1;
                if number < *good { insert(tx).await } else { Ok(()) }
            }
            .boxed()
        });
        let result = work.await;
        (result, runs.load(Ordering::Relaxed))
    };

    let (third, runs) = run(3).await;
    assert_eq!((third.is_ok(), runs), (true, 3));
    let (never, runs) = run(100).await;
    assert!(matches!(never, Err(MetadataError::Failed { .. })), "{never:?}");
    assert_eq!(runs, 4);
}

/// ENGINE §1.3: of two that wait for each other one is run again, and both succeed.
pub(super) async fn deadlock_is_tried_again(db: Fixture) {
    const LOCK: Statement = Statement::new(
        "lock",
        "UPDATE organization SET usage_bytes = usage_bytes + 1 WHERE name = $1",
    );
    db.other_organization().await;
    let met = Arc::new(Barrier::new(2));
    let runs = Arc::new(AtomicU32::new(0));
    let write = |names: [&'static str; 2]| {
        let data = (names, Arc::clone(&met), Arc::clone(&runs));
        db.metadata.engine().write(data, |tx, (names, met, runs)| {
            async {
                tx.execute(LOCK, args![names[0]]).await?;
                if runs.fetch_add(1, Ordering::Relaxed) < 2 {
                    met.wait().await;
                }
                tx.execute(LOCK, args![names[1]]).await.map(drop)
            }
            .boxed()
        })
    };

    let (one, two) = tokio::join!(write(["acme", "other"]), write(["other", "acme"]));

    let (one, two): (Result<(), MetadataError>, Result<(), MetadataError>) = (one, two);
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert!(runs.load(Ordering::Relaxed) > 2);
    assert_eq!(db.usage(db.acme).await, 2);
}
