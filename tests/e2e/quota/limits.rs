//! Q1, Q9: quotas that are lowered or lifted, and the flag.

use std::time::Duration;

use quayside_registry::gc::Report;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};
use serde_json::json;

use super::{LAYER, QUOTA, enforcing, house, limited, listed, pruned, pull, push, refused, usage, weight};

/// `gc.intervalSeconds` unless a test says otherwise.
const INTERVAL: Duration = Duration::from_secs(30);

/// Returns when `acme` uses exactly so many bytes, one interval of the worker later.
async fn within_an_interval(house: &House, expected: u64) {
    // While this is answered, a worker that was started a moment ago begins to wait for its interval.
    usage(house).await;
    house.advance(INTERVAL);
    eventually("the worker has pruned", || async {
        usage(house).await == expected
    })
    .await;
}

/// Q9: a lowered quota is met by the worker within an interval, by the same order.
#[tokio::test]
async fn a_lowered_quota_is_met_within_an_interval() {
    let upstream = FakeUpstream::start().await;
    let [_, two, _] = push(&upstream, ["one", "two", "three"]);
    let mut house = enforcing()
        .organization(limited(&upstream, 10 * QUOTA))
        .start()
        .await;
    for repository in ["two", "one", "three"] {
        pull(&house, repository).await;
    }
    // Nobody has written down yet that this one is in use (M15).
    pull(&house, "two").await;
    house.reload(&[limited(&upstream, QUOTA / 2)]).await;
    within_an_interval(&house, weight(&two)).await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["two"]);
    assert_eq!(pruned(&house).await, 2);
    // One pass, and nothing is left to do.
    assert_eq!(house.collect().await.pruned_images, 0);
    house.audit().await;
}

/// Q9: what a pass prunes is in its report, and a dry run says it before.
#[tokio::test]
async fn a_pass_reports_what_it_prunes() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two"]);
    let house = enforcing()
        .organization(limited(&upstream, QUOTA))
        // The workers stay out of it.
        .config("/gc/intervalSeconds", json!(86_400))
        .start()
        .await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    assert_eq!(house.collection_forecast().await, Report::default());
    house.reload(&[limited(&upstream, QUOTA / 2)]).await;
    let expected = Report {
        pruned_images: 1,
        ..Report::default()
    };
    for _ in 0..2 {
        assert_eq!(house.collection_forecast().await, expected);
        assert_eq!(listed(&house, ["one", "two"]).await, ["one", "two"]);
    }
    assert_eq!(house.collect().await, expected);
    assert_eq!(listed(&house, ["one", "two"]).await, ["two"]);
    assert_eq!(house.collect().await, Report::default());
}

/// Q9, M15: a dry run knows the uses that nobody has written down yet, so it counts what would go.
#[tokio::test]
async fn a_dry_run_counts_by_the_latest_uses() {
    let upstream = FakeUpstream::start().await;
    let [small, other] = push(&upstream, ["one", "two"]);
    let large = Image::random(77, &[3 * LAYER]);
    upstream.push("large", "1", &large);
    let house = enforcing()
        .organization(limited(&upstream, 10 * QUOTA))
        .config("/gc/intervalSeconds", json!(86_400))
        .start()
        .await;
    for repository in ["large", "one", "two"] {
        pull(&house, repository).await;
    }
    assert!(weight(&large) > weight(&small) + weight(&other));
    house.reload(&[limited(&upstream, weight(&large))]).await;
    pull(&house, "large").await;
    assert_eq!(house.collection_forecast().await.pruned_images, 2);
    assert_eq!(house.collect().await.pruned_images, 2);
    assert_eq!(listed(&house, ["large", "one", "two"]).await, ["large"]);
}

/// Q9: a quota below everything that is there leaves nothing, and is no failure.
#[tokio::test]
async fn a_quota_below_every_image_leaves_nothing() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    house.reload(&[limited(&upstream, 1)]).await;
    within_an_interval(&house, 0).await;
    assert_eq!(listed(&house, ["one", "two"]).await, Vec::<&str>::new());
    super::assert_refused(&house.manifest("one", "1").await);
}

