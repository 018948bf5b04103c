//! E1 to E3: the end of a tag, what its Window is for, and changes of both.

use quayside_tests::house::{House, Organization, START};
use quayside_tests::images::Image;
use serde_json::json;

use super::{SLACK, held, holders, pull_into};
use crate::scene::scene;

/// E2, B1, G1, G3: dead, released, collected, deleted: what is seen of a tag, its manifest and its bytes at each of
/// these moments, and a moment before.
#[tokio::test]
async fn a_tag_dies_and_everything_follows_in_its_time() {
    let mut scene = scene(|acme| acme.ttl(60).window(100)).await;
    let (house, layer) = (&scene.house, &scene.image.layers[0]);
    pull_into(house, "acme", "alpine", "1", &scene.image).await;
    scene.upstream.stopped().await;

    // Dead: off the lists and off the tag at once; stored for its Window.
    house.advance_seconds(60);
    assert!(house.tags("alpine").await.is_empty());
    house
        .manifest("alpine", "1")
        .await
        .assert_error(502, "UNAVAILABLE");
    house.advance_seconds(100 + SLACK - 1);
    house.collect().await;
    assert_eq!((holders(house).await, held(house).await), (1, 1));

    // Released: it does not count any more; who knows the digest of a blob still gets it.
    house.advance_seconds(1);
    house.collect().await;
    assert_eq!((holders(house).await, held(house).await), (0, 0));
    assert_eq!(house.number("SELECT usage_bytes FROM organization").await, 0);
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.advance_seconds(299);
    house.collect().await;
    assert_eq!(house.number("SELECT count(*) FROM manifest").await, 1);

    // Collected: gone for everybody; the bytes stay for those who still read them.
    house.advance_seconds(1);
    house.collect().await;
    assert_eq!(house.rows().await, 0);
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    house.advance_seconds(299);
    house.collect().await;
    assert_eq!(house.files().len(), 2);

    // Deleted.
    house.advance_seconds(1);
    house.collect().await;
    super::assert_nothing_is_left(house).await;
    scene.house.audit().await;
}

/// M5: a dead tag in its Window is revived without a download: upstream is asked for the digest and nothing else.
#[tokio::test]
async fn a_dead_tag_is_revived_without_a_download() {
    let mut scene = scene(|acme| acme.ttl(60).window(100)).await;
    let house = &scene.house;
    pull_into(house, "acme", "alpine", "1", &scene.image).await;
    house.advance_seconds(60 + 100 + SLACK - 1);
    house.collect().await;
    let before = (scene.manifest_gets(), scene.blob_gets());

    let answer = house.manifest("alpine", "1").await;

    answer.assert_cache("REVALIDATED");
    answer.assert_body(scene.image.body());
    let layer = &scene.image.layers[0];
    house.blob("alpine", &layer.digest).await.assert_cache("HIT");
    assert_eq!((scene.manifest_gets(), scene.blob_gets()), before);
    assert_eq!(house.tags("alpine").await, ["1"]);
    assert_eq!(scene.ends_at().await, house.now() + 60_000);
    house.advance_seconds(60);
    house.collect().await;
    assert_eq!(holders(house).await, 1, "the Window began anew");
    scene.house.audit().await;
}

/// M5, M9, Q3: what was released is taken back: by tag with one manifest GET, by digest without upstream; no blob is
/// downloaded again, and all of it counts again.
#[tokio::test]
async fn a_pull_that_meets_released_content_takes_it_back() {
    for by_digest in [false, true] {
        let mut scene = scene(|acme| acme.ttl(60).window(0)).await;
        let house = &scene.house;
        pull_into(house, "acme", "alpine", "1", &scene.image).await;
        let usage = house.number("SELECT usage_bytes FROM organization").await;
        house.advance_seconds(60 + SLACK);
        house.collect().await;
        house.advance_seconds(299);
        house.collect().await;
        assert_eq!(held(house).await, 0);
        let blobs = scene.blob_gets();

        let answer = if by_digest {
            scene.upstream.stopped().await;
            house.manifest("alpine", scene.image.digest()).await
        } else {
            house.manifest("alpine", "1").await
        };

        answer.assert_body(scene.image.body());
        assert_eq!(house.number("SELECT usage_bytes FROM organization").await, usage);
        house.advance_seconds(30);
        house.collect().await;
        for blob in scene.image.blobs() {
            house.blob("alpine", &blob.digest).await.assert_cache("HIT");
        }
        assert_eq!(scene.blob_gets(), blobs);
        scene.house.audit().await;
    }
}

