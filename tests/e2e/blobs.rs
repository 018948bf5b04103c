//! SPEC §3, B1 to B5 and B11: who sees a blob, and how it streams.

use http::Method;
use quayside_tests::eventually::{never, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};

use crate::scene::{contacts, scene};

/// `alpine:1` upstream with one layer of `length` bytes, its manifest pulled already.
pub(crate) async fn pulled(length: usize) -> (FakeUpstream, House, Blob) {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[length]);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("alpine", "1").await.assert_body(image.body());
    (upstream, house, image.layers[0].clone())
}

/// B1: what no manifest of that repository names is not there, whatever upstream has.
#[tokio::test]
async fn a_blob_is_reachable_only_through_a_manifest_of_its_repository() {
    let scene = scene(|acme| acme).await;
    let layer = &scene.image.layers[0];
    scene.upstream.push("other", "1", &Image::random(2, &[10]));
    scene.upstream.add_blob("other", layer);
    scene.house.manifest("other", "1").await;
    let before = scene.contacts();
    for repository in ["alpine", "other", "nowhere"] {
        scene
            .house
            .blob(repository, &layer.digest)
            .await
            .assert_error(404, "BLOB_UNKNOWN");
    }
    assert_eq!(scene.contacts(), before);
    scene.house.manifest("alpine", "1").await;
    scene
        .house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    let before = scene.contacts();
    scene
        .house
        .blob("other", &layer.digest)
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(scene.contacts(), before);
}

/// B2: one GET, then the cache.
#[tokio::test]
async fn a_blob_is_fetched_once_and_then_served_from_storage() {
    let (upstream, house, layer) = pulled(300_000).await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    upstream.stopped().await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B2: the first byte does not wait for the last one.
#[tokio::test]
async fn the_first_byte_comes_before_the_last_one_left_upstream() {
    let (upstream, house, layer) = pulled(4 << 20).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(layer.bytes.len() / 10, gate.clone()));
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let mut response = house.call(Method::GET, &path).open().await;
    assert_eq!(response.status(), 200);
    let first = soon("the first bytes arrive", response.chunk())
        .await
        .unwrap()
        .unwrap();
    assert!(layer.bytes.starts_with(&first));
    gate.reached().await;
    gate.open();
    let mut body = first.to_vec();
    while let Some(chunk) = soon("the rest arrives", response.chunk()).await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert!(body == layer.bytes);
}

/// B2: 40 clients on one cold blob cause one GET and all get the right bytes.
#[tokio::test]
async fn forty_clients_share_one_transfer() {
    let (upstream, house, layer) = pulled(3 << 20).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(1 << 20, gate.clone()));
    let clients = futures::future::join_all((0..40).map(|_| house.blob("alpine", &layer.digest)));
    let opener = async {
        gate.reached().await;
        never("a second transfer starts", || async {
            upstream.count(&Method::GET, &layer.digest) > 1
        })
        .await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(clients, opener);
    for answer in answers {
        answer.assert_body(&layer.bytes);
    }
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B2: the client that started a fill leaves; the fill goes on and is stored.
#[tokio::test]
async fn a_fill_outlives_the_client_that_caused_it() {
    let (upstream, house, layer) = pulled(2 << 20).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(1 << 20, gate.clone()));
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let response = house.call(Method::GET, &path).open().await;
    gate.reached().await;
    drop(response);
    gate.open();
    house.stored(&layer.digest).await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B4: HEAD says the declared size at once and downloads nothing.
#[tokio::test]
async fn head_of_a_blob_downloads_nothing() {
    let (upstream, house, layer) = pulled(5000).await;
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    for _ in 0..2 {
        let head = house.head(&path).await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), "5000");
        assert_eq!(head.header("docker-content-digest"), layer.digest);
        assert_eq!(head.header("etag"), format!("\"{}\"", layer.digest));
    }
    assert_eq!(upstream.count_kind(&Method::GET, Kind::Blob), 0);
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    assert_eq!(house.head(&path).await.header("content-length"), "5000");
}

