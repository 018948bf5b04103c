//! SPEC §2, M6 to M8: pulls by tag while upstream fails or refuses.

use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::{House, Organization, START};
use quayside_tests::images::Image;

use crate::scene::{Scene, scene};

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
    futures::future::join_all(outages.map(|outage| async {
        let mut scene = scene(|acme| acme.ttl(60)).await;
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
            .written("the failure", || async {
                scene.house.number("SELECT failed_at FROM tag").await >= START + 10_000
            })
            .await;
        assert_eq!(scene.final_end().await, START + 60_000, "{name}");
    }))
    .await;
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
            // The HEAD that asks about a dead tag has no body that could name the code.
            let code = match (repository, failure.code) {
                ("alpine", "NAME_UNKNOWN") => "MANIFEST_UNKNOWN",
                (_, code) => code,
            };
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (failure.status, code),
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
    let mut scene = scene(|acme| acme.ttl(60).window(1000).serve_stored()).await;
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
    assert_eq!(scene.final_end().await, START + 60_000);
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