/// M9: between the release and its notice in memory there is no gap: a digest that was just served from memory is
/// taken back by the pull after the release.
#[tokio::test]
async fn a_digest_in_memory_is_taken_back_too() {
    let scene = scene(|acme| acme.ttl(60).window(0)).await;
    let house = &scene.house;
    house.manifest("alpine", scene.image.digest()).await;
    house.advance_seconds(60 + SLACK);
    // HEAD reads it into memory and renews nothing (M11).
    house.head_manifest("alpine", scene.image.digest()).await;
    house.collect().await;
    assert_eq!(held(house).await, 0);

    house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_cache("HIT");

    assert_eq!((holders(house).await, held(house).await), (1, 1));
    assert_eq!(scene.manifest_gets(), 1);
}

/// M4, M5: A, then B, then A again is one row for each, and the old one is current again, without a download.
#[tokio::test]
async fn a_tag_that_moves_there_and_back_is_one_row_each() {
    let mut scene = scene(|acme| acme.ttl(60).window(1000)).await;
    let house = &scene.house;
    let other = Image::random(2, &[2000]);
    pull_into(house, "acme", "alpine", "1", &scene.image).await;
    scene.upstream.push("alpine", "1", &other);
    house.advance_seconds(10);
    house.manifest("alpine", "1").await.assert_body(other.body());
    scene.upstream.tag("alpine", "1", scene.image.digest());
    house.advance_seconds(10);
    let gets = (scene.manifest_gets(), scene.blob_gets());

    house
        .manifest("alpine", "1")
        .await
        .assert_body(scene.image.body());

    assert_eq!((scene.manifest_gets(), scene.blob_gets()), gets);
    assert_eq!(holders(house).await, 2);
    assert_eq!(scene.ends_at().await, START + 80_000);
    // The replaced row died when it was replaced.
    house.advance_seconds(1000 + SLACK);
    house.collect().await;
    assert_eq!((holders(house).await, held(house).await), (1, 1));
    scene.house.audit().await;
}

/// M9: a replaced tag is never resurrected: not by its digest, not by the death of the one that replaced it.
#[tokio::test]
async fn a_replaced_tag_is_never_resurrected() {
    let mut scene = scene(|acme| acme.ttl(60).window(1000)).await;
    let house = &scene.house;
    let other = Image::random(2, &[2000]);
    house.manifest("alpine", "1").await;
    scene.upstream.push("alpine", "1", &other);
    house.manifest("alpine", "1").await.assert_body(other.body());
    scene.upstream.stopped().await;

    house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
    house.advance_seconds(30);
    house.manifest("alpine", scene.image.digest()).await;
    house.manifest("alpine", "1").await.assert_body(other.body());
    house.advance_seconds(31);
    house.collect().await;

    house
        .manifest("alpine", "1")
        .await
        .assert_error(502, "UNAVAILABLE");
    assert!(house.tags("alpine").await.is_empty(), "a pin is no tag");
    house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
    scene.house.audit().await;
}

/// E3: a shorter Window applies to what is dead already, a longer one too.
#[tokio::test]
async fn a_changed_window_applies_to_the_dead() {
    let scene = scene(|acme| acme.ttl(60).window(1000)).await;
    let (house, upstream) = (&scene.house, &scene.upstream);
    house.manifest("alpine", "1").await;
    house.advance_seconds(60 + 500);
    house
        .reload(&[Organization::of(upstream).ttl(60).window(10_000)])
        .await;
    house.advance_seconds(500 + SLACK);
    house.collect().await;
    assert_eq!(holders(house).await, 1);

    house
        .reload(&[Organization::of(upstream).ttl(60).window(900)])
        .await;
    house.collect().await;

    assert_eq!((holders(house).await, held(house).await), (0, 0));
}

/// E2: a Window of 0 is over at once; M15's slack applies, 1 s where tags live for less than a minute.
#[tokio::test]
async fn a_window_of_zero_is_over_after_the_slack() {
    for (ttl, slack) in [(60, SLACK), (59, 1)] {
        let scene = scene(|acme| acme.ttl(ttl).window(0)).await;
        let house = &scene.house;
        house.manifest("alpine", "1").await;
        house.advance_seconds(ttl + slack - 1);
        house.collect().await;
        assert_eq!(holders(house).await, 1);
        house.advance_seconds(1);
        house.collect().await;
        assert_eq!((holders(house).await, held(house).await), (0, 0));
    }
}

