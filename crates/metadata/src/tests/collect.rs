//! From a released manifest to the last of its bytes.

use super::fixture::{CONFIG, Fixture, TTL, config_of, digest, image, index, key};
use crate::{AdmitError, Collected, FillCommit, Forecast, Garbage, Hold, Slacks, View};

/// When the tests release.
const RELEASED: i64 = 1000;
/// When that is a grace ago.
const LATER: i64 = 1300;
/// Past every Window and grace.
const FAR: i64 = i64::MAX / 4;
/// When the bytes may go.
const LAST: i64 = 1600;

async fn collect(db: &Fixture, released_by: i64) -> Collected {
    db.metadata.collect(released_by, LAST).await.unwrap()
}

fn garbage(token: &str, size: u64) -> Garbage {
    Garbage {
        key: key(token),
        size,
    }
}

/// G1, G3: released, collected, deleted: three moments, and a key is in one place at each.
pub(super) async fn collects_what_was_released_a_grace_ago(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    let admitted = db.tag("app", "1", &app, 0).await;
    db.fill("t1", &digest("layer"), 10, Some(db.acme)).await;
    db.drop_holder(admitted.repository, "1", admitted.manifest, RELEASED)
        .await;
    assert_eq!(collect(&db, RELEASED - 1).await, Collected::default());
    let blob = db
        .metadata
        .blob(db.acme, "app", &digest("layer"), View::Member)
        .await;
    assert!(blob.unwrap().is_some(), "still readable (B1)");

    let collected = collect(&db, RELEASED).await;

    let expected = Collected {
        manifests: 1,
        blobs: 2,
        bytes: 10,
        repositories: 1,
        more: false,
    };
    assert_eq!(collected, expected);
    let blob = db
        .metadata
        .blob(db.acme, "app", &digest("layer"), View::Member)
        .await;
    assert_eq!(blob.unwrap(), None);
    assert_eq!(db.places("t1").await, ["garbage"]);
    assert_eq!(db.metadata.garbage_bytes().await.unwrap(), 10);
    assert_eq!(db.metadata.due_garbage(LAST - 1, 10).await.unwrap(), []);
    let due = db.metadata.due_garbage(LAST, 10).await.unwrap();
    assert_eq!(due, [garbage("t1", 10)]);
    db.metadata.forget_garbage(&[key("t1")]).await.unwrap();
    assert!(db.places("t1").await.is_empty());
    // No row of anything is left, and a new repository is not taken for the old one.
    let again = db.tag("app", "1", &app, LAST).await;
    assert!(again.repository > admitted.repository && again.manifest > admitted.manifest);
    db.assert_consistent().await;
}

/// G4: two workers that do the same steps side by side do them once; a step that is repeated does nothing.
pub(super) async fn steps_of_two_workers_are_done_once(db: Fixture) {
    let app = image("app", &[("layer", 10)]);
    db.tag("app", "1", &app, 0).await;
    db.fill("t1", &digest("layer"), 10, None).await;
    let sweep = || async { db.metadata.sweep(db.acme, 0, FAR).await.unwrap() };
    let collect = || async { db.metadata.collect(FAR, FAR).await.unwrap() };
    let delete = || async { db.metadata.forget_garbage(&[key("t1")]).await.unwrap() };

    let (first, second) = tokio::join!(sweep(), sweep());
    assert_eq!((first.tags + second.tags, sweep().await.tags), (1, 0));
    let (first, second) = tokio::join!(collect(), collect());
    assert_eq!(first.manifests + second.manifests, 1);
    assert_eq!(collect().await, Collected::default());
    assert_eq!(db.places("t1").await, ["garbage"]);
    tokio::join!(delete(), delete());
    assert!(db.places("t1").await.is_empty());
    db.assert_consistent().await;
}

/// G1: a blob stays as long as any manifest of any repository of any organization names it.
pub(super) async fn spares_blobs_that_others_name(db: Fixture) {
    let other = db.other_organization().await;
    let app = image("app", &[("shared", 10), ("own", 20)]);
    let beside = image("beside", &[("shared", 10)]);
    let admitted = db.tag("app", "1", &app, 0).await;
    let last = db.tag_as(other, "base", "1", &beside, 0).await;
    let copy = db.tag("copy", "1", &beside, 0).await;
    db.fill("t1", &digest("shared"), 10, None).await;
    db.fill("t2", &digest("own"), 20, None).await;

    db.drop_holder(admitted.repository, "1", admitted.manifest, RELEASED)
        .await;
    assert_eq!(collect(&db, RELEASED).await.bytes, 20);
    assert_eq!(
        (db.places("t1").await, db.places("t2").await),
        (vec!["blob".to_owned()], vec!["garbage".to_owned()])
    );
    db.drop_holder(copy.repository, "1", copy.manifest, RELEASED)
        .await;
    let collected = collect(&db, RELEASED).await;
    assert_eq!((collected.manifests, collected.blobs), (1, 0));
    db.drop_holder(last.repository, "1", last.manifest, RELEASED)
        .await;
    assert_eq!(collect(&db, RELEASED).await.bytes, 10);
    db.assert_consistent().await;
}

