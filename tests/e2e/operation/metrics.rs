//! SPEC O1: what is counted.

use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;
use serde_json::json;

use crate::scene::{Scene, scene};

async fn pulls(house: &House, result: &str) -> u64 {
    let series = format!("quayside_pulls_total{{organization=\"acme\",result=\"{result}\"}}");
    house.metric(&series).await.unwrap()
}

async fn blob_requests(house: &House, result: &str) -> u64 {
    let series = format!("quayside_blob_requests_total{{organization=\"acme\",result=\"{result}\"}}");
    house.metric(&series).await.unwrap()
}

async fn upstream_requests(scene: &Scene, code: &str) -> Option<u64> {
    let host = scene.upstream.authority();
    let series = format!("quayside_upstream_requests_total{{host=\"{host}\",code=\"{code}\"}}");
    scene.house.metric(&series).await
}

/// O1: every pull counts once, under how it was answered; HEAD is no pull.
#[tokio::test]
async fn pulls_are_counted_by_their_result() {
    let scene = scene(|acme| acme).await;
    let house = &scene.house;
    house.manifest("alpine", "1").await.assert_cache("MISS");
    house.manifest("alpine", "1").await.assert_cache("REVALIDATED");
    house
        .manifest("alpine", scene.image.digest())
        .await
        .assert_cache("HIT");
    house.head_manifest("alpine", "1").await;
    assert_eq!(house.manifest("alpine", "none").await.status, 404);
    scene.upstream.stopped().await;
    house.manifest("alpine", "1").await.assert_cache("STALE");
    for result in ["miss", "revalidated", "hit", "stale", "error"] {
        assert_eq!(pulls(house, result).await, 1, "{result}");
    }
    assert_eq!(pulls(house, "denied").await, 0);
}

/// O1, A4: who is refused for good is counted; who is only told to log in first is not.
#[tokio::test]
async fn refusals_are_counted_but_not_the_way_to_the_login() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    let house = &scene.house;
    assert_eq!(house.manifest("alpine", "1").await.status, 401);
    assert_eq!(pulls(house, "denied").await, 0);
    let path = "/v2/acme/alpine/manifests/1";
    let stranger = house.call(http::Method::GET, path).user("bob").send().await;
    assert_eq!(stranger.status, 403);
    assert_eq!(pulls(house, "denied").await, 1);
    let wrong = house
        .call(http::Method::GET, path)
        .basic("alice", "wrong")
        .send()
        .await;
    assert_eq!(wrong.status, 401);
    assert_eq!(pulls(house, "denied").await, 2);
    let member = house.call(http::Method::GET, path).user("alice").send().await;
    assert_eq!(member.status, 200);
    assert_eq!((pulls(house, "denied").await, pulls(house, "miss").await), (2, 1));
    // A name that is nobody's is no label.
    house.get("/v2/nobody/alpine/manifests/1").await;
    assert!(!house.metrics().await.contains("nobody"));
}

/// O1: bytes in and out, requests for blobs and requests to upstream.
#[tokio::test]
async fn bytes_and_requests_are_counted() {
    let scene = scene(|acme| acme).await;
    let (house, layer) = (&scene.house, &scene.image.layers[0]);
    let manifest = scene.image.body().len() as u64;
    house.manifest("alpine", "1").await;
    for _ in 0..2 {
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        eventually("the blob is stored", || async {
            house
                .number("SELECT count(*) FROM blob WHERE storage_key IS NOT NULL")
                .await
                == 1
        })
        .await;
    }
    house.blob_range("alpine", &layer.digest, "bytes=0-9").await;
    assert_eq!(
        house
            .blob("alpine", &format!("sha256:{}", "0".repeat(64)))
            .await
            .status,
        404
    );
    assert_eq!(blob_requests(house, "miss").await, 1);
    assert_eq!(blob_requests(house, "hit").await, 2);
    assert_eq!(blob_requests(house, "error").await, 1);
    let served = house
        .metric("quayside_served_bytes_total{organization=\"acme\"}")
        .await;
    assert_eq!(served, Some(manifest + 2 * layer.size() + 10));
    let fetched = format!(
        "quayside_fetched_bytes_total{{host=\"{}\"}}",
        scene.upstream.authority()
    );
    assert_eq!(house.metric(&fetched).await, Some(manifest + layer.size()));
    assert_eq!(upstream_requests(&scene, "200").await, Some(2));
    house.manifest("alpine", "none").await;
    assert_eq!(upstream_requests(&scene, "404").await, Some(1));
    scene.upstream.stopped().await;
    house.manifest("alpine", "none").await;
    assert_eq!(upstream_requests(&scene, "unreachable").await, Some(1));
}

/// O1, Q2: usage and quota of each organization; an organization that goes takes its series with it.
#[tokio::test]
async fn usage_and_quota_are_shown_as_long_as_there_is_the_organization() {
    let scene = scene(|acme| acme.set("storageQuotaBytes", json!(5_000_000))).await;
    let house = &scene.house;
    house.manifest("alpine", "1").await;
    let usage = house
        .metric("quayside_usage_bytes{organization=\"acme\"}")
        .await
        .unwrap();
    let counted = house.number("SELECT usage_bytes FROM organization").await;
    assert_eq!(i64::try_from(usage).unwrap(), counted);
    assert!(usage > 1000);
    let quota = "quayside_quota_bytes{organization=\"acme\"}";
    assert_eq!(house.metric(quota).await, Some(5_000_000));
    house.reload(&[Organization::of(&scene.upstream)]).await;
    assert_eq!(house.metric(quota).await, None);
    assert_eq!(pulls(house, "miss").await, 1, "counters outlive a reload");
    house
        .reload(&[Organization::of(&scene.upstream).named("other")])
        .await;
    let metrics = house.metrics().await;
    assert!(
        !metrics.contains("acme") && metrics.contains("other"),
        "{metrics}"
    );
}

/// O1, B2: a running fill is seen.
#[tokio::test]
async fn running_fills_are_shown() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[200_000]);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream)).await;
    house.manifest("alpine", "1").await;
    assert_eq!(house.metric("quayside_fills_in_flight").await, Some(0));
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(1000, gate.clone()));
    let transfer = house.blob("alpine", &image.layers[0].digest);
    let look = async {
        gate.reached().await;
        let running = house.metric("quayside_fills_in_flight").await;
        gate.open();
        running
    };
    let (answer, running) = tokio::join!(transfer, look);
    answer.assert_body(&image.layers[0].bytes);
    assert_eq!(running, Some(1));
}

/// O1: request durations by kind of request, and never a repository as label.
#[tokio::test]
async fn durations_are_shown_and_repositories_are_not() {
    let scene = scene(|acme| acme).await;
    let house = &scene.house;
    house.manifest("alpine", "1").await;
    house.blob("alpine", &scene.image.layers[0].digest).await;
    house.tags("alpine").await;
    house.get("/v2/").await;
    for kind in ["manifest", "blob", "tags", "base"] {
        let series = format!("quayside_request_duration_seconds_count{{kind=\"{kind}\"}}");
        assert_eq!(house.metric(&series).await, Some(1), "{kind}");
    }
    let metrics = house.metrics().await;
    assert!(
        !metrics.contains("alpine") && !metrics.contains("repository"),
        "{metrics}"
    );
    let answer = house.admin("/metrics").await;
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(metrics.ends_with("# EOF\n"));
}