/// E1, E3: from 0 to a minute: at reload what never ends gets an end, tags and pins alike, also what was pulled a
/// moment ago; what is replaced stays dead. Back to 0: the next pull.
#[tokio::test]
async fn a_ttl_of_zero_can_be_taken_back() {
    let mut scene = scene(|acme| acme.ttl(0).window(0)).await;
    let house = &scene.house;
    let (other, pinned) = (Image::random(2, &[2000]), Image::random(3, &[3000]));
    house.manifest("alpine", "1").await;
    scene.upstream.push("alpine", "1", &other);
    scene.upstream.push_untagged("alpine", &pinned);
    house.manifest("alpine", "1").await.assert_body(other.body());
    house.manifest("alpine", pinned.digest()).await;
    // Not even a pull of long ago ends.
    house.advance_seconds(10 * 365 * 86_400);
    house.collect().await;
    assert_eq!((holders(house).await, held(house).await), (2, 2));
    assert_eq!(house.tags("alpine").await, ["1"]);
    // This renewal says never, and waits to be written.
    house.manifest("alpine", "1").await.assert_cache("REVALIDATED");

    house
        .reload(&[Organization::of(&scene.upstream).ttl(60).window(0)])
        .await;

    let ends = "SELECT count(*) FROM tag WHERE ends_at <> (SELECT max(ends_at) FROM tag)";
    assert_eq!(house.number(ends).await, 0);
    let end = house.number("SELECT max(ends_at) FROM tag").await;
    assert_eq!(end, house.now() + 60_000);
    house
        .reload(&[Organization::of(&scene.upstream).ttl(61).window(0)])
        .await;
    assert_eq!(
        house.number("SELECT max(ends_at) FROM tag").await,
        end,
        "only never is changed"
    );
    house
        .reload(&[Organization::of(&scene.upstream).ttl(0).window(0)])
        .await;
    assert_eq!(house.number("SELECT min(ends_at) FROM tag").await, end);
    house.manifest("alpine", "1").await;
    house.advance_seconds(60 + SLACK);
    house.collect().await;
    assert_eq!((holders(house).await, held(house).await), (1, 1));
    assert_eq!(house.tags("alpine").await, ["1"]);
    scene.house.audit().await;
}

/// C2: without contact nothing is released, however dead; what was released before is collected.
#[tokio::test]
async fn without_contact_nothing_is_released() {
    let mut scene = scene(|acme| acme.ttl(60).window(0)).await;
    let other = Image::random(2, &[2000]);
    scene.upstream.push("alpine", "2", &other);
    pull_into(&scene.house, "acme", "alpine", "1", &scene.image).await;
    scene.house.advance_seconds(30);
    pull_into(&scene.house, "acme", "alpine", "2", &other).await;
    scene.house.advance_seconds(30 + SLACK);
    scene.house.collect().await;
    assert_eq!(held(&scene.house).await, 1);
    scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", json!(false))
        .await;
    let house = &scene.house;
    house.advance_seconds(86_400);
    assert_eq!(house.collection_forecast().await.swept_tags, 0);

    house.collect_fully().await;

    assert_eq!((holders(house).await, held(house).await), (1, 1));
    assert_eq!(house.number("SELECT count(*) FROM manifest").await, 1);
    assert_eq!(house.files().len(), 2, "{:?}", house.files());
    house
        .manifest("alpine", "2")
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    // With contact again it is swept.
    scene.house.restart_with("FEATURE_PROXY_CACHE", json!(true)).await;
    scene.house.collect_fully().await;
    super::assert_nothing_is_left(&scene.house).await;
}

/// G2: nobody has to ask: the workers of a running registry do all of it, at their interval.
#[tokio::test]
async fn workers_do_it_by_themselves() {
    let scene = scene(|acme| acme.ttl(60).window(0)).await;
    let house: &House = &scene.house;
    pull_into(house, "acme", "alpine", "1", &scene.image).await;
    let step = std::time::Duration::from_secs(10);
    house
        .as_time_passes("everything is gone", step, || async { house.rows().await == 0 })
        .await;
    house
        .as_time_passes("the files are gone", step, || async { house.files().is_empty() })
        .await;
}
