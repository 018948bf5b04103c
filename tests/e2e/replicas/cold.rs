//! One fetch for everybody.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::images::Image;
use quayside_tests::replicas::{Fleet, acme};
use quayside_tests::torture::is_long;
use serde_json::json;

use super::{Scene, all_end};

const CLIENTS: usize = 20;
/// How much later the first byte may come from who follows than from who fills.
const LATER: Duration = Duration::from_millis(200);
/// The machine may be busy with something else at the wrong moment, so often in a row it is not.
const TRIALS: u64 = 3;

/// B2: a cold blob that twenty clients ask two replicas for is fetched once, all get its bytes while they arrive, and
/// nobody waits for the other replica to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_clients_over_two_replicas_cost_one_fetch() {
    let length = if is_long() { 300_000_000 } else { 24 << 20 };
    let mut scene = Scene::of(length, |_| ()).await;
    for trial in 1..=TRIALS {
        let later = herd(&scene, length).await;
        if later <= LATER {
            return;
        }
        assert!(
            trial < TRIALS,
            "the first byte came {later:?} later where it was followed"
        );
        scene.next(1 + trial, length).await;
    }
}

/// Twenty clients read the layer; how much later the first byte came from one replica than from the other.
async fn herd(scene: &Scene, length: usize) -> Duration {
    // The rest does not come before everybody has some of it.
    let gate = Gate::closed();
    let held = On::blob().get().at(&scene.layer.digest);
    scene
        .upstream
        .script(held, Fault::HoldAfter(length / 2, gate.clone()));
    let addresses = (0..CLIENTS).map(|client| scene.fleet.at(client % 2));
    let mut downloads = join_all(addresses.map(|address| async move {
        let mut download = scene.begin(address).await;
        download.first().await;
        download
    }))
    .await;
    let mut first = [Duration::MAX; 2];
    for (client, download) in downloads.iter_mut().enumerate() {
        let waited = download.first().await;
        first[client % 2] = first[client % 2].min(waited);
    }
    gate.open();
    all_end(downloads, &scene.layer).await;
    assert_eq!(scene.fetches().len(), 1);
    scene.fleet.stored(&scene.layer.digest).await;
    scene.fleet.audit_at_rest().await;
    first[0].abs_diff(first[1])
}

/// M2: a manifest that many clients ask two replicas for at once is fetched once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_two_replicas_cost_one_manifest() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("app", "1", &image);
    let fleet = Fleet::start(&[acme(&upstream.authority(), &json!({}))]).await;
    let gate = Gate::closed();
    upstream.script(On::manifest().get(), Fault::Hold(gate.clone()));
    let clients = join_all((0..CLIENTS).map(|client| fleet.manifest(fleet.at(client % 2), "app", "1")));
    let opening = async {
        gate.reached().await;
        // Whoever has not come yet finds the manifest stored, which is right as well.
        quayside_tests::eventually::never("another fetch begins", || {
            std::future::ready(upstream.count(&Method::GET, "manifests/1") > 1)
        })
        .await;
        gate.open();
    };
    let (answers, ()) = futures::join!(clients, opening);
    for answer in answers {
        answer.assert_body(image.body());
    }
    assert_eq!(upstream.count(&Method::GET, "manifests/1"), 1);
}
