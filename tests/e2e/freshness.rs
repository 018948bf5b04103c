//! SPEC §2, M1 to M8: pulls by tag, from cold to dead.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, never};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization, START};
use quayside_tests::images::Image;

use crate::scene::{Scene, scene};

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
        .as_time_passes("the renewal is written", Duration::from_millis(100), || async {
            scene.ends_at().await == renewed
        })
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

fn stop(scene: &Scene, fault: Option<Fault>) {
    match fault {
        None => scene.upstream.stop(),
        Some(fault) => scene.upstream.script(On::manifest(), fault),
    }
}

/// M6: every kind of outage, and a tag that is gone upstream, serves the live tag and does not renew it.
#[tokio::test]
async fn serves_a_live_tag_through_every_outage_without_renewing_it() {
    let outages = [
        None,
        Some(Fault::Hangup),
        Some(Fault::status(500)),
        Some(Fault::status(503)),
        Some(Fault::too_many(None)),
        Some(Fault::error(404, "MANIFEST_UNKNOWN")),
        Some(Fault::Garbage("nonsense\r\n\r\n".into())),
    ];
    for outage in outages {
        let scene = scene(|acme| acme.ttl(60)).await;
        scene.house.manifest("alpine", "1").await;
        let name = format!("{outage:?}");
        stop(&scene, outage);
        scene.house.advance_seconds(10);
        let answer = scene.house.manifest("alpine", "1").await;
        answer.assert_cache("STALE");
        answer.assert_body(scene.image.body());
        assert!(
            answer.header("warning").starts_with("299 - \""),
            "{name}: {answer:?}"
        );
        assert!(answer.header("warning").ends_with('"'), "{name}: {answer:?}");
        scene
            .house
            .as_time_passes("the failure is recorded", Duration::from_millis(100), || async {
                scene.house.number("SELECT failed_at FROM tag").await >= START + 10_000
            })
            .await;
        assert_eq!(scene.ends_at().await, START + 60_000, "{name}");
    }
}

/// M6: a tag that was deleted upstream is served until its TTL lapses, then it is not there.
#[tokio::test]
async fn forgets_a_deleted_tag_when_its_ttl_lapses() {
    let scene = scene(|acme| acme.ttl(60)).await;
    scene.house.manifest("alpine", "1").await;
    scene.upstream.untag("alpine", "1");
    scene.house.advance_seconds(59);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene.house.advance_seconds(2);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
}

/// M7: a refusal is not an outage: even a live tag is not served.
#[tokio::test]
async fn does_not_serve_a_live_tag_that_upstream_refuses_us() {
    for status in [401, 403] {
        let scene = scene(|acme| acme).await;
        scene.house.manifest("alpine", "1").await;
        scene
            .upstream
            .script(On::manifest(), Fault::error(status, "DENIED"));
        let answer = scene.house.manifest("alpine", "1").await;
        answer.assert_error(403, "DENIED");
        assert!(
            answer.message().contains(&scene.upstream.authority()),
            "{answer:?}"
        );
        assert_eq!(scene.house.head_manifest("alpine", "1").await.status, 403);
    }
}

struct Failure {
    fault: Option<Fault>,
    status: u16,
    code: &'static str,
    retry_after: &'static str,
}

fn failures() -> Vec<Failure> {
    let row = |fault, status, code, retry_after| Failure {
        fault,
        status,
        code,
        retry_after,
    };
    let too_big = vec![b' '; (4 << 20) + 1];
    vec![
        row(
            Some(Fault::error(404, "MANIFEST_UNKNOWN")),
            404,
            "MANIFEST_UNKNOWN",
            "",
        ),
        row(Some(Fault::error(404, "NAME_UNKNOWN")), 404, "NAME_UNKNOWN", ""),
        row(Some(Fault::too_many(Some(17))), 429, "TOOMANYREQUESTS", "17"),
        row(Some(Fault::too_many(None)), 429, "TOOMANYREQUESTS", "60"),
        row(Some(Fault::error(401, "UNAUTHORIZED")), 403, "DENIED", ""),
        row(Some(Fault::error(403, "DENIED")), 403, "DENIED", ""),
        row(None, 502, "UNAVAILABLE", ""),
        row(Some(Fault::Hangup), 502, "UNAVAILABLE", ""),
        row(Some(Fault::status(500)), 502, "UNAVAILABLE", ""),
        row(Some(Fault::status(503)), 502, "UNAVAILABLE", ""),
        row(
            Some(Fault::Replace("not a manifest".into())),
            502,
            "MANIFEST_INVALID",
            "",
        ),
        row(Some(Fault::Replace(too_big.into())), 502, "MANIFEST_INVALID", ""),
        row(Some(Fault::Flip(40)), 502, "MANIFEST_INVALID", ""),
        row(
            Some(Fault::DigestHeader(format!("sha256:{}", "a".repeat(64)))),
            502,
            "MANIFEST_INVALID",
            "",
        ),
    ]
}

