//! SPEC §2, M1 to M5: pulls by tag, from cold to dead, while upstream answers.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, never};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization, START};
use quayside_tests::images::Image;

use crate::scene::scene;

/// M1, A4: nobody without permission makes us talk to upstream.
#[tokio::test]
async fn decides_on_permission_before_any_upstream_contact() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    let path = "/v2/acme/alpine/manifests/1";
    scene.house.get(path).await.assert_error(401, "UNAUTHORIZED");
    scene
        .house
        .call(Method::GET, path)
        .user("bob")
        .send()
        .await
        .assert_error(403, "DENIED");
    assert_eq!(scene.contacts(), 0);
    assert_eq!(
        scene
            .house
            .call(Method::GET, path)
            .user("alice")
            .send()
            .await
            .status,
        200
    );
}

/// M2, E1: one GET, no HEAD, verified, stored, live for the TTL.
#[tokio::test]
async fn fetches_a_cold_tag_once_and_keeps_it_for_the_ttl() {
    let scene = scene(|acme| acme).await;
    let answer = scene.house.manifest("alpine", "1").await;
    answer.assert_cache("MISS");
    answer.assert_body(scene.image.body());
    assert_eq!((scene.manifest_gets(), scene.manifest_heads()), (1, 0));
    assert_eq!(scene.ends_at().await, START + 86_400_000);
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
}

/// M3, E1: one HEAD confirms a live tag, and the pull moves its end.
#[tokio::test]
async fn confirms_a_live_tag_by_one_head_and_renews_it() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(10);
    let answer = scene.house.manifest("alpine", "1").await;
    answer.assert_cache("REVALIDATED");
    answer.assert_body(scene.image.body());
    assert_eq!((scene.manifest_gets(), scene.manifest_heads()), (1, 1));
    let renewed = START + 70_000;
    scene
        .house
        .written("the renewal", || async { scene.ends_at().await == renewed })
        .await;
}

/// M3: within `revalidateSeconds` of the last check nothing is asked.
#[tokio::test]
async fn trusts_a_recent_check_for_revalidate_seconds() {
    let scene = scene(|acme| acme.revalidate(30)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(29);
    scene.house.manifest("alpine", "1").await.assert_cache("HIT");
    assert_eq!(scene.manifest_heads(), 0);
    scene.house.advance_seconds(2);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_cache("REVALIDATED");
    assert_eq!(scene.manifest_heads(), 1);
    scene.house.advance_seconds(29);
    scene.house.manifest("alpine", "1").await.assert_cache("HIT");
    assert_eq!(scene.manifest_heads(), 1);
}

/// M3: requests that arrive while a check runs use its result.
#[tokio::test]
async fn shares_a_check_that_is_running() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::manifest().head(), Fault::Hold(gate.clone()));
    let clients = futures::future::join_all((0..10).map(|_| scene.house.manifest("alpine", "1")));
    let opener = async {
        gate.reached().await;
        never("a second check starts", || async { scene.manifest_heads() > 1 }).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(clients, opener);
    for answer in answers {
        answer.assert_body(scene.image.body());
    }
}

/// M3, M6: after a failed check the host is left alone for 1 s, then 2 s; meanwhile the live tag is served.
#[tokio::test]
async fn backs_off_from_a_host_whose_check_failed() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene.upstream.script(On::manifest().head(), Fault::status(503));
    for (advance, heads) in [
        (0, 1),
        (0, 1),
        (1_001, 2),
        (1_001, 2),
        (1_001, 3),
        (3_000, 3),
        (1_001, 4),
    ] {
        scene.house.advance(Duration::from_millis(advance));
        scene.house.manifest("alpine", "1").await.assert_cache("STALE");
        assert_eq!(scene.manifest_heads(), heads, "after {advance} ms");
    }
}

