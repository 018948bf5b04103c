//! What is said of organization, upstream and storage.

use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image, Index};
use serde_json::{Value, json};

use super::ask;
use crate::scene::scene;

/// O5, N1, N2: with or without a host; the upstream's own name of the repository, Docker Hub's aliases resolved.
#[tokio::test]
async fn names_the_upstream_and_its_repository() {
    let house = House::builder()
        .organization(Organization::at("docker.io").named("hub"))
        .organization(Organization::at("quay.io/projectquay").named("narrow"))
        .start()
        .await;
    for (image, told, host, repository, rules) in [
        (
            "hub/alpine",
            "hub/alpine:latest",
            "registry-1.docker.io",
            "library/alpine",
            json!(["N1", "N2"]),
        ),
        (
            "registry.test/hub/library/alpine:1",
            "hub/library/alpine:1",
            "registry-1.docker.io",
            "library/alpine",
            json!(["N1", "N2"]),
        ),
        (
            "localhost:5000/narrow/quay:1",
            "narrow/quay:1",
            "quay.io",
            "projectquay/quay",
            json!(["N1"]),
        ),
    ] {
        let said = ask(&house, image, None).await;
        assert_eq!(said["image"], told);
        let upstream = json!({ "host": host, "repository": repository, "rules": rules });
        assert_eq!(said["upstream"], upstream, "{image}");
        assert_eq!(
            (&said["cached"], &said["next"]["get"]["rule"]),
            (&Value::Null, &json!("M2"))
        );
    }
}

/// O5, A4, C3: what is not in the file is unknown, what is bad in it is not served; both are answered like an
/// organization without the role.
#[tokio::test]
async fn tells_why_an_organization_is_not_served() {
    let mut house = House::with(Organization::at("quay.io")).await;
    let bad =
        json!({ "organizations": [{ "name": "acme", "remoteRegistry": "quay.io", "visibility": "Some" }] });
    house.reload_file(bad.to_string()).await;
    house.restart().await;
    for (image, standing) in [("acme/app:1", "notServed"), ("other/app:1", "unknown")] {
        let said = ask(&house, image, None).await;
        assert_eq!(said["organization"]["standing"], standing);
        assert_eq!(
            (&said["access"]["status"], &said["access"]["rule"]),
            (&json!(401), &json!("A4"))
        );
        assert_eq!(said["next"]["get"]["outcomes"][0]["status"], 401);
        assert_eq!(ask(&house, image, Some("alice")).await["access"]["status"], 403);
        let path = format!("/v2/{}/manifests/1", image.trim_end_matches(":1"));
        assert_eq!(house.get(&path).await.status, 401);
    }
}

/// O5, A8: from the trusted networks as a member, from elsewhere not.
#[tokio::test]
async fn tells_what_depends_on_the_network() {
    let scene = scene(|acme| acme).await;
    let said = ask(&scene.house, "acme/alpine:1", None).await;
    let elsewhere = json!({ "decision": "challenge", "status": 401 });
    assert_eq!(
        (&said["access"]["rule"], &said["access"]["elsewhere"]),
        (&json!("A8"), &elsewhere)
    );
    let said = ask(&scene.house, "acme/alpine:1", Some("bob")).await;
    assert_eq!(said["access"]["elsewhere"]["status"], 403);
}

