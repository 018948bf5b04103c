//! SPEC §4 and §6: how long what was pulled lives, and that it leaves nothing behind.

mod clock;
mod collection;
mod death;
mod history;
mod killed;
mod organizations;
mod renewal;
mod sharing;

use quayside_tests::house::House;
use quayside_tests::images::Image;

/// What M15 adds to a Window before a tag is taken: 5 s, of a TTL under a minute 1 s.
const SLACK: u64 = 5;

/// Pulls an image by tag and everything that it names, and returns when all of it is stored.
async fn pull_into(house: &House, organization: &str, repository: &str, tag: &str, image: &Image) {
    let path = format!("/v2/{organization}/{repository}");
    house
        .get(&format!("{path}/manifests/{tag}"))
        .await
        .assert_body(image.body());
    for blob in image.blobs() {
        house
            .get(&format!("{path}/blobs/{}", blob.digest))
            .await
            .assert_body(&blob.bytes);
        house.stored(&blob.digest).await;
    }
}

/// How many tags and pins there are, live, dead and replaced.
async fn holders(house: &House) -> i64 {
    house.number("SELECT count(*) FROM tag").await
}

/// How many manifests count.
async fn held(house: &House) -> i64 {
    house
        .number("SELECT count(*) FROM manifest WHERE released_at IS NULL")
        .await
}

/// Panics if anything of what was pulled is left, in the database or on the disk.
async fn assert_nothing_is_left(house: &House) {
    assert_eq!(house.rows().await, 0);
    let rest = house
        .number("SELECT (SELECT count(*) FROM content) + (SELECT count(*) FROM garbage)")
        .await;
    assert_eq!(rest, 0);
    assert!(house.files().is_empty(), "{:?}", house.files());
}
