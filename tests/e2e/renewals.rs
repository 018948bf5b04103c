//! SPEC §2 M15, §4: end times, when they are written, and what follows from them.

use std::time::Duration;

use quayside_tests::house::{Organization, START};

use crate::scene::scene;

/// M15: a renewal is in the database one second later, without anybody asking.
#[tokio::test]
async fn writes_renewals_within_a_second() {
    let scene = scene(|acme| acme.ttl(600).revalidate(300)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(10);
    scene.house.manifest("alpine", "1").await.assert_cache("HIT");
    scene
        .house
        .written("the renewal", || async {
            scene.ends_at().await == START + 610_000
        })
        .await;
}

/// M15: a graceful stop loses nothing.
#[tokio::test]
async fn a_graceful_stop_writes_what_is_pending() {
    let mut scene = scene(|acme| acme.ttl(600)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(100);
    scene.house.manifest("alpine", "1").await;
    scene.house.stop().await;
    assert_eq!(scene.ends_at().await, START + 700_000);
}

/// M15, E3: a lowered TTL bites at the next pull.
#[tokio::test]
async fn a_lowered_ttl_bites_at_the_next_pull() {
    let scene = scene(|acme| acme.ttl(600)).await;
    scene.house.manifest("alpine", "1").await;
    scene
        .house
        .reload(&[Organization::of(&scene.upstream).ttl(30)])
        .await;
    assert_eq!(scene.ends_at().await, START + 600_000);
    scene.house.advance_seconds(1);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_cache("REVALIDATED");
    scene
        .house
        .written("the renewal", || async {
            scene.ends_at().await == START + 31_000
        })
        .await;
}

/// E1: a TTL of 0 never ends.
#[tokio::test]
async fn a_ttl_of_zero_never_ends() {
    let scene = scene(|acme| acme.ttl(0)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(10 * 365 * 86_400);
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
    scene.upstream.stopped().await;
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
}

/// E2: in the moment of its end a tag leaves the list and is no longer pulled by tag; its content stays.
#[tokio::test]
async fn a_dead_tag_disappears_at_once_and_stays_stored() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.upstream.stopped().await;
    scene.house.advance(Duration::from_millis(59_999));
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
    scene.house.advance(Duration::from_millis(1));
    scene
        .house
        .get("/v2/acme/alpine/tags/list")
        .await
        .assert_error(404, "NAME_UNKNOWN");
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(502, "UNAVAILABLE");
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
}

/// M15: an end time outlives a restart.
#[tokio::test]
async fn what_is_cached_outlives_a_restart() {
    let mut scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.blob("alpine", &scene.image.layers[0].digest).await;
    scene.house.restart().await;
    scene.upstream.stopped().await;
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene
        .house
        .blob("alpine", &scene.image.layers[0].digest)
        .await
        .assert_body(&scene.image.layers[0].bytes);
}