/// Ranges of a blob of 300,000 bytes: header, status, first byte, end.
const RANGES: [(&str, u16, usize, usize); 8] = [
    ("bytes=0-", 206, 0, 300_000),
    ("bytes=0-0", 206, 0, 1),
    ("bytes=100000-199999", 206, 100_000, 200_000),
    ("bytes=250000-", 206, 250_000, 300_000),
    ("bytes=-1", 206, 299_999, 300_000),
    ("bytes=-999999", 206, 0, 300_000),
    ("bytes=299999-999999", 206, 299_999, 300_000),
    ("bytes=300000-", 416, 0, 0),
];

fn check_range(layer: &Blob, answer: &quayside_tests::house::Answer, row: (&str, u16, usize, usize)) {
    let (header, status, first, end) = row;
    assert_eq!(answer.status, status, "{header}: {}", answer.summary());
    if status == 416 {
        assert_eq!(answer.header("content-range"), "bytes */300000");
        return;
    }
    assert!(
        answer.complete && answer.body == layer.bytes[first..end],
        "{header}: {}",
        answer.summary()
    );
    assert_eq!(
        answer.header("content-range"),
        format!("bytes {first}-{}/300000", end - 1),
        "{header}"
    );
}

/// B5: ranges of a stored blob.
#[tokio::test]
async fn serves_ranges_of_a_stored_blob() {
    let (_upstream, house, layer) = pulled(300_000).await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    for row in RANGES {
        check_range(
            &layer,
            &house.blob_range("alpine", &layer.digest, row.0).await,
            row,
        );
    }
    let whole = house.blob("alpine", &layer.digest).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
}

/// B5: ranges that are no single range are the whole blob.
#[tokio::test]
async fn answers_odd_ranges_with_the_whole_blob() {
    let (_upstream, house, layer) = pulled(1000).await;
    for range in ["bytes=0-1,5-6", "bytes=x-y", "lines=0-1", "bytes=9-3"] {
        let answer = house.blob_range("alpine", &layer.digest, range).await;
        answer.assert_body(&layer.bytes);
    }
}

/// B5: ranges of a blob that is on its way.
#[tokio::test]
async fn serves_ranges_of_a_running_fill() {
    let (upstream, house, layer) = pulled(300_000).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(150_000, gate.clone()));
    let clients = RANGES.map(|row| {
        let (house, layer) = (&house, &layer);
        async move {
            let answer = house.blob_range("alpine", &layer.digest, row.0).await;
            check_range(layer, &answer, row);
        }
    });
    let opener = async {
        gate.reached().await;
        // What has arrived is served while the rest is held upstream.
        let answer = house.blob_range("alpine", &layer.digest, "bytes=1000-2000").await;
        assert!(answer.body == layer.bytes[1000..=2000]);
        gate.open();
    };
    tokio::join!(futures::future::join_all(clients), opener);
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B5: readers that ask for an open end and leave early, many at once, cost nothing.
#[tokio::test]
async fn readers_that_leave_early_cost_nothing() {
    let (upstream, house, layer) = pulled(8 << 20).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(4 << 20, gate.clone()));
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let early = (0..20).map(|part: usize| {
        let call = house
            .call(Method::GET, &path)
            .header("range", &format!("bytes={}-", part * 100_000));
        async move {
            let mut response = call.open().await;
            assert_eq!(response.status(), 206);
            assert!(response.chunk().await.unwrap().is_some());
        }
    });
    futures::future::join_all(early).await;
    gate.open();
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}

/// B5: `If-None-Match` with the digest is 304 without any download.
#[tokio::test]
async fn answers_304_for_a_blob_that_the_client_has() {
    let (upstream, house, layer) = pulled(1000).await;
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let etag = format!("\"{}\"", layer.digest);
    for method in [Method::GET, Method::HEAD] {
        let answer = house
            .call(method, &path)
            .header("if-none-match", &etag)
            .send()
            .await;
        assert_eq!((answer.status, answer.header("etag")), (304, etag.as_str()));
    }
    assert_eq!(upstream.count_kind(&Method::GET, Kind::Blob), 0);
}

