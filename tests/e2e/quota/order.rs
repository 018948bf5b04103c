//! Q5: what goes for something new is what is dead, then what was used least recently, of whatever kind it is.

use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::{Image, Index};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use super::{LAYER, QUOTA, house, image, listed, pruned, pull, push, usage, weight};

/// Q5: the image that was pulled longest ago goes, and no other.
#[tokio::test]
async fn the_least_recently_pulled_goes() {
    let upstream = FakeUpstream::start().await;
    let [_, two, three] = push(&upstream, ["one", "two", "three"]);
    let mut house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    pull(&house, "three").await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["two", "three"]);
    assert_eq!(usage(&house).await, weight(&two) + weight(&three));
    assert_eq!(pruned(&house).await, 1);
    house.audit().await;
}

/// Q5, M15: a pull that waits for its batch counts for the order.
#[tokio::test]
async fn a_pull_of_a_moment_ago_protects() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    pull(&house, "one").await;
    pull(&house, "three").await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["one", "three"]);
}

/// Q5, M11: a tag that containerd only HEADs, because its node has the image, is in use.
#[tokio::test]
async fn a_busy_tag_that_is_only_asked_by_head_is_not_the_first_to_go() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["busy", "idle", "new"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "busy").await;
    pull(&house, "idle").await;
    house.advance_seconds(600);
    assert_eq!(house.head_manifest("busy", "1").await.status, 200);
    pull(&house, "new").await;
    assert_eq!(listed(&house, ["busy", "idle", "new"]).await, ["busy", "new"]);
}

/// M15: nothing is pruned by an order that does not know the latest uses: who needs room while they cannot be written is
/// told to come back.
#[tokio::test]
async fn nothing_is_pruned_while_the_latest_uses_cannot_be_written() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    let options = SqliteConnectOptions::new().filename(house.database_path());
    let mut intruder = SqliteConnection::connect_with(&options).await.unwrap();
    // New rows go in, and so would an admission; what is there is not touched.
    let trigger =
        "CREATE TRIGGER refusal BEFORE UPDATE OF pulled_at ON tag BEGIN SELECT RAISE(ABORT, 'no'); END";
    intruder.execute(trigger).await.unwrap();
    pull(&house, "one").await;
    let answer = house.manifest("three", "1").await;
    answer.assert_error(503, "UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["one", "two"]);
    intruder.execute("DROP TRIGGER refusal").await.unwrap();
    intruder.close().await.unwrap();
    pull(&house, "three").await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["one", "three"]);
}

/// Q5: what a tag left to the time machine goes before anything that lives, though it was used later.
#[tokio::test]
async fn leftovers_of_the_time_machine_go_before_live_tags() {
    let upstream = FakeUpstream::start().await;
    let [old, _] = push(&upstream, ["app", "older"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "older").await;
    pull(&house, "app").await;
    // Little beside the old version, so that both fit.
    upstream.push("app", "1", &Image::random(7, &[1_000]));
    pull(&house, "app").await;
    upstream.push("new", "1", &image(8));
    pull(&house, "new").await;
    assert_eq!(
        listed(&house, ["older", "app", "new"]).await,
        ["older", "app", "new"]
    );
    let left = house.number("SELECT count(*) FROM tag WHERE NOT current").await;
    assert_eq!(left, 0);
    // It skips its time machine: upstream alone could bring it back.
    upstream.tag("app", "1", old.digest());
    house.manifest("app", "1").await.assert_cache("MISS");
}

/// Q5, E1: a tag that never expires is pruned like any other.
#[tokio::test]
async fn tags_that_never_expire_are_pruned() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme.ttl(0)).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    pull(&house, "three").await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["two", "three"]);
}

/// Q5, M10: an image that was only ever pulled by digest, as Kubernetes does with pinned images, is pruned in its
/// turn.
#[tokio::test]
async fn images_without_a_tag_are_pruned() {
    let upstream = FakeUpstream::start().await;
    let pinned = image(7);
    upstream.push_untagged("pinned", &pinned);
    push(&upstream, ["two", "three"]);
    let house = house(&upstream, |acme| acme).await;
    house
        .manifest("pinned", pinned.digest())
        .await
        .assert_body(pinned.body());
    house.advance_seconds(1);
    pull(&house, "two").await;
    pull(&house, "three").await;
    assert_eq!(house.number("SELECT count(*) FROM tag WHERE name = ''").await, 0);
    assert_eq!(listed(&house, ["two", "three"]).await, ["two", "three"]);
    assert_eq!(pruned(&house).await, 1);
}

/// Q5: an index goes with the images that only it holds.
#[tokio::test]
async fn an_index_goes_with_its_children() {
    let upstream = FakeUpstream::start().await;
    let index = Index::two_platforms(7, LAYER);
    upstream.push_index("multi", "1", &index);
    let [one] = push(&upstream, ["one"]);
    let mut house = house(&upstream, |acme| acme).await;
    pull(&house, "multi").await;
    for child in &index.images {
        house
            .manifest("multi", child.digest())
            .await
            .assert_body(child.body());
    }
    let whole = index.manifest.size() + index.images.iter().map(weight).sum::<u64>();
    assert_eq!(usage(&house).await, whole);
    house.advance_seconds(1);
    pull(&house, "one").await;
    assert_eq!(usage(&house).await, weight(&one));
    assert_eq!(pruned(&house).await, 1);
    assert_eq!(house.tags("multi").await, Vec::<String>::new());
    house.audit().await;
}

/// Q5: as many go as are needed, and a small one that would go in vain stays.
#[tokio::test]
async fn what_the_plan_can_do_without_stays() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["large", "other"]);
    upstream.push("tiny", "1", &Image::random(8, &[100]));
    upstream.push("new", "1", &image(9));
    let house = house(&upstream, |acme| acme).await;
    for repository in ["tiny", "large", "other", "new"] {
        pull(&house, repository).await;
    }
    assert_eq!(
        listed(&house, ["tiny", "large", "other", "new"]).await,
        ["tiny", "other", "new"]
    );
    assert!(usage(&house).await <= QUOTA);
}

/// Q5, Q8: one organization's quota never prunes another's images.
#[tokio::test]
async fn another_organization_is_left_alone() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = super::enforcing()
        .organization(super::limited(&upstream, QUOTA))
        .organization(super::Organization::of(&upstream).named("free"))
        .start()
        .await;
    house.get("/v2/free/one/manifests/1").await.assert_cache("MISS");
    for repository in ["one", "two", "three"] {
        pull(&house, repository).await;
    }
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["two", "three"]);
    house
        .get("/v2/free/one/manifests/1")
        .await
        .assert_cache("REVALIDATED");
    assert_eq!(
        house.metric("quayside_quota_bytes{organization=\"free\"}").await,
        None
    );
}