/// M8: cold and dead alike, the client learns the true reason, and nothing is left behind.
#[tokio::test]
async fn tells_the_true_reason_when_upstream_fails() {
    for failure in failures() {
        let scene = scene(|acme| acme.ttl(60)).await;
        scene.upstream.push("cold", "1", &Image::random(2, &[10]));
        scene.house.manifest("alpine", "1").await;
        scene.house.advance_seconds(100);
        let name = format!("{:?}", failure.fault)
            .chars()
            .take(120)
            .collect::<String>();
        stop(&scene, failure.fault);
        let references = ["cold", "alpine"];
        for repository in references {
            let content = scene.upstream.requests().len();
            let answer = scene.house.manifest(repository, "1").await;
            if repository == "alpine" && failure.code == "MANIFEST_INVALID" && answer.status == 200 {
                // A HEAD was enough: the digest is the same, so the broken body was never asked for.
                assert!(scene.upstream.requests().len() > content);
                continue;
            }
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (failure.status, failure.code),
                "{name}: {answer:?}"
            );
            assert_eq!(answer.header("retry-after"), failure.retry_after, "{name}");
            if failure.status >= 502 {
                assert!(answer.message().contains("127.0.0.1"), "{name}: {answer:?}");
            }
        }
        assert_eq!(
            scene.house.number("SELECT count(*) FROM repository").await,
            1,
            "{name}"
        );
        scene.upstream.heal();
    }
}

/// M8: an upstream that does not answer in time is 504.
#[tokio::test]
async fn answers_504_when_upstream_does_not_answer() {
    let upstream = FakeUpstream::start().await;
    upstream.push("alpine", "1", &Image::random(1, &[10]));
    upstream.script(On::manifest(), Fault::BlackHole);
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/upstream/readTimeoutSeconds", 1.into())
        .start()
        .await;
    let answer = house.manifest("alpine", "1").await;
    answer.assert_error(504, "UNAVAILABLE");
    assert!(answer.message().contains(&upstream.authority()), "{answer:?}");
}

/// M8: a certificate that nobody vouches for is a 502 that says so, and the right bundle makes it work.
#[tokio::test]
async fn answers_502_when_the_certificate_is_not_trusted() {
    let upstream = FakeUpstream::with_tls(quayside_tests::fake::Login::Open, &[]).await;
    let image = Image::random(1, &[10]);
    upstream.push("alpine", "1", &image);
    let acme = Organization::of(&upstream).set("tls", serde_json::json!({}));
    let house = House::builder()
        .organization(acme)
        .organization(
            Organization::of(&upstream)
                .named("trusting")
                .ca_bundle(upstream.ca_bundle()),
        )
        .bundle(upstream.ca_bundle())
        .start()
        .await;
    house
        .manifest("alpine", "1")
        .await
        .assert_error(502, "UNAVAILABLE");
    house
        .get("/v2/trusting/alpine/manifests/1")
        .await
        .assert_body(image.body());
}

/// M8: `ServeStored` serves a dead tag within its Window on outages, without reviving it.
#[tokio::test]
async fn serves_a_dead_tag_during_an_outage_if_the_policy_says_so() {
    let scene = scene(|acme| acme.ttl(60).window(1000).serve_stored()).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(100);
    for outage in [Fault::Hangup, Fault::status(503), Fault::too_many(None)] {
        scene.upstream.script(On::manifest(), outage);
        let answer = scene.house.manifest("alpine", "1").await;
        answer.assert_cache("STALE");
        answer.assert_body(scene.image.body());
        assert!(answer.header("warning").starts_with("299 - \""), "{answer:?}");
        scene.upstream.heal();
    }
    assert_eq!(scene.ends_at().await, START + 60_000);
    assert!(scene.house.tags("alpine").await.is_empty());
    scene
        .upstream
        .script(On::manifest(), Fault::error(404, "MANIFEST_UNKNOWN"));
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    scene.upstream.heal();
    scene.upstream.script(On::manifest(), Fault::error(403, "DENIED"));
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(403, "DENIED");
}

/// M8: out of its Window a dead tag is not served whatever the policy.
#[tokio::test]
async fn does_not_serve_a_dead_tag_after_its_window() {
    let scene = scene(|acme| acme.ttl(60).window(100).serve_stored()).await;
    scene.house.manifest("alpine", "1").await;
    scene.upstream.stopped().await;
    scene.house.advance_seconds(159);
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
    scene.house.advance_seconds(2);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(502, "UNAVAILABLE");
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
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_cache("REVALIDATED");
    assert_eq!(scene.manifest_gets(), 1);
}
