//! SPEC §2, M9 to M11: pulls by digest, and the HEAD that comes before them.

use quayside_tests::eventually::never;
use quayside_tests::fake::{Fault, On};
use quayside_tests::house::{House, Organization, START};
use quayside_tests::images::{Blob, Image, Index, OCI_MANIFEST};

use crate::scene::scene;

async fn listed_again(house: &House, repository: &str) {
    house
        .written("the revival", || async {
            !house.tags(repository).await.is_empty()
        })
        .await;
}

async fn flushed(house: &House, query: &'static str, expected: i64) {
    house
        .written("the batch", || async { house.number(query).await == expected })
        .await;
}

/// M9: what is held is served by digest without upstream, also while upstream refuses us.
#[tokio::test]
async fn serves_a_held_digest_without_upstream() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene.upstream.script(On::any(), Fault::error(403, "DENIED"));
    let before = scene.contacts();
    let answer = scene.house.manifest("alpine", scene.image.digest()).await;
    answer.assert_cache("HIT");
    answer.assert_body(scene.image.body());
    assert_eq!(scene.contacts(), before);
}

/// M9: a pull by digest renews the live tag on that manifest.
#[tokio::test]
async fn a_digest_pull_renews_the_live_tag() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(50);
    scene.house.manifest("alpine", scene.image.digest()).await;
    flushed(
        &scene.house,
        "SELECT ends_at FROM tag WHERE name = '1'",
        START + 110_000,
    )
    .await;
    assert_eq!(
        scene.house.number("SELECT count(*) FROM tag").await,
        1,
        "no pin where a live tag holds it"
    );
}

/// M9: a pull of a child by digest renews the tag of the index, also through an index of indexes.
#[tokio::test]
async fn a_digest_pull_of_a_child_renews_the_tag_of_its_index() {
    let scene = scene(|acme| acme.ttl(60)).await;
    let inner = Index::two_platforms(7, 10);
    let child = inner.images[0].clone();
    let outer = Index::builder().index(inner.clone()).build();
    scene.upstream.push_index("multi", "1", &outer);
    scene.house.manifest("multi", "1").await.assert_body(outer.body());
    scene
        .house
        .manifest("multi", inner.digest())
        .await
        .assert_body(inner.body());
    scene
        .house
        .manifest("multi", child.digest())
        .await
        .assert_body(child.body());
    scene.house.advance_seconds(50);
    scene
        .house
        .manifest("multi", child.digest())
        .await
        .assert_cache("HIT");
    flushed(
        &scene.house,
        "SELECT ends_at FROM tag WHERE name = '1'",
        START + 110_000,
    )
    .await;
    assert_eq!(
        scene.house.number("SELECT count(*) FROM tag").await,
        1,
        "no pin where a held index names it"
    );
}

/// M9, M11: what containerd does, HEAD by tag and GET by digest, keeps the tag alive without a manifest GET.
#[tokio::test]
async fn head_by_tag_then_get_by_digest_keeps_a_tag_alive() {
    let scene = scene(|acme| acme.ttl(60)).await;
    for _ in 0..4 {
        let head = scene.house.head_manifest("alpine", "1").await;
        assert_eq!(head.header("docker-content-digest"), scene.image.digest());
        scene
            .house
            .manifest("alpine", scene.image.digest())
            .await
            .assert_body(scene.image.body());
        let end = scene.house.now() + 60_000;
        scene
            .house
            .written("the renewal", || async { scene.ends_at().await >= end })
            .await;
        scene.house.advance_seconds(45);
        assert_eq!(scene.house.tags("alpine").await, ["1"]);
    }
    assert_eq!(scene.manifest_gets(), 1);
}

/// M11, M5: HEAD of a dead tag marks it resolved, and the GET of its digest revives it.
#[tokio::test]
async fn head_then_get_by_digest_revives_a_dead_tag() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(200);
    let head = scene.house.head_manifest("alpine", "1").await;
    assert_eq!(
        (head.status, head.header("docker-content-digest")),
        (200, scene.image.digest())
    );
    assert!(
        scene.house.tags("alpine").await.is_empty(),
        "a HEAD revives nothing"
    );
    scene.house.advance_seconds(500);
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
    listed_again(&scene.house, "alpine").await;
    assert_eq!(scene.manifest_gets(), 1);
}

/// M11: 600 s after the HEAD the digest no longer speaks for the tag; it gets a pin.
#[tokio::test]
async fn a_digest_pull_long_after_the_head_revives_nothing() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(200);
    scene.house.head_manifest("alpine", "1").await;
    scene.house.advance_seconds(601);
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
    flushed(&scene.house, "SELECT count(*) FROM tag WHERE name = ''", 1).await;
    assert!(scene.house.tags("alpine").await.is_empty());
}

