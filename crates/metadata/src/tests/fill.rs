//! Fills, and where their keys end.

use super::fixture::{Fixture, digest, image, key};
use crate::{FillCommit, View};

/// G3: a key is in exactly one place, from the intent on.
pub(super) async fn commits_fill_and_keeps_key_in_one_place(db: Fixture) {
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.start_fill("t1", &digest("layer"), 10, None).await;
    assert_eq!(db.places("t1").await, ["fill"]);

    let committed = db
        .metadata
        .commit_fill("t1", &digest("layer"), &key("t1"), 10, None, 50)
        .await;

    assert_eq!(committed.unwrap(), FillCommit::Stored);
    assert_eq!(db.places("t1").await, ["blob"]);
    // A retry after an answer that was lost finds its right gone and the key where it belongs.
    let again = db
        .metadata
        .commit_fill("t1", &digest("layer"), &key("t1"), 10, None, 50)
        .await;
    assert_eq!(again.unwrap(), FillCommit::Lost);
    assert_eq!(db.places("t1").await, ["blob"]);
    db.assert_consistent().await;
}

/// G3, B10: of two fills the first to commit wins; the other key is garbage, its proof counts.
pub(super) async fn second_fill_is_superseded(db: Fixture) {
    let layer = digest("layer");
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.start_fill("slow", &layer, 10, None).await;
    assert_eq!(
        db.fill("fast", &layer, 10, Some(db.acme)).await,
        FillCommit::Stored
    );

    let slow = db
        .metadata
        .commit_fill("slow", &layer, &key("slow"), 10, None, 50)
        .await;

    assert_eq!(slow.unwrap(), FillCommit::Superseded);
    assert_eq!(db.places("slow").await, ["garbage"]);
    assert_eq!(db.places("fast").await, ["blob"]);
    let blob = db.metadata.blob(db.acme, "app", &layer, View::Member).await;
    assert!(!blob.unwrap().unwrap().private, "the slow one came anonymously");
    db.assert_consistent().await;
}

/// G1, G3: bytes that no manifest names when they arrive are garbage at once.
pub(super) async fn fill_without_references_is_garbage(db: Fixture) {
    let committed = db.fill("t1", &digest("layer"), 10, Some(db.acme)).await;

    assert_eq!(committed, FillCommit::Unreferenced);
    assert_eq!(db.places("t1").await, ["garbage"]);
    db.assert_consistent().await;
}

/// G3: a fill that was given up may not commit; its key is garbage.
pub(super) async fn abandoned_fill_may_not_commit(db: Fixture) {
    let layer = digest("layer");
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.start_fill("t1", &layer, 10, None).await;

    db.metadata.abandon_fill("t1", 50).await.unwrap();
    db.metadata.abandon_fill("t1", 50).await.unwrap();

    assert_eq!(db.places("t1").await, ["garbage"]);
    let committed = db
        .metadata
        .commit_fill("t1", &layer, &key("t1"), 10, None, 50)
        .await;
    assert_eq!(committed.unwrap(), FillCommit::Lost);
    assert_eq!(db.places("t1").await, ["garbage"]);
    db.assert_consistent().await;
}

/// G3: what a killed process left is garbage at the next start.
pub(super) async fn abandons_all_fills_of_the_process_before(db: Fixture) {
    for token in ["t1", "t2"] {
        db.start_fill(token, &digest(token), 10, None).await;
    }

    assert_eq!(db.metadata.abandon_all_fills(50).await.unwrap(), 2);
    assert_eq!(db.metadata.abandon_all_fills(50).await.unwrap(), 0);

    for token in ["t1", "t2"] {
        assert_eq!(db.places(token).await, ["garbage"]);
    }
    db.assert_consistent().await;
}

/// B9: once anybody obtained the bytes anonymously they are free, also after they were lost and
/// fetched again with credentials.
pub(super) async fn anonymous_bytes_are_free_for_good(db: Fixture) {
    let layer = digest("layer");
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.fill("t1", &layer, 10, None).await;
    db.metadata.forget_bytes(&layer, &key("t1"), 50).await.unwrap();

    db.fill("t2", &layer, 10, Some(db.acme)).await;

    let blob = db.metadata.blob(db.acme, "app", &layer, View::Member).await;
    assert!(!blob.unwrap().unwrap().private);
    db.assert_consistent().await;
}

/// B8: lost bytes are forgotten only if the blob is still under the key that was opened.
pub(super) async fn forgets_bytes_only_of_that_key(db: Fixture) {
    let layer = digest("layer");
    db.tag("app", "1", &image("app", &[("layer", 10)]), 0).await;
    db.fill("t1", &layer, 10, None).await;

    let forget = |token: &'static str| {
        let layer = layer.clone();
        let metadata = db.metadata.clone();
        async move { metadata.forget_bytes(&layer, &key(token), 50).await.unwrap() }
    };
    assert!(!forget("t0").await);
    assert!(forget("t1").await);
    assert!(!forget("t1").await);

    assert_eq!(db.places("t1").await, ["garbage"]);
    assert_eq!(db.fill("t2", &layer, 10, None).await, FillCommit::Stored);
    assert_eq!(db.places("t2").await, ["blob"]);
    db.assert_consistent().await;
}
