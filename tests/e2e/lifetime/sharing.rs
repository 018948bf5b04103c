//! G1, B9: what several hold outlives any one of them.

use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image, Index};

use super::{SLACK, pull_into};

/// Two images with a layer of their own and one in common.
fn two_images() -> (Image, Image) {
    let shared = Blob::random(77, 4000);
    let image = |seed| {
        let own = Blob::random(seed, 1000);
        Image::builder()
            .layer(shared.clone())
            .layer(own)
            .label("seed", &seed.to_string())
            .build()
    };
    (image(1), image(2))
}

/// G1: of two repositories that share a layer one dies and is collected to the last byte; the other is still pulled,
/// with upstream down.
#[tokio::test]
async fn one_of_two_repositories_dies_and_the_other_still_pulls() {
    let upstream = FakeUpstream::start().await;
    let (one, two) = two_images();
    upstream.push("one", "1", &one);
    upstream.push("two", "1", &two);
    let mut house = House::with(Organization::of(&upstream).ttl(60).window(0)).await;
    pull_into(&house, "acme", "one", "1", &one).await;
    pull_into(&house, "acme", "two", "1", &two).await;
    for _ in 0..14 {
        house.advance_seconds(50);
        house.manifest("two", "1").await.assert_cache("REVALIDATED");
        house.collect().await;
    }
    upstream.stopped().await;

    for blob in two.blobs() {
        house.blob("two", &blob.digest).await.assert_body(&blob.bytes);
    }
    house.manifest("two", "1").await.assert_body(two.body());
    house
        .blob("one", &one.layers[0].digest)
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    assert!(house.stored_file(&one.layers[1].digest).is_none());
    assert_eq!(house.files().len(), 3);
    assert_eq!(house.number("SELECT count(*) FROM repository").await, 1);
    house.audit().await;
}

/// G1, B9: the same with two organizations, of which one lets its tags die sooner; and when the other's time has
/// come, nothing is left.
#[tokio::test]
async fn one_of_two_organizations_dies_and_the_other_still_pulls() {
    let (upstream, other) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let (one, two) = two_images();
    upstream.push("app", "1", &one);
    other.push("app", "1", &two);
    let mut house = House::builder()
        .organization(Organization::of(&upstream).named("short").ttl(60).window(0))
        .organization(Organization::of(&other).named("long").ttl(6000).window(0))
        .start()
        .await;
    pull_into(&house, "short", "app", "1", &one).await;
    pull_into(&house, "long", "app", "1", &two).await;
    house.advance_seconds(60 + SLACK);
    house.collect_fully().await;
    upstream.stopped().await;
    other.stopped().await;

    let answer = house.get("/v2/short/app/manifests/1").await;
    answer.assert_error(502, "UNAVAILABLE");
    pull_into(&house, "long", "app", "1", &two).await;
    assert_eq!(house.files().len(), 3);
    house.audit().await;
    house.advance_seconds(6000 + SLACK);
    house.collect_fully().await;
    super::assert_nothing_is_left(&house).await;
}

/// B9, G1: a blob that was obtained with credentials and collected is private anew when it is filled again: no proof
/// outlives the bytes that it was about.
#[tokio::test]
async fn proofs_go_with_the_blob() {
    let login = quayside_tests::fake::Login::Basic {
        username: "robot".to_owned(),
        password: "canary-lifetime-9c1d".to_owned(),
    };
    let upstream = FakeUpstream::with_login(login).await;
    let image = Image::random(1, &[1000]);
    upstream.push("app", "1", &image);
    let acme = Organization::of(&upstream).ttl(60).window(0);
    let house = House::with(acme.credentials("robot", "canary-lifetime-9c1d")).await;
    pull_into(&house, "acme", "app", "1", &image).await;
    assert_eq!(house.number("SELECT count(*) FROM proof").await, 2);
    house.advance_seconds(60 + SLACK);
    house.collect_fully().await;
    assert_eq!(house.number("SELECT count(*) FROM proof").await, 0);
    pull_into(&house, "acme", "app", "1", &image).await;
    assert_eq!(house.number("SELECT count(*) FROM proof").await, 2);
}

/// G1: children and referrers go with their index and their subject, and are taken back with them.
#[tokio::test]
async fn children_and_referrers_go_and_come_back_with_what_holds_them() {
    let upstream = FakeUpstream::start().await;
    let index = Index::two_platforms(5, 500);
    let signature = Image::builder()
        .subject(&index.manifest)
        .layer(Blob::random(9, 100))
        .build();
    upstream.push_index("app", "1", &index);
    upstream.push_untagged("app", &signature);
    let mut house = House::with(Organization::of(&upstream).ttl(60).window(0)).await;
    house.manifest("app", "1").await.assert_body(index.body());
    let below = [&index.images[0], &signature];
    for image in below {
        pull_into(&house, "acme", "app", image.digest(), image).await;
    }
    assert_eq!((super::holders(&house).await, super::held(&house).await), (1, 3));
    let usage = house.number("SELECT usage_bytes FROM organization").await;
    house.advance_seconds(60 + SLACK);
    house.collect().await;
    assert_eq!(super::held(&house).await, 0);

    house.manifest("app", "1").await.assert_body(index.body());

    assert_eq!(super::held(&house).await, 3);
    assert_eq!(house.number("SELECT usage_bytes FROM organization").await, usage);
    upstream.stopped().await;
    for image in below {
        pull_into(&house, "acme", "app", image.digest(), image).await;
    }
    house.audit().await;
    house.advance_seconds(60 + SLACK);
    house.collect_fully().await;
    super::assert_nothing_is_left(&house).await;
}
