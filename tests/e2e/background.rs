//! SPEC §3, B6: images that somebody began to pull are completed.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, never};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Image, Index};

const STEP: Duration = Duration::from_millis(50);

async fn filling(image: &Image) -> (FakeUpstream, House) {
    let upstream = FakeUpstream::start().await;
    upstream.push("alpine", "1", image);
    let house = House::with(Organization::of(&upstream).background()).await;
    (upstream, house)
}

fn stored(house: &House, image: &Image) -> usize {
    image
        .blobs()
        .filter(|blob| house.stored_file(&blob.digest).is_some())
        .count()
}

fn blob_gets(upstream: &FakeUpstream) -> usize {
    upstream.count_kind(&Method::GET, Kind::Blob)
}

/// B6: after the GET of a manifest its blobs are fetched, each once, and all is there when upstream goes away.
#[tokio::test]
async fn completes_an_image_that_a_client_began_to_pull() {
    let image = Image::random(1, &[1000, 100_000, 10]);
    let (upstream, house) = filling(&image).await;
    house.manifest("alpine", "1").await.assert_body(image.body());
    eventually("the image is complete", || async { stored(&house, &image) == 4 }).await;
    upstream.stopped().await;
    for blob in image.blobs() {
        house.blob("alpine", &blob.digest).await.assert_body(&blob.bytes);
    }
    assert_eq!(blob_gets(&upstream), 4);
}

/// B6: `backgroundFill: false` turns it off.
#[tokio::test]
async fn fills_nothing_where_it_is_turned_off() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("alpine", "1").await.assert_body(image.body());
    never("a blob is fetched", || async { blob_gets(&upstream) > 0 }).await;
}

/// B6: at most two at a time for one host.
#[tokio::test]
async fn fills_two_at_a_time_for_one_host() {
    let image = Image::random(1, &[100; 6]);
    let (upstream, house) = filling(&image).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::Hold(gate.clone()));
    house.manifest("alpine", "1").await;
    gate.reached_by(2).await;
    never("a third fill starts", || async { blob_gets(&upstream) > 2 }).await;
    gate.open();
    eventually("the image is complete", || async { stored(&house, &image) == 7 }).await;
}

/// B6: at most four in all.
#[tokio::test]
async fn fills_four_at_a_time_in_all() {
    let upstreams = [
        FakeUpstream::start().await,
        FakeUpstream::start().await,
        FakeUpstream::start().await,
    ];
    let mut builder = House::builder();
    let gate = Gate::closed();
    for (position, upstream) in (0..).zip(&upstreams) {
        upstream.push("alpine", "1", &Image::random(position, &[100; 4]));
        upstream.script(On::blob(), Fault::Hold(gate.clone()));
        let name = format!("org{position}");
        builder = builder.organization(Organization::of(upstream).named(&name).background());
    }
    let house = builder.start().await;
    for position in 0..upstreams.len() {
        assert_eq!(
            house
                .get(&format!("/v2/org{position}/alpine/manifests/1"))
                .await
                .status,
            200
        );
    }
    gate.reached_by(4).await;
    never("a fifth fill starts", || async {
        upstreams.iter().map(blob_gets).sum::<usize>() > 4
    })
    .await;
    gate.open();
    eventually("all are complete", || async {
        upstreams.iter().map(blob_gets).sum::<usize>() == 15
    })
    .await;
}

