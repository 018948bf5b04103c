//! SPEC §3, B6 and B10: where the background fills a blob that several manifests name, and what it does not fill.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, never};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image, ImageBuilder};

const STEP: Duration = Duration::from_millis(50);
const SIZE: usize = 300_000;

fn stored(house: &House, image: &Image) -> bool {
    image
        .blobs()
        .all(|blob| house.stored_file(&blob.digest).is_some())
}

/// An image of this layer and a config of its own.
fn labelled(label: &str) -> ImageBuilder {
    Image::builder().label("name", label)
}

fn declared_wrong(layer: &Blob) -> Image {
    let wrong = i64::try_from(layer.size()).unwrap() + 5;
    labelled("bad").layer_declared(layer.clone(), wrong).build()
}

/// B10: one tag that declares a wrong size takes nothing from another one of the same repository.
#[tokio::test]
async fn a_wrong_size_beside_a_right_one_harms_nobody() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::random(7, SIZE);
    let good = labelled("good").layer(layer.clone()).build();
    upstream.push("app", "good", &good);
    upstream.push("app", "bad", &declared_wrong(&layer));
    let house = House::with(Organization::of(&upstream)).await;
    for tag in ["good", "bad"] {
        assert_eq!(house.manifest("app", tag).await.status, 200);
    }
    house.blob("app", &layer.digest).await.assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    house.blob("app", &layer.digest).await.assert_body(&layer.bytes);
    assert!(upstream.count(&Method::GET, &layer.digest) <= 2);
}

/// B10, B2: while the blob is being filled nobody asks upstream again, strangers get it too, and HEAD knows its length.
#[tokio::test]
async fn a_wrong_size_is_found_out_once() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::random(7, SIZE);
    let good = labelled("good").layer(layer.clone()).build();
    upstream.push("app", "good", &good);
    upstream.push("app", "bad", &declared_wrong(&layer));
    let house = House::with(Organization::of(&upstream).public().member("alice")).await;
    let get = async |path: &str| house.call(Method::GET, path).user("alice").send().await;
    for tag in ["good", "bad"] {
        assert_eq!(get(&format!("/v2/acme/app/manifests/{tag}")).await.status, 200);
    }
    let gate = Gate::closed();
    upstream.script(
        On::blob().at(&layer.digest).after(1),
        Fault::HoldAfter(SIZE / 2, gate.clone()),
    );
    let path = format!("/v2/acme/app/blobs/{}", layer.digest);
    let others = async {
        gate.reached().await;
        let head = house.head(&path).await;
        assert_eq!(head.header("content-length"), SIZE.to_string());
        let opener = async { gate.open() };
        tokio::join!(get(&path), house.get(&path), opener)
    };
    let (first, (member, stranger, ())) = tokio::join!(get(&path), others);
    for answer in [first, member, stranger] {
        answer.assert_body(&layer.bytes);
    }
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 2);
}

/// B10, B6: nor does it keep the background from completing that image.
#[tokio::test]
async fn the_background_finds_the_size_that_upstream_has() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::random(7, SIZE);
    let good = labelled("good").layer(layer.clone()).build();
    upstream.push("app", "good", &good);
    upstream.push("app", "bad", &declared_wrong(&layer));
    let house = House::with(Organization::of(&upstream).background()).await;
    assert_eq!(house.head_manifest("app", "good").await.status, 200);
    assert_eq!(house.manifest("app", "bad").await.status, 200);
    eventually("the layer is stored", || async {
        house.stored_file(&layer.digest).is_some()
    })
    .await;
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 2);
}

/// B10: upstream has neither size: one answer, no third attempt.
#[tokio::test]
async fn a_size_that_nobody_declares_is_refused() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::random(7, SIZE);
    upstream.push("app", "bad", &declared_wrong(&layer));
    let house = House::with(Organization::of(&upstream)).await;
    assert_eq!(house.manifest("app", "bad").await.status, 200);
    house
        .blob("app", &layer.digest)
        .await
        .assert_error(502, "DIGEST_INVALID");
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B6, B10: another repository that names the same digest, with a wrong size or without having the bytes, does not
/// keep an image from being completed.
#[tokio::test]
async fn another_repository_does_not_spoil_a_fill() {
    let upstream = FakeUpstream::start().await;
    let (long, gone) = (Blob::random(7, SIZE), Blob::random(8, 1000));
    let good = labelled("good").layer(long.clone()).layer(gone.clone()).build();
    let bad = labelled("bad")
        .layer_declared(long.clone(), 5)
        .layer(gone.clone())
        .build();
    upstream.push("a/bad", "1", &bad);
    upstream.push("b/good", "1", &good);
    upstream.remove_blob("a/bad", &gone.digest);
    let house = House::with(Organization::of(&upstream).background()).await;
    assert_eq!(house.head_manifest("a/bad", "1").await.status, 200);
    house.manifest("b/good", "1").await.assert_body(good.body());
    eventually("the image is complete", || async { stored(&house, &good) }).await;
    let of_bad = upstream.count_where(|request| request.kind == Kind::Blob && request.path.contains("a/bad"));
    assert_eq!(of_bad, 0, "{:?}", upstream.requests());
}

/// B6, C3: a file that cannot be used when the registry starts does not end what is wanted.
#[tokio::test]
async fn wanted_blobs_outlast_an_organization_that_is_not_served() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("alpine", "1", &image);
    let acme = Organization::of(&upstream).background();
    let mut house = House::with(acme.clone()).await;
    upstream.script(On::blob(), Fault::Hold(Gate::closed()));
    house.manifest("alpine", "1").await;
    upstream.wait_for(1, |request| request.kind == Kind::Blob).await;
    house.stop().await;
    upstream.heal();
    house.replace_organizations_file("organizations: [");
    house.restart().await;
    house
        .as_time_passes("what is wanted was looked at", STEP, || async {
            house
                .number("SELECT count(*) FROM blob WHERE wanted_at IS NOT NULL AND retry_at > 0")
                .await
                == 2
        })
        .await;
    house.reload(&[acme]).await;
    house
        .as_time_passes("the image is complete", Duration::from_secs(1), || async {
            stored(&house, &image)
        })
        .await;
}

/// B6, M11: the GET of a layer completes images that were pulled, not those that a HEAD has stored.
#[tokio::test]
async fn a_layer_does_not_complete_an_image_that_was_only_looked_at() {
    let upstream = FakeUpstream::start().await;
    let base = Blob::random(1, 1000);
    let pulled = labelled("pulled")
        .layer(base.clone())
        .layer(Blob::random(2, 1000))
        .build();
    let seen = labelled("seen")
        .layer(base.clone())
        .layer(Blob::random(3, 1000))
        .build();
    upstream.push("app", "pulled", &pulled);
    upstream.push("app", "seen", &seen);
    let house = House::with(Organization::of(&upstream).background()).await;
    assert_eq!(house.head_manifest("app", "seen").await.status, 200);
    house.manifest("app", "pulled").await.assert_body(pulled.body());
    house.blob("app", &base.digest).await.assert_body(&base.bytes);
    eventually("the image is complete", || async { stored(&house, &pulled) }).await;
    house.advance_seconds(60);
    house.blob("app", &base.digest).await.assert_body(&base.bytes);
    never("what was only looked at is filled", || async {
        upstream.count(&Method::GET, &seen.layers[1].digest) > 0
    })
    .await;
}
