//! G3: collection beside pulls, and after accidents.

use quayside_registry::gc::Report;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{Answer, GRACE, House, Organization};
use quayside_tests::images::{Blob, Image};
use serde_json::json;

use super::{SLACK, held, holders, pull_into};
use crate::scene::scene;

/// G3, E2: a client that is reading a blob reads it to its end, though it is dead, collected and deleted meanwhile.
#[tokio::test]
async fn a_client_that_still_reads_a_collected_blob_is_not_cut_off() {
    let upstream = FakeUpstream::start().await;
    // More than the buffers between the registry and a client that does not read.
    let image = Image::random(1, &[24 << 20]);
    upstream.push("app", "1", &image);
    let house = House::with(Organization::of(&upstream).ttl(60).window(0)).await;
    pull_into(&house, "acme", "app", "1", &image).await;
    let layer = &image.layers[0];
    let path = format!("/v2/acme/app/blobs/{}", layer.digest);
    let reading = house.call(http::Method::GET, &path).open().await;

    house.advance_seconds(60 + SLACK);
    house.collect_fully().await;

    super::assert_nothing_is_left(&house).await;
    Answer::read(reading).await.assert_body(&layer.bytes);
}

/// G3, B2: a fill that runs while its manifest is collected serves its client to the end; its bytes are garbage, and
/// go.
#[tokio::test]
async fn a_fill_that_outlives_its_manifest_is_served_and_deleted() {
    let mut scene = scene(|acme| acme.ttl(60).window(0)).await;
    let (house, layer) = (&scene.house, &scene.image.layers[0]);
    house.manifest("alpine", "1").await;
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::blob(), Fault::HoldAfter(500, gate.clone()));
    let death = async {
        gate.reached().await;
        house.advance_seconds(60 + SLACK);
        house.collect().await;
        house.advance(GRACE);
        house.collect().await;
        assert_eq!(house.number("SELECT count(*) FROM manifest").await, 0);
        gate.open();
    };
    let (answer, ()) = tokio::join!(house.blob("alpine", &layer.digest), death);
    answer.assert_body(&layer.bytes);
    quayside_tests::eventually::eventually("the fill has ended", || async {
        house.number("SELECT count(*) FROM garbage").await == 1
    })
    .await;
    house.advance(GRACE);
    house.collect().await;
    super::assert_nothing_is_left(house).await;
    scene.house.audit().await;
}

/// M5, G3: a dead tag that is swept and collected while upstream is asked about it is fetched like any other.
#[tokio::test]
async fn a_tag_that_is_collected_while_it_is_checked_is_fetched() {
    let scene = scene(|acme| acme.ttl(60).window(100)).await;
    let house = &scene.house;
    house.manifest("alpine", "1").await;
    house.advance_seconds(60);
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::manifest().head().once(), Fault::Hold(gate.clone()));
    let death = async {
        gate.reached().await;
        house.advance_seconds(100 + SLACK);
        house.collect().await;
        house.advance(GRACE);
        house.collect().await;
        assert_eq!(house.number("SELECT count(*) FROM manifest").await, 0);
        gate.open();
    };
    let (answer, ()) = tokio::join!(house.manifest("alpine", "1"), death);
    answer.assert_body(scene.image.body());
    assert_eq!(scene.manifest_gets(), 2);
    assert_eq!(house.tags("alpine").await, ["1"]);
}

/// G3: bytes that cannot be deleted now are deleted later, and nothing waits for them.
#[tokio::test]
async fn a_deletion_that_fails_is_tried_again() {
    let scene = scene(|acme| acme.ttl(60).window(0)).await;
    let (house, layer) = (&scene.house, &scene.image.layers[0]);
    pull_into(house, "acme", "alpine", "1", &scene.image).await;
    let file = house.stored_file(&layer.digest).unwrap();
    // A directory in its place cannot be removed as a file; permissions would not stop root.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    house.advance_seconds(60 + SLACK);
    house.collect().await;
    house.advance(GRACE);
    house.collect().await;
    house.advance(GRACE);
    let report = house.collect().await;
    // A pass of the worker may have been first; either way the rest is gone, and this one waits.
    assert!(report.failed_keys <= 1);
    assert_eq!(house.number("SELECT count(*) FROM garbage").await, 1);
    assert!(house.files().is_empty());
    std::fs::remove_dir(&file).unwrap();
    house.advance_seconds(60);
    house.collect().await;
    assert_eq!(house.number("SELECT count(*) FROM garbage").await, 0);
}

/// O5: what a pass would do is counted, and nothing is changed by counting.
#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let upstream = FakeUpstream::start().await;
    let (image, pinned) = (Image::random(1, &[1000]), Image::random(2, &[1000]));
    upstream.push("alpine", "1", &image);
    upstream.push_untagged("alpine", &pinned);
    let house = House::builder()
        .organization(Organization::of(&upstream).ttl(60).window(0))
        // The workers stay out of it.
        .config("/gc/intervalSeconds", json!(86_400))
        .start()
        .await;
    pull_into(&house, "acme", "alpine", "1", &image).await;
    house.manifest("alpine", pinned.digest()).await;
    assert_eq!(house.collection_forecast().await, Report::default());
    house.advance_seconds(60 + SLACK);
    let swept = Report {
        swept_tags: 1,
        swept_pins: 1,
        released_manifests: 2,
        ..Report::default()
    };
    for _ in 0..2 {
        assert_eq!(house.collection_forecast().await, swept);
        assert_eq!((holders(&house).await, held(&house).await), (2, 2));
    }
    assert_eq!(house.collect().await, swept);
    house.advance(GRACE);
    let collected = Report {
        collected_manifests: 2,
        collected_blobs: 4,
        ..Report::default()
    };
    assert_eq!(house.collection_forecast().await, collected);
    let collected = Report {
        collected_repositories: 1,
        ..collected
    };
    assert_eq!(house.collect().await, collected);
    house.advance(GRACE);
    let deleted = Report {
        deleted_keys: 2,
        deleted_bytes: image.blobs().map(Blob::size).sum(),
        ..Report::default()
    };
    assert_eq!(house.collection_forecast().await, deleted);
    assert_eq!(
        house.metric("quayside_garbage_bytes").await,
        Some(deleted.deleted_bytes)
    );
    assert_eq!(house.collect().await, deleted);
    assert_eq!(house.metric("quayside_garbage_bytes").await, Some(0));
    let total = house.metric("quayside_collected_bytes_total").await;
    assert_eq!(total, Some(deleted.deleted_bytes));
}