/// O5, E1, M3, M15: end, last use and last check of a tag, as of this moment, and whether it is unconfirmed.
#[tokio::test]
async fn tells_the_times_of_a_tag() {
    let scene = scene(|acme| acme.ttl(3_600)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(10);
    scene.house.manifest("alpine", "1").await;
    let cached = ask(&scene.house, "acme/alpine:1", None).await["cached"].clone();
    // The clock began at 2027-01-15T08:00:00Z.
    let now = "2027-01-15T08:00:10Z";
    let tag = json!({
        "endsAt": "2027-01-15T09:00:10Z", "lastUsedAt": now, "lastCheckedAt": now, "unconfirmed": false,
    });
    assert_eq!((&cached["tag"], &cached["standing"]), (&tag, &json!("live")));
    assert_eq!(cached["holders"].as_array().unwrap().len(), 1);
    assert_eq!(cached["holders"][0]["tag"], "1");

    scene.upstream.script(On::manifest(), Fault::status(503));
    scene.house.advance_seconds(10);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    let cached = ask(&scene.house, "acme/alpine:1", None).await["cached"].clone();
    assert_eq!(
        (&cached["tag"]["unconfirmed"], &cached["tag"]["lastCheckedAt"]),
        (&json!(true), &json!(now))
    );
    let unending = Organization::of(&scene.upstream).ttl(0);
    scene.house.reload(&[unending]).await;
    scene.upstream.heal();
    scene.house.advance_seconds(2);
    scene.house.manifest("alpine", "1").await;
    let cached = ask(&scene.house, "acme/alpine:1", None).await["cached"].clone();
    assert_eq!(cached["tag"]["endsAt"], Value::Null);
}

/// O5, M9, M10: a pin is told apart from a tag.
#[tokio::test]
async fn tells_of_a_pin() {
    let scene = scene(|acme| acme).await;
    let digest = scene.image.digest();
    scene.house.manifest("alpine", digest).await;
    let said = ask(&scene.house, &format!("acme/alpine@{digest}"), None).await;
    let holders = said["cached"]["holders"].as_array().unwrap();
    assert_eq!((holders.len(), &holders[0]["tag"]), (1, &Value::Null));
    assert_eq!(said["cached"]["tag"], Value::Null);
    assert_eq!(
        ask(&scene.house, "acme/alpine:1", None).await["cached"],
        Value::Null
    );
}

/// O5, Q2: what the image holds alone, what it shares, and which of its blobs are missing.
#[tokio::test]
async fn tells_sizes_and_what_is_missing() {
    let upstream = FakeUpstream::start().await;
    let (own, shared) = (Blob::random(1, 3_000), Blob::random(2, 50_000));
    let app = Image::builder().layer(own.clone()).layer(shared.clone()).build();
    let other = Image::builder()
        .layer(shared.clone())
        .label("other", "image")
        .build();
    upstream.push("app", "1", &app);
    upstream.push("other", "1", &other);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("app", "1").await;
    let total = app.manifest.size() + app.blobs().map(Blob::size).sum::<u64>();
    let cached = ask(&house, "acme/app:1", None).await["cached"].clone();
    assert_eq!(
        (&cached["aloneBytes"], &cached["sharedBytes"]),
        (&json!(total), &json!(0))
    );
    assert_eq!(
        (&cached["complete"], cached["missing"].as_array().unwrap().len()),
        (&json!(false), 3)
    );

    house.manifest("other", "1").await;
    for blob in app.blobs().filter(|blob| blob.digest != own.digest) {
        house.blob("app", &blob.digest).await;
        house.stored(&blob.digest).await;
    }
    let cached = ask(&house, "acme/app:1", None).await["cached"].clone();
    assert_eq!(
        (&cached["aloneBytes"], &cached["sharedBytes"]),
        (&json!(total - shared.size()), &json!(shared.size()))
    );
    let missing = json!([{ "digest": own.digest, "bytes": own.size(), "reason": "notStored" }]);
    assert_eq!(cached["missing"], missing);
    house.blob("app", &own.digest).await;
    house.stored(&own.digest).await;
    let cached = ask(&house, "acme/app:1", None).await["cached"].clone();
    assert_eq!(
        (&cached["complete"], &cached["missing"]),
        (&json!(true), &json!([]))
    );
}

/// O5, M13: of an index, which platforms are stored, and how much of them.
#[tokio::test]
async fn tells_which_children_of_an_index_are_stored() {
    let upstream = FakeUpstream::start().await;
    let index = Index::two_platforms(1, 1_000);
    upstream.push_index("multi", "1", &index);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("multi", "1").await;
    let said = ask(&house, "acme/multi:1", None).await;
    let children = said["cached"]["children"].as_array().unwrap().clone();
    let told: Vec<_> = children
        .iter()
        .map(|child| (child["platform"].as_str().unwrap(), &child["stored"]))
        .collect();
    assert_eq!(
        told,
        [("linux/amd64", &json!(false)), ("linux/arm64", &json!(false))]
    );
    assert_eq!(
        (&said["cached"]["kind"], &said["cached"]["complete"]),
        (&json!("index"), &json!(false))
    );

    let child = children[1]["digest"].as_str().unwrap();
    house.manifest("multi", child).await;
    let said = ask(&house, "acme/multi:1", None).await;
    let children = said["cached"]["children"].as_array().unwrap().clone();
    assert_eq!(
        (&children[0]["stored"], &children[1]["stored"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(children[1]["missingBlobs"], 2);
    let said = ask(&house, &format!("acme/multi@{child}"), None).await;
    assert_eq!(said["cached"]["heldThrough"], json!([index.digest()]));
    assert_eq!(said["cached"]["standing"], "live");
}