/// B5, M14: the headers of a blob.
#[tokio::test]
async fn sends_the_headers_of_a_blob() {
    let (_upstream, house, layer) = pulled(1000).await;
    for cache in ["MISS", "HIT"] {
        let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
        let answer = house
            .call(Method::GET, &path)
            .header("accept-encoding", "gzip")
            .send()
            .await;
        answer.assert_body(&layer.bytes);
        let expected = [
            ("content-length", "1000"),
            ("content-type", "application/octet-stream"),
            ("docker-content-digest", &layer.digest),
            ("docker-distribution-api-version", "registry/2.0"),
            ("content-encoding", ""),
        ];
        for (name, value) in expected {
            assert_eq!(answer.header(name), value, "{name} of a {cache}");
        }
        house.stored(&layer.digest).await;
    }
}

/// B11, M8: upstream failing before the first byte is told as what it is.
#[tokio::test]
async fn tells_the_true_reason_when_a_blob_cannot_be_had() {
    let failures = [
        (Fault::error(404, "BLOB_UNKNOWN"), 404, "BLOB_UNKNOWN", ""),
        (Fault::too_many(Some(11)), 429, "TOOMANYREQUESTS", "11"),
        (Fault::too_many(None), 429, "TOOMANYREQUESTS", "60"),
        (Fault::error(403, "DENIED"), 403, "DENIED", ""),
        (Fault::error(401, "UNAUTHORIZED"), 403, "DENIED", ""),
    ];
    for (fault, status, code, retry_after) in failures {
        let (upstream, house, layer) = pulled(1000).await;
        upstream.script(On::blob(), fault.clone());
        let answer = house.blob("alpine", &layer.digest).await;
        answer.assert_error(status, code);
        assert_eq!(answer.header("retry-after"), retry_after);
        upstream.heal();
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
    }
}

/// A3, B1: a stranger sees only what a live tag holds and what is stored, and never causes a request upstream.
#[tokio::test]
async fn strangers_see_stored_blobs_of_live_tags_only() {
    let scene = scene(|acme| acme.public().member("alice").ttl(60)).await;
    let pinned = Image::random(2, &[100]);
    scene.upstream.push_untagged("alpine", &pinned);
    let get = |path: String| scene.house.call(Method::GET, &path);
    let blob = |image: &Image| format!("/v2/acme/alpine/blobs/{}", image.layers[0].digest);
    let manifest = |reference: &str| format!("/v2/acme/alpine/manifests/{reference}");
    // Nothing is cached yet: anonymous clients are sent to log in, others are told the truth.
    get(manifest("1")).send().await.assert_error(401, "UNAUTHORIZED");
    get(manifest("1"))
        .user("bob")
        .send()
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    get(blob(&scene.image))
        .send()
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(contacts(&scene.upstream), 0);
    // A member pulls a tag and a digest; of the tag's image no blob yet.
    get(manifest("1"))
        .user("alice")
        .send()
        .await
        .assert_body(scene.image.body());
    get(manifest(pinned.digest()))
        .user("alice")
        .send()
        .await
        .assert_body(pinned.body());
    get(blob(&pinned))
        .user("alice")
        .send()
        .await
        .assert_body(&pinned.layers[0].bytes);
    let before = contacts(&scene.upstream);
    get(manifest("1")).send().await.assert_body(scene.image.body());
    get(manifest(scene.image.digest()))
        .send()
        .await
        .assert_body(scene.image.body());
    get(blob(&scene.image))
        .send()
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    get(manifest(pinned.digest()))
        .send()
        .await
        .assert_error(401, "UNAUTHORIZED");
    get(manifest(pinned.digest()))
        .user("bob")
        .send()
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    get(blob(&pinned)).send().await.assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(contacts(&scene.upstream), before);
    get(blob(&scene.image))
        .user("alice")
        .send()
        .await
        .assert_body(&scene.image.layers[0].bytes);
    get(blob(&scene.image))
        .send()
        .await
        .assert_body(&scene.image.layers[0].bytes);
    get(blob(&scene.image))
        .user("bob")
        .send()
        .await
        .assert_body(&scene.image.layers[0].bytes);
    // A stranger's pulls do not keep the tag alive.
    scene.house.advance_seconds(59);
    get(manifest("1")).send().await.assert_body(scene.image.body());
    scene.house.advance_seconds(2);
    get(manifest("1")).send().await.assert_error(401, "UNAUTHORIZED");
    get(blob(&scene.image))
        .send()
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(contacts(&scene.upstream), before + 1);
}