/// M3: `Retry-After` of a 429 replaces the backoff.
#[tokio::test]
async fn leaves_a_host_alone_for_its_retry_after() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene
        .upstream
        .script(On::manifest().head(), Fault::too_many(Some(100)));
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene.house.advance_seconds(99);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    assert_eq!(scene.manifest_heads(), 1);
    scene.house.advance_seconds(2);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    assert_eq!(scene.manifest_heads(), 2);
}

/// M3: of a `Retry-After` at most an hour is heeded.
#[tokio::test]
async fn heeds_at_most_an_hour_of_retry_after() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene
        .upstream
        .script(On::manifest().head().once(), Fault::too_many(Some(1_000_000)));
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene.house.advance_seconds(3_590);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene.house.advance_seconds(11);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_cache("REVALIDATED");
}

/// M3: the pause between failed checks doubles up to 30 s and no further.
#[tokio::test]
async fn never_pauses_checks_for_more_than_thirty_seconds() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene.upstream.script(On::manifest().head(), Fault::status(503));
    for heads in 1..=10 {
        scene.house.advance_seconds(31);
        scene.house.manifest("alpine", "1").await.assert_cache("STALE");
        assert_eq!(scene.manifest_heads(), heads);
    }
    scene.house.advance_seconds(29);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    assert_eq!(scene.manifest_heads(), 10);
}

/// M3: the backoff never delays what is not cached, and any answer from the host ends it.
#[tokio::test]
async fn fetches_cold_tags_during_a_backoff_and_ends_it_by_the_answer() {
    let scene = scene(|acme| acme).await;
    let other = Image::random(2, &[10]);
    scene.upstream.push("alpine", "2", &other);
    scene.house.manifest("alpine", "1").await;
    scene
        .upstream
        .script(On::manifest().head().once(), Fault::status(503));
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene
        .house
        .manifest("alpine", "2")
        .await
        .assert_body(other.body());
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_cache("REVALIDATED");
}

/// M3: a check that is never answered ends in the cached tag.
#[tokio::test]
async fn serves_a_live_tag_when_the_check_is_never_answered() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[10]);
    upstream.push("alpine", "1", &image);
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/upstream/readTimeoutSeconds", 1.into())
        .start()
        .await;
    house.manifest("alpine", "1").await;
    upstream.script(On::manifest().head(), Fault::BlackHole);
    let answer = house.manifest("alpine", "1").await;
    answer.assert_cache("STALE");
    answer.assert_body(image.body());
}

/// M3: a registry that rejects HEAD, or leaves the digest out, is checked by GET.
#[tokio::test]
async fn checks_by_get_where_head_says_nothing() {
    for fault in [Fault::status(405), Fault::NoDigestHeader] {
        let scene = scene(|acme| acme).await;
        scene.upstream.script(On::manifest().head(), fault.clone());
        scene.house.manifest("alpine", "1").await.assert_cache("MISS");
        scene
            .house
            .manifest("alpine", "1")
            .await
            .assert_cache("REVALIDATED");
        assert_eq!(scene.manifest_gets(), 2, "{fault:?}");
        let other = Image::random(2, &[10]);
        scene.upstream.push("alpine", "1", &other);
        scene
            .house
            .manifest("alpine", "1")
            .await
            .assert_body(other.body());
    }
}

/// M3: HEAD and GET ask upstream for the same types.
#[tokio::test]
async fn sends_the_same_accept_list_with_head_and_get() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.manifest("alpine", "1").await;
    let requests = scene.upstream.requests();
    let accepts: Vec<_> = requests
        .iter()
        .filter(|request| request.path.ends_with("manifests/1"))
        .map(|request| request.header("accept").to_owned())
        .collect();
    assert_eq!(accepts.len(), 2);
    assert_eq!(accepts[0], accepts[1]);
    for media_type in [
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "manifest.list.v2",
        "manifest.v2",
    ] {
        assert!(accepts[0].contains(media_type), "{accepts:?}");
    }
}

