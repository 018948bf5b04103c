//! E3: a wall clock that jumps, and jumps back.

use quayside_tests::house::{GRACE, START};

use super::{held, holders, pull_into};
use crate::scene::{Scene, scene};

const DAY: i64 = 86_400_000;

async fn pulled() -> Scene {
    let scene = scene(|acme| acme.ttl(3600).window(0)).await;
    pull_into(&scene.house, "acme", "alpine", "1", &scene.image).await;
    scene.house.advance_seconds(60);
    scene.house.collect().await;
    scene
}

/// E3: a day forward: everything looks dead, and nothing is taken; the clock is put right within the grace, and
/// nothing has happened. No end time was rewritten.
#[tokio::test]
async fn a_clock_that_was_a_day_ahead_for_a_moment_costs_nothing() {
    let mut scene = pulled().await;
    let house = &scene.house;
    house.set_clock(house.now() + DAY);
    assert!(house.tags("alpine").await.is_empty());
    assert_eq!(house.collect().await.resting_seconds, 300);
    house.advance_seconds(299);
    assert_eq!(house.collect().await.resting_seconds, 1);
    assert_eq!((holders(house).await, held(house).await), (1, 1));

    house.set_clock(house.now() - DAY);

    assert_eq!(house.tags("alpine").await, ["1"]);
    assert_eq!(scene.ends_at().await, START + 3_600_000);
    assert_eq!(
        house.collect().await.resting_seconds,
        300,
        "the way back is a step too"
    );
    house.advance(GRACE);
    let report = house.collect().await;
    assert_eq!((report.resting_seconds, report.swept_tags), (0, 0));
    scene.upstream.stopped().await;
    house
        .manifest("alpine", "1")
        .await
        .assert_body(scene.image.body());
    scene.house.audit().await;
}

/// E3: a clock that stays a day ahead is the time: after one grace of rest what is dead by it goes.
#[tokio::test]
async fn a_clock_that_stays_ahead_is_believed_after_a_grace() {
    let mut scene = pulled().await;
    let house = &scene.house;
    house.set_clock(house.now() + DAY);
    house.collect().await;
    house.advance(GRACE);
    house.collect().await;
    assert_eq!((holders(house).await, held(house).await), (0, 0));
    // The bytes have their own two graces all the same.
    house.collect_fully().await;
    super::assert_nothing_is_left(house).await;
    scene.house.audit().await;
}

/// E3: a day back: nothing is lost, and work goes on after the rest. End times are not rewritten, but the next pull
/// sets one as any pull does (E1).
#[tokio::test]
async fn a_clock_that_is_set_back_a_day_loses_nothing() {
    let mut scene = pulled().await;
    let house = &scene.house;
    house.set_clock(house.now() - DAY);
    assert_eq!(house.collect().await.resting_seconds, 300);
    assert_eq!(house.tags("alpine").await, ["1"]);
    assert_eq!(scene.ends_at().await, START + 3_600_000, "not rewritten");
    house.advance_seconds(10);
    house.manifest("alpine", "1").await.assert_cache("REVALIDATED");
    let pulled_at = house.now();
    house.advance(GRACE);
    assert_eq!(house.collect().await.resting_seconds, 0);
    assert_eq!(house.tags("alpine").await, ["1"]);
    assert_eq!(scene.ends_at().await, pulled_at + 3_600_000);
    house.advance_seconds(3600);
    house.collect_fully().await;
    super::assert_nothing_is_left(house).await;
    scene.house.audit().await;
}

/// E3: what was released before the step is not collected during the rest, and garbage not deleted.
#[tokio::test]
async fn collection_and_deletion_rest_too() {
    let scene = pulled().await;
    let house = &scene.house;
    house.advance_seconds(3600);
    house.collect().await;
    assert_eq!(held(house).await, 0);
    house.set_clock(house.now() + DAY);
    house.collect().await;
    assert_eq!(house.number("SELECT count(*) FROM manifest").await, 1);
    house.advance(GRACE);
    house.collect().await;
    assert_eq!(house.number("SELECT count(*) FROM garbage").await, 2);
    house.set_clock(house.now() + DAY);
    house.collect().await;
    assert_eq!(house.files().len(), 2);
    house.advance(GRACE);
    house.collect().await;
    super::assert_nothing_is_left(house).await;
}

/// E3: a minute is what a time service may put right: that is no step.
#[tokio::test]
async fn a_minute_is_no_step() {
    let scene = pulled().await;
    let house = &scene.house;
    house.set_clock(house.now() + 60_000);
    assert_eq!(house.collect().await.resting_seconds, 0);
}
