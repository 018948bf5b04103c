//! SPEC §9: the two files.

use std::io::Write as _;
use std::time::Duration;

use http::Method;
use quayside_config::Config;
use quayside_tests::eventually::never;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};
use serde_json::json;

use crate::scene::{contacts, scene};

/// C1: unknown keys and bad values are named by path, all at once.
#[test]
fn names_every_fault_of_the_configuration_at_once() {
    let text = "
FEATURE_PROXY_CACHE: maybe
SERVER_HOSTNAME: registry.test
lisen: 0.0.0.0:1
listen: nowhere
upstream: { allowedHosts: [\"10.0.0.0/99\"], readTimeout: 5 }
storage: { filesystem: { minFreeBytes: -1 } }
auth: { users: [ { name: alice, passwordHash: \"$argon2id$canary-nonsense\" } ] }
";
    let Err(faults) = Config::parse(text) else {
        panic!("a file full of faults was accepted")
    };
    let paths: Vec<_> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
    for path in [
        "FEATURE_PROXY_CACHE",
        "lisen",
        "listen",
        "upstream.allowedHosts[0]",
        "upstream.readTimeout",
    ] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
    assert!(paths.contains(&"storage.filesystem.minFreeBytes"), "{paths:?}");
    assert!(
        paths.iter().any(|path| path.starts_with("auth.users[0]")),
        "{paths:?}"
    );
    assert!(
        !faults.to_string().contains("canary-"),
        "a secret in the faults: {faults}"
    );
}

/// C2: without the feature only what is live is served, it is renewed, and upstream is never contacted.
#[tokio::test]
async fn without_the_feature_serves_live_content_only() {
    let mut scene = scene(|acme| acme.ttl(60).background()).await;
    let (kept, missing) = (Image::random(2, &[500]), Image::random(3, &[500]));
    scene.upstream.push("kept", "1", &kept);
    scene.upstream.push("missing", "1", &missing);
    scene.house.manifest("kept", "1").await.assert_body(kept.body());
    scene
        .house
        .blob("kept", &kept.layers[0].digest)
        .await
        .assert_body(&kept.layers[0].bytes);
    scene
        .house
        .blob("kept", &kept.config.digest)
        .await
        .assert_body(&kept.config.bytes);
    scene.house.manifest("alpine", "1").await;
    scene.house.stop().await;
    scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", json!(false))
        .await;
    let before = (scene.upstream.requests().len(), scene.upstream.connections());
    scene.house.advance_seconds(50);
    scene.house.manifest("kept", "1").await.assert_cache("HIT");
    scene
        .house
        .blob("kept", &kept.layers[0].digest)
        .await
        .assert_body(&kept.layers[0].bytes);
    scene
        .house
        .manifest("missing", "1")
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    scene
        .house
        .manifest("missing", missing.digest())
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    scene.house.advance_seconds(50);
    // Renewed by the pull 50 s ago; the other one died.
    scene.house.manifest("kept", "1").await.assert_body(kept.body());
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(scene.house.head_manifest("alpine", "1").await.status, 404);
    assert_eq!(
        (scene.upstream.requests().len(), scene.upstream.connections()),
        before
    );
}

/// C2, B6: a blob that is not stored is 404 without the feature, wanted or not.
#[tokio::test]
async fn without_the_feature_nothing_is_filled() {
    let mut scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", json!(false))
        .await;
    let before = contacts(&scene.upstream);
    let layer = &scene.image.layers[0];
    scene.house.manifest("alpine", "1").await.assert_cache("HIT");
    scene
        .house
        .blob("alpine", &layer.digest)
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    assert_eq!(contacts(&scene.upstream), before);
}

/// C2: without the feature what is dead is 404, its blobs included; what a live image holds is served, its referrers
/// included.
#[tokio::test]
async fn without_the_feature_only_live_content_is_served() {
    let mut scene = scene(|acme| acme.ttl(60)).await;
    let live = Image::random(2, &[2000]);
    let signature = Image::builder()
        .subject(&live.manifest)
        .layer(Blob::random(3, 100))
        .build();
    scene.upstream.push("alpine", "2", &live);
    scene.upstream.push_untagged("alpine", &signature);
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(30);
    scene.house.manifest("alpine", "2").await;
    scene.house.manifest("alpine", signature.digest()).await;
    for blob in scene.image.blobs().chain(live.blobs()).chain(signature.blobs()) {
        scene
            .house
            .blob("alpine", &blob.digest)
            .await
            .assert_body(&blob.bytes);
        scene.house.stored(&blob.digest).await;
    }
    scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", json!(false))
        .await;
    let house = &scene.house;
    let dead = &scene.image.layers[0];
    house.blob("alpine", &dead.digest).await.assert_body(&dead.bytes);
    house.advance_seconds(31);
    house
        .blob("alpine", &dead.digest)
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    let answer = house.manifest("alpine", signature.digest()).await;
    answer.assert_body(signature.body());
    for blob in live.blobs().chain(signature.blobs()) {
        house.blob("alpine", &blob.digest).await.assert_body(&blob.bytes);
    }
    house.advance_seconds(3600);
    let answer = house.manifest("alpine", signature.digest()).await;
    answer.assert_error(404, "MANIFEST_UNKNOWN");
    for blob in live.blobs().chain(signature.blobs()) {
        house
            .blob("alpine", &blob.digest)
            .await
            .assert_error(404, "BLOB_UNKNOWN");
    }
}

/// C3: the file is looked at every 2 s and applied when its content changed; gzipped or not.
#[tokio::test]
async fn applies_a_changed_file_within_seconds() {
    let scene = scene(|acme| acme).await;
    let renamed = |name: &str| {
        let authority = scene.upstream.authority();
        json!({ "organizations": [
            { "name": name, "remoteRegistry": authority, "visibility": "Internal", "tls": { "plainHttp": true } },
        ] })
        .to_string()
    };
    scene.house.replace_organizations_file(renamed("second"));
    scene
        .house
        .as_time_passes("the file is applied", Duration::from_millis(200), || async {
            scene.house.get("/v2/second/alpine/manifests/1").await.status == 200
        })
        .await;
    assert_eq!(scene.house.manifest("alpine", "1").await.status, 401);
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zipped.write_all(renamed("third").as_bytes()).unwrap();
    scene.house.reload_file(zipped.finish().unwrap()).await;
    scene
        .house
        .get("/v2/third/alpine/manifests/1")
        .await
        .assert_body(scene.image.body());
}

/// C3, G5: what does not parse, says nothing, or would empty the registry by accident, leaves the last good file.
#[tokio::test]
async fn keeps_the_last_good_file() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    let files: [&[u8]; 8] = [
        b"",
        b"\n",
        b"organizations",
        b"{ organizations: [",
        b"allowEmpty: true",
        b"organizations: 7",
        b"organizations: []",
        b"\x1f\x8b\x08\x00 not gzip",
    ];
    for file in files {
        scene.house.reload_file(file).await;
        let answer = scene.house.manifest("alpine", "1").await;
        assert_eq!(
            answer.status,
            200,
            "{}: {answer:?}",
            String::from_utf8_lossy(file)
        );
    }
    scene
        .house
        .reload_file("organizations: []\nallowEmpty: true")
        .await;
    assert_eq!(scene.house.manifest("alpine", "1").await.status, 401);
}

/// C3: an entry with a bad field keeps its own last good form, or is not served; the others do not notice.
#[tokio::test]
async fn a_bad_entry_does_not_take_the_others_down() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[100]);
    upstream.push("alpine", "1", &image);
    let entry = |name: &str| Organization::of(&upstream).named(name);
    let house = House::builder()
        .organization(entry("one"))
        .organization(entry("two"))
        .start()
        .await;
    let status = async |name: &str| house.get(&format!("/v2/{name}/alpine/manifests/1")).await.status;
    assert_eq!((status("one").await, status("two").await), (200, 200));
    house
        .reload(&[
            entry("one").set("expirationSeconds", json!(-5)).private(),
            entry("two").private(),
            entry("three").set("remoteRegistry", json!("not a registry")),
            entry("four"),
            entry("Five"),
        ])
        .await;
    assert_eq!(status("one").await, 200, "its last good form was open");
    assert_eq!(status("two").await, 401, "its new form is private");
    assert_eq!(status("three").await, 401, "it has no good form");
    assert_eq!(status("four").await, 200);
}

/// C3: of two entries with one name the one with the served identity is taken, with its new fields.
#[tokio::test]
async fn of_two_entries_with_one_name_the_served_one_is_taken() {
    let (upstream, other) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let (image, wrong) = (Image::random(1, &[100]), Image::random(2, &[100]));
    upstream.push("alpine", "1", &image);
    other.push("alpine", "1", &wrong);
    let house = House::with(Organization::of(&upstream).set("id", json!("first"))).await;
    house.manifest("alpine", "1").await.assert_body(image.body());
    let intruder = Organization::of(&other).set("id", json!("second"));
    house
        .reload(&[
            intruder.clone(),
            Organization::of(&upstream).set("id", json!("first")).private(),
        ])
        .await;
    house
        .manifest("alpine", "1")
        .await
        .assert_error(401, "UNAUTHORIZED");
    // Neither has the served identity: neither is served.
    let house = House::builder()
        .organization(intruder)
        .organization(Organization::of(&upstream).set("id", json!("first")))
        .start()
        .await;
    house
        .manifest("alpine", "1")
        .await
        .assert_error(401, "UNAUTHORIZED");
}

/// C3: unknown keys are a warning here.
#[tokio::test]
async fn ignores_unknown_keys_of_the_organizations_file() {
    let scene = scene(|acme| acme.set("fromTheFuture", json!({ "a": [1] }))).await;
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_body(scene.image.body());
}

/// G5: the same name with another identity starts empty, and another upstream is another identity.
#[tokio::test]
async fn another_identity_under_the_same_name_starts_empty() {
    let scene = scene(|acme| acme.set("id", json!("first"))).await;
    scene.house.manifest("alpine", "1").await.assert_cache("MISS");
    let second = Organization::of(&scene.upstream).set("id", json!("second"));
    scene.house.reload(&[second]).await;
    assert!(scene.house.tags("alpine").await.is_empty());
    scene.house.manifest("alpine", "1").await.assert_cache("MISS");
    let narrowed =
        Organization::at(&format!("{}/elsewhere", scene.upstream.authority())).set("id", json!("second"));
    scene.house.reload(&[narrowed]).await;
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(404, "NAME_UNKNOWN");
    // Back with the first identity, within its Window: its content is there.
    scene
        .house
        .reload(&[Organization::of(&scene.upstream).set("id", json!("first"))])
        .await;
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
}

/// C3: a reload, even one that removes the organization, does not cut a transfer.
#[tokio::test]
async fn a_reload_does_not_cut_a_transfer() {
    let (upstream, house, layer) = crate::blobs::pulled(2 << 20).await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(1 << 20, gate.clone()));
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let mut response = house.call(Method::GET, &path).open().await;
    gate.reached().await;
    house.reload(&[Organization::of(&upstream).private()]).await;
    house.reload_file("organizations: []\nallowEmpty: true").await;
    assert_eq!(house.get(&path).await.status, 401);
    gate.open();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert!(body == layer.bytes);
}

/// C3, O1: at start a missing or bad file is not fatal: alive, not ready, nothing served, until a good one comes.
#[tokio::test]
async fn starts_without_a_good_file_and_is_not_ready() {
    for file in ["", "nonsense"] {
        let upstream = FakeUpstream::start().await;
        let image = Image::random(1, &[100]);
        upstream.push("alpine", "1", &image);
        let house = House::builder().organizations_file(file).start().await;
        assert_eq!(house.admin("/livez").await.status, 200);
        assert_eq!(house.admin("/readyz").await.status, 503);
        assert_eq!(house.manifest("alpine", "1").await.status, 401);
        house.reload(&[Organization::of(&upstream)]).await;
        assert_eq!(house.admin("/readyz").await.status, 200);
        house.manifest("alpine", "1").await.assert_body(image.body());
    }
}

/// C3: nobody asks upstream for anything because a file was applied, beyond probing `/v2/`.
#[tokio::test]
async fn a_reload_pulls_nothing() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    let before = scene.contacts();
    scene
        .house
        .reload(&[Organization::of(&scene.upstream).ttl(5)])
        .await;
    never("upstream is asked for content", || async {
        scene.contacts() > before
    })
    .await;
}