/// Q1, Q9: without the flag nothing is refused or pruned, and usage is counted; switched on at a restart, it is met
/// within an interval.
#[tokio::test]
async fn the_flag_counts_when_it_is_switched_on() {
    let upstream = FakeUpstream::start().await;
    let [_, _, three] = push(&upstream, ["one", "two", "three"]);
    let mut house = House::with(limited(&upstream, QUOTA / 2)).await;
    for repository in ["one", "two", "three"] {
        pull(&house, repository).await;
    }
    let all = usage(&house).await;
    assert!(all > u64::try_from(3 * LAYER).unwrap(), "{all}");
    house.advance(INTERVAL);
    assert_eq!(house.collect().await.pruned_images, 0);
    assert_eq!(house.collection_forecast().await.pruned_images, 0);
    assert_eq!(usage(&house).await, all);
    assert_eq!((pruned(&house).await, refused(&house).await), (0, 0));
    let quota = "quayside_quota_bytes{organization=\"acme\"}";
    assert_eq!(house.metric(quota).await, Some(QUOTA / 2));

    house.restart_with("FEATURE_QUOTA_MANAGEMENT", json!(true)).await;
    within_an_interval(&house, weight(&three)).await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["three"]);
    house.audit().await;
}

/// Q1: an organization without a quota takes what it is given.
#[tokio::test]
async fn without_a_quota_nothing_is_pruned() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = enforcing()
        .organization(Organization::of(&upstream))
        .start()
        .await;
    for repository in ["one", "two", "three"] {
        pull(&house, repository).await;
    }
    assert_eq!(house.collect().await.pruned_images, 0);
    assert_eq!(
        listed(&house, ["one", "two", "three"]).await,
        ["one", "two", "three"]
    );
}

/// Q3: a quota that is raised, or lifted, holds for the next pull.
#[tokio::test]
async fn a_raised_quota_holds_at_once() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme.set("storageQuotaBytes", json!(QUOTA / 5))).await;
    super::assert_refused(&house.manifest("one", "1").await);
    house.reload(&[limited(&upstream, QUOTA)]).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    house.reload(&[Organization::of(&upstream)]).await;
    pull(&house, "three").await;
    assert_eq!(
        listed(&house, ["one", "two", "three"]).await,
        ["one", "two", "three"]
    );
}

/// C2, Q9, M15: a lowered quota is met though nothing that goes could be fetched again, and though nothing is swept; what
/// was pulled a moment ago stays.
#[tokio::test]
async fn a_lowered_quota_is_met_while_upstreams_are_not_contacted() {
    let upstream = FakeUpstream::start().await;
    let [one, _] = push(&upstream, ["one", "two"]);
    let mut house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    house.restart_with("FEATURE_PROXY_CACHE", json!(false)).await;
    house.reload(&[limited(&upstream, QUOTA / 2)]).await;
    house.manifest("one", "1").await.assert_cache("HIT");
    within_an_interval(&house, weight(&one)).await;
    house.manifest("one", "1").await.assert_cache("HIT");
    assert_eq!(house.manifest("two", "1").await.status, 404);
}

/// B10, Q9: a layer turns out to be larger than was declared, because another organization has read it to its end:
/// the worker puts this one back under its quota.
#[tokio::test]
async fn a_size_that_was_declared_too_small_is_made_up_for() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one"]);
    let layer = Blob::random(77, 3 * LAYER / 2);
    let liar = Image::builder().layer_declared(layer.clone(), 1000).build();
    upstream.push("liar", "1", &liar);
    upstream.push("honest", "1", &Image::builder().layer(layer.clone()).build());
    let quota = QUOTA - LAYER as u64 / 4;
    let mut house = enforcing()
        .organization(limited(&upstream, quota))
        .organization(Organization::of(&upstream).named("other"))
        .start()
        .await;
    pull(&house, "one").await;
    pull(&house, "liar").await;
    house.get("/v2/other/honest/manifests/1").await;
    let blob = format!("/v2/other/honest/blobs/{}", layer.digest);
    house.get(&blob).await.assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    assert!(usage(&house).await > quota);
    within_an_interval(&house, weight(&liar)).await;
    assert_eq!(listed(&house, ["one", "liar"]).await, ["liar"]);
    house.audit().await;
}
