//! What a pull would do to a full organization, held against the pull.

use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image, Index};
use serde_json::{Value, json};

use super::ask;

fn weight(image: &Image) -> u64 {
    image.manifest.size() + image.blobs().map(Blob::size).sum::<u64>()
}

/// `acme` with a quota, whose tags live for a minute and are released at their end.
fn acme(upstream: &FakeUpstream, quota: u64) -> Organization {
    let acme = Organization::of(upstream).ttl(60).window(0);
    acme.set("storageQuotaBytes", json!(quota))
}

/// A house in which `old` was released and is still stored.
async fn released(upstream: &FakeUpstream, quota: u64) -> (House, Image) {
    let old = Image::random(1, &[100_000]);
    upstream.push("old", "1", &old);
    let house = House::builder()
        .config("/FEATURE_QUOTA_MANAGEMENT", json!(true))
        .organization(acme(upstream, quota))
        .start()
        .await;
    assert_eq!(house.manifest("old", "1").await.status, 200);
    house.advance_seconds(70);
    house.collect().await;
    (house, old)
}

fn end(said: &Value) -> &Value {
    &said["next"]["get"]["outcomes"][0]
}

/// O5, Q3, Q5: what is released and still stored needs no upstream to say what has to go for it.
#[tokio::test]
async fn tells_what_goes_for_what_is_taken_back() {
    let upstream = FakeUpstream::start().await;
    let (mut house, old) = released(&upstream, 250_000).await;
    let newer = [2, 3].map(|seed| Image::random(seed, &[100_000]));
    for (image, repository) in newer.iter().zip(["two", "three"]) {
        upstream.push(repository, "1", image);
        assert_eq!(house.manifest(repository, "1").await.status, 200);
        house.advance_seconds(1);
    }
    let image = format!("acme/old@{}", old.digest());
    let said = ask(&house, &image, None).await;
    assert_eq!(
        (&said["cached"]["standing"], &said["next"]["get"]["step"]),
        (&json!("released"), &json!("takeBack"))
    );
    let (room, used) = (&end(&said)["room"], weight(&newer[0]) + weight(&newer[1]));
    assert_eq!(
        (&end(&said)["rule"], &room["neededBytes"]),
        (&json!("Q5"), &json!(weight(&old)))
    );
    assert_eq!(room["freeBytes"], json!(250_000 - used));
    let prunes = room["prunes"].as_array().unwrap();
    assert_eq!(
        (prunes.len(), &prunes[0]["repository"], &prunes[0]["tags"]),
        (1, &json!("two"), &json!(["1"]))
    );
    assert_eq!(prunes[0]["freedBytes"], json!(weight(&newer[0])));
    assert_eq!(house.tags("two").await, ["1"], "only the pull prunes");

    house.manifest("old", old.digest()).await.assert_cache("HIT");
    assert!(house.tags("two").await.is_empty());
    assert_eq!(house.tags("three").await, ["1"]);
    house.audit().await;
}

/// O5, Q4, Q7: what is larger than the quota is refused, by HEAD too.
#[tokio::test]
async fn tells_what_does_not_fit() {
    let upstream = FakeUpstream::start().await;
    let (house, old) = released(&upstream, 250_000).await;
    house.reload(&[acme(&upstream, 50_000)]).await;
    let said = ask(&house, &format!("acme/old@{}", old.digest()), None).await;
    let next = &said["next"]["get"];
    assert_eq!(
        (&next["step"], &next["rule"], &end(&said)["status"]),
        (&json!("refuse"), &json!("Q4"), &json!(403))
    );
    assert_eq!(end(&said)["room"]["neededBytes"], json!(weight(&old)));
    assert_eq!(said["next"]["head"]["outcomes"][0]["status"], 403);
    assert_eq!(house.manifest("old", old.digest()).await.status, 403);
    assert_eq!(house.head_manifest("old", old.digest()).await.status, 403);
}

/// What is foreseen if upstream gives too much, whether by GET or by HEAD.
fn too_much<'a>(said: &'a Value, method: &str) -> Vec<&'a Value> {
    let outcomes = said["next"][method]["outcomes"].as_array().unwrap().iter();
    outcomes
        .filter(|outcome| outcome["upstream"] == "tooMuch")
        .collect()
}

/// O5, Q3, Q4, Q5: that what upstream gives may have to be refused is foreseen: what was released and is still
/// stored, an index whose released children come back with it, and what a tag has moved to.
#[tokio::test]
async fn tells_that_what_is_fetched_may_not_fit() {
    let upstream = FakeUpstream::start().await;
    let (mut house, _) = released(&upstream, 250_000).await;
    let list = Index::two_platforms(2, 40_000);
    upstream.push_index("list", "1", &list);
    assert_eq!(house.manifest("list", "1").await.status, 200);
    for child in &list.images {
        assert_eq!(house.manifest("list", child.digest()).await.status, 200);
    }
    house.advance_seconds(70);
    house.collect().await;
    upstream.push("app", "1", &Image::random(4, &[10_000]));
    assert_eq!(house.manifest("app", "1").await.status, 200);
    upstream.push("app", "1", &Image::random(5, &[60_000]));
    house.reload(&[acme(&upstream, 50_000)]).await;
    for (repository, step) in [("old", "fetch"), ("list", "fetch"), ("app", "revalidate")] {
        let said = ask(&house, &format!("acme/{repository}:1"), None).await;
        assert_eq!(said["next"]["get"]["step"], step, "{said:#}");
        for method in ["get", "head"] {
            let [outcome] = too_much(&said, method)[..] else {
                panic!("{repository}: not foreseen in {said:#}");
            };
            assert_eq!(
                (&outcome["status"], &outcome["rule"]),
                (&json!(403), &json!("Q5"))
            );
        }
        assert_eq!(house.manifest(repository, "1").await.status, 403, "{repository}");
        assert_eq!(
            house.head_manifest(repository, "1").await.status,
            403,
            "{repository}"
        );
    }
    house.reload(&[Organization::of(&upstream)]).await;
    let said = ask(&house, "acme/old:1", None).await;
    assert!(too_much(&said, "get").is_empty(), "{said:#}");
    house.audit().await;
}

/// O5, Q3: how much something adds that is not stored is not known, but how much would fit is.
#[tokio::test]
async fn tells_how_much_would_fit() {
    let upstream = FakeUpstream::start().await;
    let (house, _) = released(&upstream, 250_000).await;
    let room = json!({ "freeBytes": 250_000, "neededBytes": null, "prunes": null });
    let said = ask(&house, "acme/old:1", None).await;
    assert_eq!(end(&said)["room"], room);
    let unlimited = Organization::of(&upstream).ttl(60);
    house.reload(&[unlimited]).await;
    let said = ask(&house, "acme/old:1", None).await;
    assert_eq!(end(&said)["room"], Value::Null);
}