/// M5, M9, G3: what is taken back in time is not collected; what comes too late starts from nothing,
/// under a new key.
pub(super) async fn taken_back_content_is_spared(db: Fixture) {
    let child = image("child", &[("layer", 10)]);
    let list = index("list", &[&child]);
    let admitted = db.tag("app", "1", &list, 0).await;
    db.pin("app", &child, 0).await;
    db.fill("t1", &digest("layer"), 10, None).await;
    let release = async |at| {
        db.drop_holder(admitted.repository, "1", admitted.manifest, at)
            .await;
    };
    let hold = Hold::Tag {
        name: "1",
        ends_at: TTL,
        checked_at: 0,
    };
    release(RELEASED).await;
    let back = db.take_back("app", &list, hold, RELEASED + 1).await.unwrap();
    assert_eq!(back.needed_bytes, list.size() + child.size() + CONFIG + 10);
    assert_eq!(collect(&db, LATER).await, Collected::default());

    release(LATER).await;
    assert_eq!(collect(&db, LATER).await.manifests, 2);
    let gone = db.take_back("app", &list, hold, LATER + 1).await;
    assert!(matches!(gone, Err(AdmitError::ManifestGone)), "{gone:?}");
    db.tag("app", "1", &child, LATER + 1).await;
    assert_eq!(
        db.fill("t2", &digest("layer"), 10, None).await,
        FillCommit::Stored
    );
    assert_eq!(db.places("t1").await, ["garbage"]);
    db.assert_consistent().await;
}

/// ENGINE §1.4: a fill whose last reference went while it ran may not store anything.
pub(super) async fn fill_that_ends_after_the_collection_is_garbage(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.start_fill("t1", &digest("layer"), 10, None).await;
    db.drop_holder(admitted.repository, "1", admitted.manifest, RELEASED)
        .await;
    collect(&db, RELEASED).await;

    let committed = db
        .metadata
        .commit_fill("t1", &digest("layer"), &key("t1"), 10, None, LAST)
        .await;

    assert_eq!(committed.unwrap(), FillCommit::Unreferenced);
    assert_eq!(db.places("t1").await, ["garbage"]);
    db.assert_consistent().await;
}

/// ENGINE §1.3: a fill whose time is over loses its key, and with it the right to commit; bytes that
/// arrive after they were deleted are listed once more.
pub(super) async fn expired_fill_becomes_garbage(db: Fixture) {
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.start_fill("t1", &digest("layer"), 10, None).await;
    let expire = async |now| db.metadata.expire_fills(now, LAST).await.unwrap();
    assert_eq!(expire(100).await, 0);
    assert_eq!(expire(101).await, 1);
    assert_eq!(
        db.metadata.due_garbage(LAST, 10).await.unwrap(),
        [garbage("t1", 10)]
    );
    db.metadata.forget_garbage(&[key("t1")]).await.unwrap();

    let late = db
        .metadata
        .commit_fill("t1", &digest("layer"), &key("t1"), 10, None, LAST)
        .await;

    assert_eq!(late.unwrap(), FillCommit::Lost);
    assert_eq!(db.places("t1").await, ["garbage"]);
    db.assert_consistent().await;
}

/// G3: a reader that needs the entry, or a deletion that failed, moves the end of a key; never forward,
/// and never of a key that is not garbage.
pub(super) async fn postponed_garbage_waits(db: Fixture) {
    for token in ["t1", "t2"] {
        db.start_fill(token, &digest("layer"), 10, None).await;
        db.metadata.abandon_fill(token, LAST).await.unwrap();
    }
    let postpone = async |token, until| {
        let keys = [key(token)];
        db.metadata.postpone_garbage(&keys, until).await.unwrap();
    };
    postpone("t1", LAST + 10).await;
    postpone("t2", LAST - 10).await;
    postpone("t3", LAST).await;

    let due = async |now, limit| {
        let due = db.metadata.due_garbage(now, limit).await.unwrap();
        due.into_iter().map(|garbage| garbage.key).collect::<Vec<_>>()
    };
    assert!(due(LAST - 1, 10).await.is_empty());
    assert_eq!(due(LAST, 10).await, [key("t2")]);
    assert_eq!(due(LAST + 10, 10).await, [key("t2"), key("t1")]);
    assert_eq!(due(LAST + 10, 1).await, [key("t2")]);
}

/// ENGINE §1.3: a step of the collector takes 256 manifests.
pub(super) async fn collects_in_bounded_steps(db: Fixture) {
    let admitted = db.tag("app", "1", &image("app", &[]), 0).await;
    db.run(
        "WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 300)
         INSERT INTO manifest (repository_id, organization_id, digest, media_type, kind, released_at, body)
         SELECT repository_id, organization_id, 'sha256:' || n.value, media_type, kind, $1, body
         FROM n CROSS JOIN manifest",
        crate::sql::args![RELEASED],
    )
    .await;

    let steps = [collect(&db, LATER).await, collect(&db, LATER).await];

    assert_eq!(
        steps.map(|step| (step.manifests, step.more)),
        [(256, true), (44, false)]
    );
    let stored = db.metadata.tag(db.acme, "app", "1").await.unwrap();
    assert_eq!(stored.unwrap().manifest.id, admitted.manifest);
    db.assert_consistent().await;
}

