//! E1, M3, M9, M11: which pulls prolong a life, and which do not.

use quayside_tests::fake::{Fault, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Index;
use serde_json::json;

use super::{SLACK, holders};
use crate::scene::{Scene, scene};

const TTL: u64 = 60;

/// A way to pull the image of a scene, or its index.
#[derive(Clone, Copy, Debug)]
enum Way {
    GetTag,
    GetDigest,
    HeadTagThenGetDigest,
    GetChild,
    GetTagUnchecked,
    HeadTag,
    HeadDigest,
    GetTagWhileUpstreamFails,
    GetDigestAfterFailedCheck,
    Blob,
    ListTags,
}

impl Way {
    fn renews(self) -> bool {
        matches!(
            self,
            Self::GetTag
                | Self::GetDigest
                | Self::HeadTagThenGetDigest
                | Self::GetChild
                | Self::GetTagUnchecked
        )
    }
}

async fn use_it(way: Way, scene: &Scene, index: &Index) {
    let (house, image) = (&scene.house, &scene.image);
    let answer = match way {
        Way::GetTag | Way::GetTagUnchecked => house.manifest("alpine", "1").await,
        Way::GetDigest => house.manifest("alpine", image.digest()).await,
        Way::HeadTagThenGetDigest => {
            house.head_manifest("alpine", "1").await;
            house.manifest("alpine", image.digest()).await
        }
        Way::GetChild => house.manifest("multi", index.images[0].digest()).await,
        Way::HeadTag => house.head_manifest("alpine", "1").await,
        Way::HeadDigest => house.head_manifest("alpine", image.digest()).await,
        Way::GetTagWhileUpstreamFails => {
            scene.upstream.script(On::manifest(), Fault::status(500));
            house.manifest("alpine", "1").await
        }
        Way::GetDigestAfterFailedCheck => {
            scene.upstream.script(On::manifest(), Fault::status(500));
            house.manifest("alpine", "1").await;
            house.manifest("alpine", image.digest()).await
        }
        Way::Blob => house.blob("alpine", &image.layers[0].digest).await,
        Way::ListTags => house.get("/v2/acme/alpine/tags/list").await,
    };
    assert_eq!(answer.status, 200, "{way:?}: {}", answer.summary());
}

/// E1, M3, M6, M9, M11: after one use in the middle of its life a tag either lives for another TTL or dies in its time.
#[tokio::test]
async fn every_kind_of_pull_renews_and_nothing_else_does() {
    for way in [
        Way::GetTag,
        Way::GetDigest,
        Way::HeadTagThenGetDigest,
        Way::GetChild,
        Way::GetTagUnchecked,
        Way::HeadTag,
        Way::HeadDigest,
        Way::GetTagWhileUpstreamFails,
        Way::GetDigestAfterFailedCheck,
        Way::Blob,
        Way::ListTags,
    ] {
        let revalidate = if matches!(way, Way::GetTagUnchecked) {
            300
        } else {
            0
        };
        let scene = scene(|acme| acme.ttl(TTL).window(0).revalidate(revalidate)).await;
        let house = &scene.house;
        let index = Index::two_platforms(7, 10);
        scene.upstream.push_index("multi", "1", &index);
        house.manifest("alpine", "1").await;
        house.manifest("multi", "1").await;
        house.manifest("multi", index.images[0].digest()).await;
        house.advance_seconds(TTL / 2);

        use_it(way, &scene, &index).await;

        let repository = if matches!(way, Way::GetChild) {
            "multi"
        } else {
            "alpine"
        };
        house.advance_seconds(TTL / 2 + SLACK);
        house.collect().await;
        let lives = house.tags(repository).await == ["1"];
        assert_eq!(lives, way.renews(), "{way:?}");
        // A digest pull beside a tag that may not be renewed leaves a pin at most.
        let tags = house.number("SELECT count(*) FROM tag WHERE name <> ''").await;
        assert_eq!(tags, i64::from(way.renews()), "{way:?}");
        house.advance_seconds(TTL + SLACK);
        house.collect().await;
        assert_eq!(holders(house).await, 0, "{way:?}");
    }
}

/// C2: where upstream must not be asked, a pull renews without a check.
#[tokio::test]
async fn without_contact_a_pull_renews_unchecked() {
    let mut scene = scene(|acme| acme.ttl(TTL).window(0)).await;
    scene.house.manifest("alpine", "1").await;
    scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", json!(false))
        .await;
    let house = &scene.house;
    for _ in 0..3 {
        house.advance_seconds(TTL - 1);
        house.manifest("alpine", "1").await.assert_cache("HIT");
    }
    let listed = || async { house.tags("alpine").await == ["1"] };
    house.written("the renewal", listed).await;
}

/// A3: a stranger's pull of a public image does not prolong its life.
#[tokio::test]
async fn a_strangers_pull_renews_nothing() {
    let scene = scene(|acme| acme.ttl(TTL).window(0).public().member("alice")).await;
    let house = &scene.house;
    let path = "/v2/acme/alpine/manifests/1";
    let member = house.call(http::Method::GET, path).user("alice").send().await;
    assert_eq!(member.status, 200, "{}", member.summary());
    house.advance_seconds(TTL / 2);
    assert_eq!(house.get(path).await.status, 200);
    house.advance_seconds(TTL / 2 + SLACK);
    house.collect().await;
    assert_eq!(holders(house).await, 0);
}

/// M15: the sweeper writes what waits before it looks: the renewal of a moment ago counts, in the very pass in
/// which the old end would have been too long ago.
#[tokio::test]
async fn a_renewal_that_waits_is_written_before_a_sweep() {
    let scene = scene(|acme| acme.ttl(TTL).window(0)).await;
    let house: &House = &scene.house;
    house.manifest("alpine", "1").await;
    house.advance_seconds(TTL - 1);
    // Written within a second of the machine's time; the pass below comes earlier than that.
    house.manifest("alpine", "1").await.assert_cache("REVALIDATED");
    house.advance_seconds(1 + SLACK);
    house.collect().await;
    assert_eq!(house.tags("alpine").await, ["1"]);
}

/// M9, E2: a digest pin lives, dies and is revived like a tag, without ever being listed.
#[tokio::test]
async fn a_pin_has_a_life_and_a_window() {
    let scene = scene(|acme| acme.ttl(TTL).window(100)).await;
    let (house, digest) = (&scene.house, scene.image.digest());
    house.manifest("alpine", digest).await;
    house.advance_seconds(TTL + 50);
    scene.upstream.stopped().await;
    house.manifest("alpine", digest).await.assert_cache("HIT");
    house.advance_seconds(TTL + 99);
    house.collect().await;
    assert_eq!(holders(house).await, 1);
    assert!(house.tags("alpine").await.is_empty());
    house.advance_seconds(1 + SLACK);
    house.collect().await;
    assert_eq!(holders(house).await, 0);
}

/// E3, M15: a lowered TTL applies to the next pull, and is swept by then.
#[tokio::test]
async fn a_lowered_ttl_shortens_the_life_at_the_next_pull() {
    let scene = scene(|acme| acme.ttl(6000).window(0)).await;
    let house = &scene.house;
    house.manifest("alpine", "1").await;
    house
        .reload(&[Organization::of(&scene.upstream).ttl(TTL).window(0)])
        .await;
    house.advance_seconds(3 * TTL);
    house.collect().await;
    assert_eq!(house.tags("alpine").await, ["1"]);
    house.manifest("alpine", "1").await;
    house.advance_seconds(TTL + SLACK);
    house.collect().await;
    assert_eq!(holders(house).await, 0);
}