/// M4: a tag that moved upstream is fetched anew; the old row dies now.
#[tokio::test]
async fn replaces_a_live_tag_that_moved_upstream() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    let other = Image::random(2, &[10]);
    scene.upstream.push("alpine", "1", &other);
    scene.house.advance_seconds(5);
    let answer = scene.house.manifest("alpine", "1").await;
    answer.assert_cache("MISS");
    answer.assert_body(other.body());
    let replaced = "SELECT ends_at FROM tag WHERE name = '1' AND NOT current";
    assert_eq!(scene.house.number(replaced).await, START + 5_000);
}

/// M5: a dead tag whose digest is the same upstream lives again without a download.
#[tokio::test]
async fn revives_a_dead_tag_without_a_download() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(100);
    assert!(scene.house.tags("alpine").await.is_empty());
    let answer = scene.house.manifest("alpine", "1").await;
    answer.assert_cache("REVALIDATED");
    answer.assert_body(scene.image.body());
    assert_eq!(scene.manifest_gets(), 1);
    assert_eq!(scene.ends_at().await, START + 160_000);
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
}

/// M5: dead and moved upstream is fetched like a cold one.
#[tokio::test]
async fn fetches_a_dead_tag_that_moved_upstream() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    let other = Image::random(2, &[10]);
    scene.upstream.push("alpine", "1", &other);
    scene.house.advance_seconds(100);
    let answer = scene.house.manifest("alpine", "1").await;
    answer.assert_cache("MISS");
    answer.assert_body(other.body());
}

/// M5: a digest that the tag had before is the same row, current again, and needs no download.
#[tokio::test]
async fn makes_the_old_row_current_when_a_tag_moves_back() {
    let scene = scene(|acme| acme).await;
    let other = Image::random(2, &[10]);
    scene.house.manifest("alpine", "1").await;
    scene.upstream.push("alpine", "1", &other);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_body(other.body());
    scene.upstream.push("alpine", "1", &scene.image);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_body(scene.image.body());
    assert_eq!(scene.manifest_gets(), 2);
    assert_eq!(scene.house.number("SELECT count(*) FROM tag").await, 2);
    assert_eq!(
        scene.house.number("SELECT count(*) FROM tag WHERE current").await,
        1
    );
    assert_eq!(scene.ends_at().await, START + 86_400_000);
}

/// M2: many at once cause one GET, and one who comes late gets the same bytes.
#[tokio::test]
async fn shares_one_fetch_of_a_cold_tag() {
    let scene = scene(|acme| acme).await;
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::manifest().get(), Fault::Hold(gate.clone()));
    let clients = futures::future::join_all((0..40).map(|_| scene.house.manifest("alpine", "1")));
    let opener = async {
        gate.reached().await;
        never("a second fetch starts", || async { scene.manifest_gets() > 1 }).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(clients, opener);
    for answer in answers {
        answer.assert_body(scene.image.body());
    }
    assert_eq!(scene.manifest_gets(), 1);
}

/// M2: the client that caused a fetch leaves; the others get it, and so does the cache.
#[tokio::test]
async fn finishes_a_fetch_whose_client_left() {
    let scene = scene(|acme| acme).await;
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::manifest().get(), Fault::Hold(gate.clone()));
    {
        let client = scene.house.manifest("alpine", "1");
        tokio::select! {
            answer = client => panic!("answered through a closed gate: {answer:?}"),
            () = gate.reached() => {}
        }
    }
    gate.open();
    eventually("the manifest is stored", || async {
        scene.house.number("SELECT count(*) FROM manifest").await == 1
    })
    .await;
    // Who comes while the fetch still tidies up gets its result; who comes later, a check.
    eventually("the fetch is over", || async {
        scene.house.manifest("alpine", "1").await.header("x-cache") == "REVALIDATED"
    })
    .await;
    assert_eq!(scene.manifest_gets(), 1);
}