/// O5: what a pass would do is what it does.
pub(super) async fn forecast_comes_true(db: Fixture) {
    let (old, shared, young) = (
        image("old", &[("old", 10), ("shared", 20)]),
        image("shared", &[("shared", 20)]),
        image("young", &[]),
    );
    let list = index("list", &[&old]);
    let gone = image("gone", &[("shared", 20)]);
    let released = db.tag("gone", "1", &gone, 0).await;
    db.drop_holder(released.repository, "1", released.manifest, 0)
        .await;
    db.tag("app", "list", &list, 0).await;
    db.tag("app", "young", &young, 500).await;
    db.pin("app", &old, 0).await;
    db.pin("pins", &shared, 0).await;
    db.fill("t1", &digest("shared"), 20, None).await;
    db.start_fill("t2", &digest("old"), 10, None).await;
    db.start_fill("t3", &digest("old"), 10, None).await;
    db.metadata.abandon_fill("t3", 0).await.unwrap();
    let now = TTL + 1000 + 200;
    let slacks = Slacks {
        by_organization: [(db.acme, 200)].into(),
        other_ms: 5000,
    };

    let forecast = db.metadata.forecast(Some(&slacks), now, now).await.unwrap();

    let expected = Forecast {
        tags: 1,
        pins: 1,
        released: 3,
        manifests: 1,
        blobs: 1,
        fills: 1,
        keys: 1,
        bytes: 10,
    };
    assert_eq!(forecast, expected);
    let kept = db.metadata.forecast(None, now, now).await.unwrap();
    assert_eq!(
        (kept.tags, kept.pins, kept.released, kept.manifests),
        (0, 0, 0, 1)
    );
    let collected = collect(&db, now).await;
    assert_eq!((collected.manifests, collected.blobs), (1, 1));
    let swept = db.metadata.sweep(db.acme, 200, now).await.unwrap();
    assert_eq!((swept.tags, swept.pins, swept.released), (1, 1, 3));
    let nothing = Slacks {
        by_organization: [(db.acme, 0)].into(),
        ..slacks
    };
    let rest = db.metadata.forecast(Some(&nothing), 0, now).await.unwrap();
    assert_eq!((rest.tags, rest.released), (0, 0));
}

/// O5: what `recount` finds, `recount_repair` repairs, in one go.
pub(super) async fn repairs_what_was_tampered_with(db: Fixture) {
    let (app, kept) = (image("app", &[("layer", 10)]), image("kept", &[("layer", 10)]));
    db.tag("app", "1", &app, 0).await;
    db.tag("app", "kept", &kept, 0).await;
    assert_eq!(db.metadata.recount_repair(5, LAST).await.unwrap(), []);
    let tampering = [
        "UPDATE organization SET usage_bytes = 1",
        "UPDATE content SET refs = 7, size = 99",
        "DELETE FROM content WHERE size = 99 AND digest < 'sha256:8'",
        "DELETE FROM tag WHERE name = '1'",
        "UPDATE manifest SET released_at = 3 WHERE id = (SELECT manifest_id FROM tag)",
        "INSERT INTO blob (digest, size, storage_key) VALUES ('sha256:stray', 5, 'key/t1')",
        "INSERT INTO garbage (storage_key, size, not_before) VALUES ('key/t2', 10, 0)",
        "INSERT INTO content (organization_id, digest, size, refs) VALUES (1, 'sha256:none', 5, 1)",
    ];
    for sql in tampering {
        db.run(sql, vec![]).await;
    }
    db.run(
        "UPDATE blob SET digest = $1 WHERE digest = 'sha256:stray'",
        crate::sql::args![&digest("stray")],
    )
    .await;
    db.run(
        "UPDATE content SET digest = $1 WHERE digest = 'sha256:none'",
        crate::sql::args![&digest("none")],
    )
    .await;
    db.start_fill("t2", &digest("layer"), 10, None).await;
    let found = db.metadata.recount().await.unwrap();
    assert!(found.len() >= 6, "{found:#?}");

    assert_eq!(db.metadata.recount_repair(5, LAST).await.unwrap(), found);

    db.assert_consistent().await;
    assert_eq!(db.usage(db.acme).await, kept.size() + CONFIG + 10);
    assert_eq!(db.places("t1").await, ["garbage"]);
    assert_eq!(db.places("t2").await, ["fill"]);
    let released = db.metadata.manifest(db.acme, "app", &app.digest).await.unwrap();
    assert!(released.unwrap().released);
    // It got its grace: what was repaired at 5 is collected no earlier.
    assert_eq!(collect(&db, 4).await, Collected::default());
    let collected = collect(&db, 5).await;
    assert_eq!((collected.manifests, collected.blobs), (1, 1));
    let config = config_of("app");
    let blob = db.metadata.blob(db.acme, "app", &config, View::Member).await;
    assert_eq!(blob.unwrap(), None);
}
