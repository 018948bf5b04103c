//! B7, B8: clients that are sent to the bucket.

use http::Method;
use quayside_test_servers::s3_door::Operation;
use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::fake::{FakeUpstream, Kind};
use quayside_tests::house::{Answer, HouseBuilder, Organization};
use quayside_tests::image_copy::ImageCopy;
use quayside_tests::images::Image;
use quayside_tests::images::archive::random_layer;
use quayside_tests::reachable;
use quayside_tests::skopeo::Skopeo;
use quayside_tests::tools::Platforms;
use serde_json::json;

use super::{Ground, Scene};

fn redirecting(builder: HouseBuilder) -> HouseBuilder {
    // Signatures are of the machine's time.
    let builder = builder.system_clock();
    builder
        .config("/storage/s3/redirect", true.into())
        .config("/gc/graceSeconds", json!(120))
}

/// What lies where the client is sent, of which it asks for `range` if that is not empty.
async fn follow(answer: &Answer, range: &str) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(answer.header("location"));
    if !range.is_empty() {
        request = request.header("range", range);
    }
    Answer::read(request.send().await.unwrap()).await
}

/// B7, M14: a stored blob is answered by a URL that is good for at most a grace, whole and in parts, and the registry
/// sends nothing of it; HEAD and `If-None-Match` are answered as ever.
#[tokio::test]
async fn a_stored_blob_is_fetched_from_the_bucket() {
    let scene = Scene::new(300_000, redirecting).await;
    scene.fill().await;
    let (house, layer, door) = (&scene.house, &scene.layer, &scene.ground.door);
    door.forget();
    let answer = house.blob("alpine", &layer.digest).await;
    assert_eq!(
        (answer.status, answer.header("x-cache")),
        (307, "HIT"),
        "{answer:?}"
    );
    assert_eq!(answer.header("docker-content-digest"), layer.digest);
    assert_eq!(
        (answer.header("cache-control"), answer.body.len()),
        ("no-store", 0)
    );
    let location = answer.header("location");
    assert!(location.starts_with(&door.url()), "{location}");
    let lifetime = location
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("X-Amz-Expires="));
    let lifetime: u64 = lifetime.unwrap().parse().unwrap();
    assert!((1..=120).contains(&lifetime), "{lifetime} s");
    assert_eq!(door.count(Operation::GetObject), 0);
    follow(&answer, "").await.assert_body(&layer.bytes);

    let range = "bytes=1000-1999";
    let part = house.blob_range("alpine", &layer.digest, range).await;
    assert_eq!(part.status, 307);
    let part = follow(&part, range).await;
    assert_eq!((part.status, &part.body[..]), (206, &layer.bytes[1000..2000]));
    let outside = house.blob_range("alpine", &layer.digest, "bytes=300000-").await;
    assert_eq!(outside.status, 416);
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    assert_eq!(house.head(&path).await.status, 200);
    let etag = format!("\"{}\"", layer.digest);
    let unchanged = house
        .call(Method::GET, &path)
        .header("if-none-match", &etag)
        .send()
        .await;
    assert_eq!(unchanged.status, 304);
    assert_eq!(scene.fetches(), 1);
}

/// B7: real clients go where they are sent: the library of Debian's podman, of today's, and containerd, which resumes
/// and asks for ranges.
#[tokio::test(flavor = "multi_thread")]
async fn real_clients_fetch_from_the_bucket() {
    // Under another name than the registry's, as clients send their token to whoever has the same.
    let (ground, upstream) = (Ground::new(), FakeUpstream::start().await);
    let public = format!("http://localhost:{}", ground.door.address().port());
    let image = Image::builder().platform("linux", "amd64");
    let image = image
        .archive(random_layer(1, 3 << 20))
        .archive(random_layer(2, 1000));
    let image = image.build();
    upstream.push("app", "1", &image);
    let house = reachable::house()
        .database(&ground.url)
        .blobs_in_bucket(&ground.bucket);
    let builder = redirecting(house).config("/storage/s3/publicEndpoint", public.into());
    let house = builder.organization(Organization::of(&upstream)).start().await;
    house.manifest("app", "1").await.assert_body(image.body());
    for blob in image.blobs() {
        house.blob("app", &blob.digest).await.assert_body(&blob.bytes);
        house.stored(&blob.digest).await;
    }
    let name = format!("{}/acme/app:1", house.authority());
    ground.door.forget();
    Skopeo::new().copy(&name, Platforms::Own).await.ok();
    ImageCopy::new().copy(&name).await.ok();
    let containerd = Containerd::start(Version::Two).await;
    containerd.pull(&name).await.ok();
    assert!(ground.door.count(Operation::GetObject) >= 9);
    assert_eq!(upstream.count_kind(&Method::GET, Kind::Blob), 3);
}