/// M11: polling by HEAD alone lets a tag expire.
#[tokio::test]
async fn polling_by_head_alone_lets_a_tag_expire() {
    let mut scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    for _ in 0..5 {
        scene.house.advance_seconds(11);
        let head = scene.house.head_manifest("alpine", "1").await;
        assert_eq!(
            (head.status, head.header("docker-content-digest")),
            (200, scene.image.digest())
        );
    }
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
    scene.house.advance_seconds(10);
    assert!(scene.house.tags("alpine").await.is_empty());
    assert_eq!(scene.manifest_gets(), 1);
    assert_eq!(scene.final_end().await, START + 60_000);
}

/// M3, M9: while upstream is down, HEAD and digest pulls do not keep a tag alive for ever.
#[tokio::test]
async fn an_unconfirmed_tag_is_not_renewed_by_its_digest() {
    let outages = [
        Fault::Hangup,
        Fault::status(503),
        Fault::error(404, "MANIFEST_UNKNOWN"),
        Fault::error(403, "DENIED"),
    ];
    futures::future::join_all(outages.map(|outage| async move {
        let mut scene = scene(|acme| acme.ttl(60)).await;
        scene.house.manifest("alpine", "1").await;
        scene.upstream.script(On::manifest(), outage.clone());
        for _ in 0..2 {
            scene.house.advance_seconds(20);
            scene.house.head_manifest("alpine", "1").await;
            scene
                .house
                .manifest("alpine", scene.image.digest())
                .await
                .assert_body(scene.image.body());
        }
        flushed(
            &scene.house,
            "SELECT count(*) FROM tag WHERE failed_at > checked_at",
            1,
        )
        .await;
        scene.house.advance_seconds(20);
        assert!(scene.house.tags("alpine").await.is_empty(), "{outage:?}");
        assert_eq!(scene.final_end().await, START + 60_000, "{outage:?}");
    }))
    .await;
}

/// M9: a digest pull never revives a tag that was replaced.
#[tokio::test]
async fn a_replaced_tag_is_not_revived_by_its_digest() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    let other = Image::random(2, &[10]);
    scene.upstream.push("alpine", "1", &other);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_body(other.body());
    scene.house.advance_seconds(10);
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
    flushed(
        &scene.house,
        "SELECT count(*) FROM tag WHERE name = '' AND current",
        1,
    )
    .await;
    assert_eq!(
        scene
            .house
            .number("SELECT ends_at FROM tag WHERE name = '1' AND NOT current")
            .await,
        START
    );
}

/// M9, M11: nor does it if the replaced row had been marked resolved shortly before.
#[tokio::test]
async fn a_replaced_tag_is_not_revived_although_it_was_resolved() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(100);
    assert_eq!(scene.house.head_manifest("alpine", "1").await.status, 200);
    let other = Image::random(2, &[10]);
    scene.upstream.push("alpine", "1", &other);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_body(other.body());
    let old = scene.house.manifest("alpine", scene.image.digest()).await;
    old.assert_body(scene.image.body());
    let pins = "SELECT count(*) FROM tag WHERE name = '' AND current";
    flushed(&scene.house, pins, 1).await;
    let replaced = "SELECT ends_at FROM tag WHERE name = '1' AND NOT current";
    assert_eq!(scene.house.number(replaced).await, START + 60_000);
}

/// M10: an unknown digest is fetched, verified, stored, and pinned for the TTL.
#[tokio::test]
async fn fetches_and_pins_a_digest_that_is_not_stored() {
    let scene = scene(|acme| acme.ttl(60)).await;
    let answer = scene.house.manifest("alpine", scene.image.digest()).await;
    answer.assert_cache("MISS");
    answer.assert_body(scene.image.body());
    assert_eq!(
        scene
            .house
            .number("SELECT ends_at FROM tag WHERE name = ''")
            .await,
        START + 60_000
    );
    assert!(
        scene.house.tags("alpine").await.is_empty(),
        "a pin is never listed"
    );
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_cache("HIT");
    assert_eq!(scene.manifest_gets(), 1);
}

