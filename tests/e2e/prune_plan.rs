//! SPEC O5, Q5: `prune --plan` says what would go, and changes nothing.

use http::Method;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};
use serde_json::{Value, json};

const QUOTA: u64 = 350_000;

fn weight(image: &Image) -> u64 {
    image.manifest.size() + image.blobs().map(Blob::size).sum::<u64>()
}

struct Scene {
    upstream: FakeUpstream,
    house: House,
    /// Of `one`, `two` and `three`, pulled in that order, as tag `1`.
    images: [Image; 3],
}

/// Three images in an organization with this quota, none by default.
async fn scene(quota: Option<u64>) -> Scene {
    let upstream = FakeUpstream::start().await;
    let acme = Organization::of(&upstream).ttl(3_600);
    let acme = match quota {
        Some(quota) => acme.set("storageQuotaBytes", json!(quota)),
        None => acme,
    };
    let house = House::builder()
        .config("/FEATURE_QUOTA_MANAGEMENT", json!(true))
        .organization(acme)
        .start()
        .await;
    let images = [1, 2, 3].map(|seed| Image::random(seed, &[100_000]));
    for (image, repository) in images.iter().zip(["one", "two", "three"]) {
        upstream.push(repository, "1", image);
        assert_eq!(house.manifest(repository, "1").await.status, 200);
        house.advance_seconds(1);
    }
    Scene {
        upstream,
        house,
        images,
    }
}

impl Scene {
    async fn plan(&self, bytes: u64) -> Value {
        let path = format!("/prune?organization=acme&bytes={bytes}");
        let call = self.house.admin_call(Method::GET, &path);
        let answer = call.bearer(&self.house.admin_token()).send().await;
        assert_eq!(answer.status, 200, "{}", answer.summary());
        answer.json()
    }

    fn used(&self) -> u64 {
        self.images.iter().map(weight).sum()
    }
}

fn repositories(plan: &Value) -> Vec<&str> {
    let images = plan["prunes"].as_array().unwrap().iter();
    images
        .map(|image| image["repository"].as_str().unwrap())
        .collect()
}

/// O5, Q5, M15: the least recently used go, uses of this moment included; the plan is what a pull of that size does.
#[tokio::test]
async fn plans_what_a_pull_would_prune() {
    let mut scene = scene(Some(QUOTA)).await;
    // Not written down yet.
    scene.house.manifest("one", "1").await;
    let large = Image::random(4, &[140_000]);
    let plan = scene.plan(weight(&large)).await;
    assert_eq!(repositories(&plan), ["two"]);
    let image = &plan["prunes"][0];
    assert_eq!(
        (&image["tags"], &image["diedAt"], &image["freedBytes"]),
        (&json!(["1"]), &Value::Null, &json!(weight(&scene.images[1])))
    );
    let shortfall = scene.used() + weight(&large) - QUOTA;
    assert_eq!(
        (&plan["shortfallBytes"], &plan["freedBytes"], &plan["usageBytes"]),
        (
            &json!(shortfall),
            &json!(weight(&scene.images[1])),
            &json!(scene.used())
        )
    );
    assert_eq!((&plan["rule"], &plan["suffices"]), (&json!("Q5"), &json!(true)));
    assert_eq!(scene.plan(weight(&large)).await, plan, "a plan changes nothing");
    for repository in ["one", "two", "three"] {
        assert_eq!(scene.house.tags(repository).await, ["1"]);
    }
    scene.upstream.push("large", "1", &large);
    assert_eq!(scene.house.manifest("large", "1").await.status, 200);
    let mut left = Vec::new();
    for repository in ["one", "two", "three", "large"] {
        if !scene.house.tags(repository).await.is_empty() {
            left.push(repository);
        }
    }
    assert_eq!(left, ["one", "three", "large"]);
    scene.house.audit().await;
}

/// O5, Q5: dead content goes first, whenever it was used.
#[tokio::test]
async fn plans_dead_content_first() {
    let scene = scene(Some(QUOTA)).await;
    scene.house.advance_seconds(3_590);
    for repository in ["one", "two"] {
        scene.house.manifest(repository, "1").await;
    }
    scene.house.advance_seconds(20);
    let plan = scene.plan(300_000).await;
    assert_eq!(repositories(&plan), ["three", "one", "two"]);
    assert!(plan["prunes"][0]["diedAt"].is_string(), "{plan:#}");
    assert_eq!(plan["prunes"][1]["diedAt"], Value::Null);
}

/// O5, Q1, Q4, Q5: when nothing has to go, and when nothing would help.
#[tokio::test]
async fn says_when_there_is_no_plan() {
    let limited = scene(Some(QUOTA)).await;
    for (bytes, rule, suffices, reason) in [
        (0, "Q5", true, "fits"),
        (QUOTA - limited.used(), "Q5", true, "fits"),
        (QUOTA + 1, "Q4", false, "larger than the quota"),
        (u64::MAX, "Q4", false, "larger than the quota"),
    ] {
        let plan = limited.plan(bytes).await;
        assert_eq!(
            (&plan["rule"], &plan["suffices"], &plan["prunes"]),
            (&json!(rule), &json!(suffices), &json!([]))
        );
        assert!(plan["reason"].as_str().unwrap().contains(reason), "{plan:#}");
    }
    let unlimited = scene(None).await;
    let plan = unlimited.plan(1 << 40).await;
    assert_eq!((&plan["rule"], &plan["quotaBytes"]), (&json!("Q1"), &Value::Null));
}

/// O5: what cannot be planned is said.
#[tokio::test]
async fn refuses_what_it_cannot_plan() {
    let scene = scene(Some(QUOTA)).await;
    let token = scene.house.admin_token();
    for query in [
        "",
        "?organization=acme",
        "?organization=acme&bytes=-1",
        "?organization=acme&bytes=x",
        "?organization=other&bytes=1",
        "?organization=ACME&bytes=1",
    ] {
        let call = scene.house.admin_call(Method::GET, &format!("/prune{query}"));
        let answer = call.bearer(&token).send().await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.summary());
        assert!(answer.json()["error"].is_string());
    }
    let call = scene
        .house
        .admin_call(Method::POST, "/prune?organization=acme&bytes=1");
    assert_eq!(call.bearer(&token).send().await.status, 405);
}
