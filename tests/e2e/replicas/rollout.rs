//! Every replica ends and starts again while clients pull.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::image_copy::ImageCopy;
use quayside_tests::images::Image;
use quayside_tests::images::archive::random_layer;
use quayside_tests::podman::Podman;
use quayside_tests::replicas::{Fleet, acme};
use quayside_tests::torture::is_long;
use serde_json::json;
use tokio::task::JoinSet;

const IMAGES: usize = 6;
const REPLICAS: usize = 3;
const LAYER: usize = 3 << 20;

fn image(seed: u64, length: usize) -> Image {
    let builder = Image::builder().label("seed", &seed.to_string());
    builder.archive(random_layer(seed, length)).build()
}

/// Three replicas that end soon after they were asked to, whatever they are sending then.
async fn fleet(upstream: &FakeUpstream) -> Fleet {
    let organization = acme(&upstream.authority(), &json!({ "expirationSeconds": 3600 }));
    Fleet::planned(&[organization], |plan| {
        plan.count = REPLICAS;
        plan.settings = json!({ "drainSeconds": 1, "shutdownSeconds": 2 });
    })
    .await
}

/// What clients share.
struct Load {
    address: String,
    over: AtomicBool,
    pulled: AtomicUsize,
}

impl Load {
    /// The next image of a client, until it is over.
    fn next(&self, number: usize) -> Option<String> {
        let goes_on = !self.over.load(Ordering::Relaxed);
        goes_on.then(|| format!("{}/acme/app{}:1", self.address, number % IMAGES))
    }

    fn done(&self) {
        self.pulled.fetch_add(1, Ordering::Relaxed);
    }
}

/// The library of present-day podman, one cold pull after the other.
async fn copy(load: Arc<Load>, first: usize) {
    for number in first.. {
        let Some(image) = load.next(number) else { return };
        ImageCopy::new().copy(&image).await.ok();
        load.done();
    }
}

/// A containerd that forgets what it has pulled.
async fn contain(load: Arc<Load>, containerd: Containerd, first: usize) {
    for number in first.. {
        let Some(image) = load.next(number) else { return };
        containerd.pull(&image).await.ok();
        containerd.forget(&image).await;
        load.done();
    }
}

/// B2, O2: three replicas are replaced one after the other while clients that resume pull images whose layers take longer
/// than a replica waits at its end: not one pull fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_pull() {
    let (copiers, daemons, rounds) = if is_long() { (42, 8, 4) } else { (5, 1, 1) };
    let upstream = FakeUpstream::start().await;
    for number in 0..IMAGES {
        upstream.push(&format!("app{number}"), "1", &image(number as u64, LAYER));
    }
    // Five seconds a layer.
    upstream.script(
        On::blob().get(),
        Fault::Drip(LAYER / 50, Duration::from_millis(100)),
    );
    let mut fleet = fleet(&upstream).await;
    let load = Arc::new(Load {
        address: fleet.balanced().to_string(),
        over: AtomicBool::new(false),
        pulled: AtomicUsize::new(0),
    });
    let mut clients = JoinSet::new();
    for first in 0..daemons {
        // Started here: a process ends with the thread that starts it.
        let version = if first % 2 == 0 {
            Version::Two
        } else {
            Version::One
        };
        let containerd = Containerd::start(version).await;
        clients.spawn(contain(load.clone(), containerd, first));
    }
    for first in 0..copiers {
        clients.spawn(copy(load.clone(), first));
    }
    for round in 0..rounds {
        for number in 0..REPLICAS {
            let status = fleet.end(number).await;
            assert!(
                status.success(),
                "round {round}: replica {number} ended with {status}"
            );
            fleet.replicas.replica_mut(number).start();
            fleet.replicas.wait_for_balancer();
        }
    }
    load.over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("no pull fails");
    }
    let pulled = load.pulled.load(Ordering::Relaxed);
    assert!(pulled >= copiers + daemons, "{pulled} pulls");
    fleet.audit_at_rest().await;
}

/// B2, O2: podman 4.3, which begins anew when a transfer breaks off, loses nothing to a replica that ends in peace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_drains_finishes_what_podman_pulls() {
    let upstream = FakeUpstream::start().await;
    let image = image(1, LAYER);
    upstream.push("app", "1", &image);
    let gate = Gate::closed();
    let layer = On::blob().get().at(&image.layers[0].digest);
    upstream.script(layer.once(), Fault::HoldAfter(LAYER / 2, gate.clone()));
    let organization = acme(&upstream.authority(), &json!({}));
    let drain = json!({ "drainSeconds": 1, "shutdownSeconds": 60 });
    let mut fleet = Fleet::planned(&[organization], |plan| plan.settings = drain).await;
    let (draining, other) = (fleet.at(0), fleet.at(1));
    fleet.replicas.balancer.remove(other);
    let reference = format!("{}/acme/app:1", fleet.balanced());
    let podman = Podman::new();
    let pull = podman.pull(&reference);
    let end = async {
        gate.reached().await;
        fleet.replicas.replica(0).terminate();
        eventually("the balancer has noticed", || {
            std::future::ready(!fleet.replicas.balancer.ready().contains(&draining))
        })
        .await;
        gate.open();
    };
    let (pulled, ()) = futures::join!(pull, end);
    pulled.ok();
    assert!(fleet.ended(0).await.success());
    assert_eq!(upstream.count(&http::Method::GET, &image.layers[0].digest), 1);
    fleet.audit_at_rest().await;
}
