//! Many clients at once on one image that nobody has pulled before.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use quayside_tests::eventually::soon;
use quayside_tests::fake::{FakeUpstream, Fault, Kind, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};
use tokio::time::Instant;

async fn pull(house: &House, image: &Image) {
    house.manifest("alpine", "1").await.assert_body(image.body());
    join_all(image.blobs().map(|blob| async {
        house.blob("alpine", &blob.digest).await.assert_body(&blob.bytes);
    }))
    .await;
}

/// M2, B2, B6: forty clients pull one cold image, beside the background filler: one GET of the manifest and one of
/// each blob, and every body is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_clients_pull_one_cold_image() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[2 << 20, 300_000, 10]);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream).background()).await;
    join_all((0..40).map(|_| pull(&house, &image))).await;
    assert_eq!(upstream.count_kind(&Method::GET, Kind::Manifest), 1);
    for blob in image.blobs() {
        assert_eq!(upstream.count(&Method::GET, &blob.digest), 1);
    }
}

/// How long the first byte and the last one took.
async fn times(house: &House, layer: &Blob) -> (Duration, Duration) {
    let begun = Instant::now();
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let mut response = house.call(Method::GET, &path).open().await;
    let (mut first, mut length) = (None, 0);
    while let Some(chunk) = soon("the body goes on", response.chunk()).await.unwrap() {
        first.get_or_insert_with(|| begun.elapsed());
        length += chunk.len();
    }
    assert_eq!(length, layer.bytes.len());
    (first.unwrap(), begun.elapsed())
}

/// B2: behind a slow link the first byte comes within the first tenth of the time of the transfer, for all of forty
/// clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_byte_comes_within_the_first_tenth() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[4 << 20]);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("alpine", "1").await.assert_body(image.body());
    upstream.script(On::blob(), Fault::Drip(64 << 10, Duration::from_millis(50)));
    for (first, last) in join_all((0..40).map(|_| times(&house, &image.layers[0]))).await {
        assert!(first * 10 < last, "the first byte after {first:?} of {last:?}");
    }
    assert_eq!(upstream.count_kind(&Method::GET, Kind::Blob), 1);
}