/// M10: a child of a held index needs no pin, nor does an artifact whose subject is held.
#[tokio::test]
async fn pins_neither_a_child_of_a_held_index_nor_an_artifact_of_a_held_subject() {
    let scene = scene(|acme| acme).await;
    let index = Index::two_platforms(3, 10);
    let artifact = Image::builder()
        .subject(&index.manifest)
        .artifact_type("application/example")
        .build();
    scene.upstream.push_index("multi", "1", &index);
    scene.upstream.push_untagged("multi", &artifact);
    scene.house.manifest("multi", "1").await.assert_body(index.body());
    scene
        .house
        .manifest("multi", index.images[1].digest())
        .await
        .assert_body(index.images[1].body());
    scene
        .house
        .manifest("multi", artifact.digest())
        .await
        .assert_body(artifact.body());
    assert_eq!(
        scene
            .house
            .number("SELECT count(*) FROM tag WHERE name = ''")
            .await,
        0
    );
}

/// M10: a body that does not hash to its digest is refused, and nothing of it is kept.
#[tokio::test]
async fn refuses_a_body_that_is_not_what_the_digest_says() {
    let scene = scene(|acme| acme).await;
    let other = Image::random(2, &[10]);
    scene
        .upstream
        .script(On::manifest(), Fault::Replace(other.body().clone()));
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_error(502, "MANIFEST_INVALID");
    assert_eq!(scene.house.rows().await, 0);
    scene.upstream.heal();
    scene
        .house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_body(scene.image.body());
}

/// M10, N3: SHA-512 is as good as SHA-256.
#[tokio::test]
async fn fetches_by_sha512() {
    let scene = scene(|acme| acme).await;
    let manifest = Blob::new(OCI_MANIFEST, scene.image.body().clone()).with_sha512();
    scene.upstream.add_manifest("alpine", &manifest);
    let answer = scene.house.manifest("alpine", &manifest.digest).await;
    answer.assert_body(&manifest.bytes);
    assert_eq!(answer.header("docker-content-digest"), manifest.digest);
    scene
        .upstream
        .script(On::manifest(), Fault::Replace("other".into()));
    let absent = Blob::new(OCI_MANIFEST, "{}").with_sha512();
    scene.upstream.add_manifest("alpine", &absent);
    scene
        .house
        .manifest("alpine", &absent.digest)
        .await
        .assert_error(502, "MANIFEST_INVALID");
}

/// M11: HEAD of a cold or moved tag stores like GET, says the same, and fills no blob.
#[tokio::test]
async fn head_of_a_cold_or_moved_tag_stores_and_fills_nothing() {
    let scene = scene(Organization::background).await;
    let head = scene.house.head_manifest("alpine", "1").await;
    head.assert_cache("MISS");
    assert_eq!(head.header("docker-content-digest"), scene.image.digest());
    assert_eq!(
        head.header("content-length"),
        scene.image.body().len().to_string()
    );
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
    let other = Image::random(2, &[10]);
    scene.upstream.push("alpine", "1", &other);
    let head = scene.house.head_manifest("alpine", "1").await;
    assert_eq!(head.header("docker-content-digest"), other.digest());
    never("a blob is filled", || async { scene.blob_gets() > 0 }).await;
    assert_eq!(
        scene
            .house
            .number("SELECT count(*) FROM blob WHERE wanted_at IS NOT NULL")
            .await,
        0
    );
}

/// M11, M8: HEAD has the status that GET would have.
#[tokio::test]
async fn head_fails_as_get_does() {
    let scene = scene(|acme| acme).await;
    assert_eq!(scene.house.head_manifest("alpine", "nope").await.status, 404);
    scene.upstream.script(On::manifest(), Fault::status(500));
    assert_eq!(scene.house.head_manifest("alpine", "1").await.status, 502);
    scene.upstream.heal();
    scene.upstream.script(On::manifest(), Fault::too_many(Some(9)));
    let head = scene.house.head_manifest("alpine", "1").await;
    assert_eq!((head.status, head.header("retry-after")), (429, "9"));
}

/// M11: HEAD by digest answers and stores like GET and renews nothing.
#[tokio::test]
async fn head_by_digest_stores_and_renews_nothing() {
    let mut scene = scene(|acme| acme.ttl(60)).await;
    let head = scene.house.head_manifest("alpine", scene.image.digest()).await;
    assert_eq!(
        (head.status, head.header("docker-content-digest")),
        (200, scene.image.digest())
    );
    assert_eq!(
        scene
            .house
            .number("SELECT ends_at FROM tag WHERE name = ''")
            .await,
        START + 60_000
    );
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(30);
    assert_eq!(
        scene
            .house
            .head_manifest("alpine", scene.image.digest())
            .await
            .status,
        200
    );
    scene.house.advance_seconds(31);
    assert!(scene.house.tags("alpine").await.is_empty());
    assert_eq!(scene.final_end().await, START + 60_000);
}