/// B7: what is still arriving is streamed, and so is everything unless redirects are turned on.
#[tokio::test]
async fn a_growing_blob_is_streamed() {
    let scene = Scene::new(300_000, redirecting).await;
    scene.fill().await;
    let plain = scene
        .ground
        .house()
        .organization(Organization::of(&scene.upstream));
    let plain = plain.system_clock().start().await;
    plain.manifest("alpine", "1").await;
    plain
        .blob("alpine", &scene.layer.digest)
        .await
        .assert_body(&scene.layer.bytes);
    assert_eq!(scene.fetches(), 1);
}

/// A3, B7: who may see a blob without logging in is sent to it too.
#[tokio::test]
async fn a_public_viewer_is_sent_to_the_bucket() {
    let (ground, upstream) = (Ground::new(), FakeUpstream::start().await);
    let image = Image::random(1, &[1000]);
    upstream.push("alpine", "1", &image);
    let acme = Organization::of(&upstream).public().member("alice");
    let house = redirecting(ground.house().organization(acme)).start().await;
    let layer = &image.layers[0];
    let blob = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    for path in ["/v2/acme/alpine/manifests/1", &blob] {
        let answer = house.call(Method::GET, path).user("alice").send().await;
        assert_eq!(answer.status, 200, "{}", answer.summary());
    }
    house.stored(&layer.digest).await;
    let answer = house.get(&blob).await;
    assert_eq!(answer.status, 307, "{}", answer.summary());
    follow(&answer, "").await.assert_body(&layer.bytes);
}

/// B8: lost bytes are found by a look at most a minute old, and fetched again.
#[tokio::test]
async fn a_lost_blob_is_fetched_again() {
    let mut scene = Scene::new(100_000, redirecting).await;
    scene.fill().await;
    let (digest, bytes) = (scene.layer.digest.clone(), scene.layer.bytes.clone());
    std::fs::remove_file(scene.house.stored_file(&digest).unwrap()).unwrap();
    // Nobody of the new process has looked yet.
    scene.house.restart().await;
    scene.house.blob("alpine", &digest).await.assert_body(&bytes);
    scene.house.stored(&digest).await;
    assert_eq!(scene.fetches(), 2);
    let again = scene.house.blob("alpine", &digest).await;
    assert_eq!(again.status, 307);
    follow(&again, "").await.assert_body(&bytes);
}

/// B7, G3: with redirects bytes stay for an hour after they became garbage, however short the grace.
#[tokio::test]
async fn garbage_stays_for_an_hour() {
    let scene = Scene::new(1000, redirecting).await;
    scene.fill().await;
    std::fs::remove_file(scene.house.stored_file(&scene.layer.digest).unwrap()).unwrap();
    let mut scene = scene;
    scene.house.restart().await;
    let before = scene.house.now();
    scene.fill().await;
    let not_before = scene.house.number("SELECT min(not_before) FROM garbage").await;
    assert!(not_before >= before + 3_600_000, "{}", not_before - before);
}

/// O2: a bucket that is away sends nobody anywhere: blobs pass through.
#[tokio::test]
async fn nobody_is_sent_to_a_bucket_that_is_away() {
    let mut scene = Scene::new(100_000, redirecting).await;
    scene.fill().await;
    scene.house.restart().await;
    scene.ground.door.close();
    let answer = scene.house.blob("alpine", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
    assert_eq!(scene.fetches(), 2);
    scene.ground.door.open();
    let answer = scene.house.blob("alpine", &scene.layer.digest).await;
    assert_eq!(answer.status, 307);
}
