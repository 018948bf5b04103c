//! Who fills dies, cannot be reached, or sleeps through its lease.

use std::time::Duration;

use quayside_tests::eventually::{holds_within, soon};
use quayside_tests::fake::Request;

use super::{LENGTH, Scene, all_end};

const CLIENTS: usize = 4;

/// The value of a request's `Range`, empty if it has none.
fn range(request: &Request) -> String {
    let range = request.headers.get("range").and_then(|range| range.to_str().ok());
    range.unwrap_or_default().to_owned()
}

/// B2: the replica that fills is killed at half: the clients of the other one get the right bytes, for one more request
/// that asks for the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_filler_costs_one_more_fetch_of_the_rest() {
    let (mut scene, gate) = Scene::half().await;
    let (filler, follower) = (scene.fleet.at(0), scene.fleet.at(1));
    let mut lost = scene.begin(filler).await;
    lost.first().await;
    gate.reached().await;
    let mut downloads = Vec::new();
    for _ in 0..CLIENTS {
        downloads.push(scene.begin(follower).await);
    }
    scene.arrived(&mut downloads).await;
    scene.fleet.replicas.replica_mut(0).kill();
    all_end(downloads, &scene.layer).await;
    let fetches = scene.fetches();
    assert_eq!(fetches.len(), 2, "{fetches:#?}");
    let rest = range(&fetches[1]);
    let from: usize = rest
        .strip_prefix("bytes=")
        .and_then(|rest| rest.strip_suffix('-'))
        .and_then(|from| from.parse().ok())
        .unwrap_or_else(|| panic!("the second request asks for {rest:?}"));
    assert!((1..=LENGTH / 2).contains(&from), "{rest}");
    gate.open();
    scene.fleet.replicas.replica_mut(0).start();
    scene
        .fleet
        .blob(filler, "app", &scene.layer.digest)
        .await
        .assert_body(&scene.layer.bytes);
    scene.fleet.stored(&scene.layer.digest).await;
    scene.fleet.audit_at_rest().await;
    assert_eq!(scene.fetches().len(), 2);
}

/// B2, G3: a filler that sleeps longer than its lease is taken for dead. When it wakes up it serves its own clients, and may
/// not commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filler_that_slept_through_its_lease_commits_nothing() {
    let (scene, gate) = Scene::half().await;
    let (filler, follower) = (scene.fleet.at(0), scene.fleet.at(1));
    let mut sleeping = scene.begin(filler).await;
    sleeping.first().await;
    gate.reached().await;
    let fills = "SELECT count(*) FROM fill";
    assert_eq!(scene.fleet.number(fills).await, 1);
    scene.fleet.replicas.replica(0).pause();
    let mut download = scene.begin(follower).await;
    download.first().await;
    download.end(&scene.layer).await;
    assert_eq!(scene.fetches().len(), 2);
    scene.fleet.stored(&scene.layer.digest).await;
    let expired = holds_within(Duration::from_secs(40), || async {
        scene.fleet.number(fills).await == 0
    });
    assert!(expired.await, "nobody has ended the lease of who sleeps");
    scene.fleet.audit().await;
    let key = "SELECT count(*) FROM blob b JOIN garbage g ON g.storage_key LIKE '%' || substr(b.digest, 8) || '%' \
               WHERE b.storage_key IS NOT NULL AND b.storage_key <> g.storage_key";
    assert_eq!(scene.fleet.number(key).await, 1, "what it filled is garbage");
    scene.fleet.replicas.replica(0).go_on();
    gate.open();
    soon("who woke up serves its client", sleeping.end(&scene.layer)).await;
    scene.fleet.audit_at_rest().await;
    assert_eq!(scene.fleet.number(key).await, 1, "what it filled stays garbage");
}