/// B6, B2: a client that asks for a blob that is being filled follows that fill; there is no second GET.
#[tokio::test]
async fn a_client_joins_a_background_fill() {
    let image = Image::random(1, &[2 << 20]);
    let (upstream, house) = filling(&image).await;
    let layer = &image.layers[0];
    let gate = Gate::closed();
    upstream.script(
        On::blob().at(&layer.digest),
        Fault::HoldAfter(1 << 20, gate.clone()),
    );
    house.manifest("alpine", "1").await;
    gate.reached().await;
    let opener = async { gate.open() };
    let (answer, ()) = tokio::join!(house.blob("alpine", &layer.digest), opener);
    answer.assert_body(&layer.bytes);
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B6: a client never waits for the background's backoff.
#[tokio::test]
async fn a_client_does_not_wait_for_the_backoff() {
    let image = Image::random(1, &[1000]);
    let (upstream, house) = filling(&image).await;
    let layer = &image.layers[0];
    upstream.script(On::blob().times(2), Fault::too_many(Some(3000)));
    house.manifest("alpine", "1").await;
    upstream.wait_for(1, |request| request.kind == Kind::Blob).await;
    upstream.heal();
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
}

/// B6: 429 pauses the filling of that host for `Retry-After`, then it goes on.
#[tokio::test]
async fn pauses_for_retry_after() {
    for (header, pause) in [(Some(100), 100), (None, 60)] {
        let image = Image::random(1, &[1000, 2000]);
        let (upstream, house) = filling(&image).await;
        upstream.script(On::blob(), Fault::too_many(header));
        house.manifest("alpine", "1").await;
        upstream.wait_for(1, |request| request.kind == Kind::Blob).await;
        never("more than the two that ran are refused", || async {
            blob_gets(&upstream) > 2
        })
        .await;
        let before = blob_gets(&upstream);
        upstream.heal();
        house.advance_seconds(pause - 2);
        never("the pause is cut short", || async {
            blob_gets(&upstream) > before
        })
        .await;
        house.advance_seconds(3);
        house
            .as_time_passes("the image is complete", STEP, || async {
                stored(&house, &image) == 3
            })
            .await;
    }
}

/// B6: other failures are tried again after 5 s, doubling; 404 is given up on until the next pull.
#[tokio::test]
async fn retries_failures_and_gives_up_on_404() {
    let image = Image::random(1, &[1000]);
    let (upstream, house) = filling(&image).await;
    let layer = &image.layers[0];
    upstream.script(
        On::blob().at(&image.config.digest),
        Fault::error(404, "BLOB_UNKNOWN"),
    );
    upstream.script(On::blob().at(&layer.digest).times(2), Fault::status(500));
    house.manifest("alpine", "1").await;
    house
        .as_time_passes("the layer is stored", STEP, || async {
            stored(&house, &image) == 1
        })
        .await;
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 3);
    assert_eq!(upstream.count(&Method::GET, &image.config.digest), 1);
    upstream.heal();
    house.advance_seconds(3600);
    never("what was given up on is tried", || async {
        upstream.count(&Method::GET, &image.config.digest) > 1
    })
    .await;
    house.manifest("alpine", "1").await;
    house
        .as_time_passes("the image is complete", STEP, || async {
            stored(&house, &image) == 2
        })
        .await;
}

/// B6: wanted marks survive a restart.
#[tokio::test]
async fn goes_on_after_a_restart() {
    let image = Image::random(1, &[1000, 2000]);
    let (upstream, mut house) = filling(&image).await;
    upstream.script(On::blob(), Fault::Hold(Gate::closed()));
    house.manifest("alpine", "1").await;
    upstream.wait_for(1, |request| request.kind == Kind::Blob).await;
    house.stop().await;
    upstream.heal();
    house.restart().await;
    house
        .as_time_passes("the image is complete", STEP, || async {
            stored(&house, &image) == 3
        })
        .await;
}

/// B6: of an index nothing is filled until a layer of a platform is asked for; then that platform and no other.
#[tokio::test]
async fn fills_only_the_platform_of_which_a_layer_was_asked_for() {
    let upstream = FakeUpstream::start().await;
    let index = Index::builder()
        .image(
            Image::builder()
                .platform("linux", "amd64")
                .layer(layer(1))
                .layer(layer(2))
                .build(),
            "amd64",
        )
        .image(
            Image::builder()
                .platform("linux", "arm64")
                .layer(layer(3))
                .layer(layer(4))
                .build(),
            "arm64",
        )
        .build();
    upstream.push_index("multi", "1", &index);
    let house = House::with(Organization::of(&upstream).background()).await;
    // As containerd 2 does: manifests and configs of all platforms, then the layers of one.
    house.manifest("multi", "1").await.assert_body(index.body());
    for image in &index.images {
        house
            .manifest("multi", image.digest())
            .await
            .assert_body(image.body());
        house
            .blob("multi", &image.config.digest)
            .await
            .assert_body(&image.config.bytes);
    }
    never("a layer is fetched", || async { blob_gets(&upstream) > 2 }).await;
    let (wanted, other) = (&index.images[0], &index.images[1]);
    house
        .blob("multi", &wanted.layers[0].digest)
        .await
        .assert_body(&wanted.layers[0].bytes);
    eventually("the platform is complete", || async {
        stored(&house, wanted) == 3
    })
    .await;
    never("another platform is filled", || async {
        stored(&house, other) > 1
    })
    .await;
}

fn layer(seed: u64) -> quayside_tests::images::Blob {
    quayside_tests::images::Blob::random(seed, 1000)
}

/// B3, B6: after a mismatch the background leaves the blob alone for a minute; a client's request does not wait.
#[tokio::test]
async fn leaves_a_wrong_blob_alone_for_a_minute() {
    let image = Image::random(1, &[1000]);
    let (upstream, house) = filling(&image).await;
    let layer = &image.layers[0];
    upstream.script(On::blob().at(&layer.digest).once(), Fault::Flip(3));
    house.manifest("alpine", "1").await;
    upstream
        .wait_for(1, |request| request.reference == layer.digest)
        .await;
    eventually("the config is stored", || async { stored(&house, &image) == 1 }).await;
    house.advance_seconds(50);
    never("it is tried again", || async {
        upstream.count(&Method::GET, &layer.digest) > 1
    })
    .await;
    house
        .as_time_passes("the image is complete", STEP, || async {
            stored(&house, &image) == 2
        })
        .await;
}
