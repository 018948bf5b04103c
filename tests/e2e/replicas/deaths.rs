//! Who fills dies, cannot be reached, or sleeps through its lease.

use std::time::Duration;

use quayside_tests::eventually::{holds_within, soon};
use quayside_tests::fake::{Fault, Gate, On, Request};
use quayside_tests::torture::is_long;

use super::{Download, LENGTH, Scene, all_end};

const CLIENTS: usize = 4;

/// What happens to a replica happens to this one.
const FILLER: usize = 1;
/// The other one collects, because it was there first.
const LEADER: usize = 0;

/// Takes the time away that only passes. In the long form it does.
async fn hasten(scene: &Scene) {
    if !is_long() {
        scene.fleet.age_fills_of(FILLER).await;
    }
}

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
    let (filler, follower) = (scene.fleet.at(FILLER), scene.fleet.at(LEADER));
    let mut lost = scene.begin(filler).await;
    lost.first().await;
    gate.reached().await;
    let mut downloads = Vec::new();
    for _ in 0..CLIENTS {
        downloads.push(scene.begin(follower).await);
    }
    scene.arrived(&mut downloads).await;
    scene.fleet.replicas.replica_mut(FILLER).kill();
    all_end(downloads, &scene.layer).await;
    hasten(&scene).await;
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
    scene.fleet.replicas.replica_mut(FILLER).start();
    scene
        .fleet
        .blob(filler, "app", &scene.layer.digest)
        .await
        .assert_body(&scene.layer.bytes);
    scene.fleet.stored(&scene.layer.digest).await;
    scene.fleet.audit_at_rest().await;
    assert_eq!(scene.fetches().len(), 2);
}

/// B2: of several replicas that follow one that is killed, one asks upstream for the rest, and the others follow that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_followers_of_a_killed_filler_follow_its_heir() {
    let (mut scene, first) = Scene::half_of(|plan| plan.count = 3).await;
    let mut lost = scene.begin(scene.fleet.at(FILLER)).await;
    lost.first().await;
    first.reached().await;
    let second = Gate::closed();
    let rest = On::blob().get().at(&scene.layer.digest).once();
    scene
        .upstream
        .script(rest, Fault::HoldAfter(LENGTH / 4, second.clone()));
    let mut downloads = Vec::new();
    for follower in [LEADER, 2] {
        downloads.push(scene.begin(scene.fleet.at(follower)).await);
    }
    scene.arrived(&mut downloads).await;
    scene.fleet.replicas.replica_mut(FILLER).kill();
    second.reached().await;
    // Whoever comes while the heir is at it, wherever.
    for follower in [LEADER, 2] {
        downloads.push(scene.begin(scene.fleet.at(follower)).await);
    }
    second.open();
    all_end(downloads, &scene.layer).await;
    let fetches = scene.fetches();
    assert_eq!(fetches.len(), 2, "{fetches:#?}");
    first.open();
}

/// How long a lease may live on. Who was stopped in the middle of a transaction holds locks until the database gives up.
const LEASE_LIMIT: Duration = Duration::from_secs(90);

const FILLS: &str = "SELECT count(*) FROM fill";
const GARBAGE: &str = "SELECT count(*) FROM garbage";

/// A filler that has half of the layer, and one client that waits for the rest.
async fn asleep() -> (Scene, Gate, Download) {
    let (scene, gate) = Scene::half().await;
    let mut waiting = scene.begin(scene.fleet.at(FILLER)).await;
    waiting.first().await;
    gate.reached().await;
    assert_eq!(scene.fleet.number(FILLS).await, 1);
    scene.fleet.replicas.replica(FILLER).pause();
    (scene, gate, waiting)
}

/// Returns when the others have given up what the sleeper was filling.
async fn given_up(scene: &Scene) {
    hasten(scene).await;
    let given_up = holds_within(LEASE_LIMIT, || async { scene.fleet.number(FILLS).await == 0 });
    assert!(
        given_up.await,
        "nobody has ended the lease of who sleeps:\n{}",
        scene.fleet.logs()
    );
    scene.fleet.audit().await;
    assert_eq!(scene.fleet.number(GARBAGE).await, 1, "what it filled is garbage");
}

/// B2, G3: a filler that slept longer than its lease was taken for dead. When it wakes up it serves its own client, and may
/// not commit what others may already delete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filler_that_slept_through_its_lease_commits_nothing() {
    let (scene, gate, waiting) = asleep().await;
    given_up(&scene).await;
    scene.fleet.replicas.replica(FILLER).go_on();
    gate.open();
    soon("who woke up serves its client", waiting.end(&scene.layer)).await;
    scene.fleet.audit_at_rest().await;
    assert!(!scene.fleet.has(&scene.layer.digest).await, "it has committed");
    assert_eq!(
        scene.fleet.number(GARBAGE).await,
        1,
        "what it filled stays garbage"
    );

    // It may have asked for the rest again by then: it was silent for so long.
    let before = scene.fetches().len();
    scene.begin(scene.fleet.at(FILLER)).await.end(&scene.layer).await;
    scene.fleet.stored(&scene.layer.digest).await;
    scene.fleet.audit_at_rest().await;
    assert_eq!(scene.fetches().len(), before + 1);
}

/// B2, G3: the same where somebody else has filled it meanwhile: that stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filler_that_slept_finds_what_others_have_filled() {
    let (scene, gate, waiting) = asleep().await;
    let download = scene.begin(scene.fleet.at(LEADER)).await;
    soon("nobody waits for who sleeps", download.end(&scene.layer)).await;
    scene.fleet.stored(&scene.layer.digest).await;
    assert_eq!(scene.fetches().len(), 2);
    let key = "SELECT count(*) FROM blob b JOIN garbage g ON g.storage_key = b.storage_key";
    given_up(&scene).await;
    scene.fleet.replicas.replica(FILLER).go_on();
    gate.open();
    soon("who woke up serves its client", waiting.end(&scene.layer)).await;
    scene.fleet.audit_at_rest().await;
    assert_eq!(scene.fleet.number(key).await, 0, "what is stored is no garbage");
}
