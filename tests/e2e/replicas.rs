//! Real processes that share a database and a bucket, and clients that do not notice what becomes of them.

mod apart;
mod cold;
mod collecting;
mod deaths;
mod judge;
mod outages;
mod quota;
mod rollout;
mod tried;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use quayside_test_servers::replicas::Plan;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On, Request};
use quayside_tests::images::{Blob, Image, sha256};
use quayside_tests::replicas::{Fleet, acme};
use serde_json::json;

/// So much that it is uploaded in parts.
const LENGTH: usize = 20_000_000;

/// Replicas and an upstream with one large layer, whose manifest is stored while the layer is not.
struct Scene {
    upstream: FakeUpstream,
    fleet: Fleet,
    layer: Blob,
}

impl Scene {
    async fn of(length: usize, plan: impl FnOnce(&mut Plan)) -> Self {
        let upstream = FakeUpstream::start().await;
        let fleet = Fleet::planned(&[acme(&upstream.authority(), &json!({}))], |settings| {
            // What the dead leave is cleared up at once.
            settings.settings = json!({ "gc": { "intervalSeconds": 1 } });
            plan(settings);
        })
        .await;
        let mut scene = Self {
            upstream,
            fleet,
            layer: Blob::random(0, 1),
        };
        scene.next(1, length).await;
        scene
    }

    /// Who asks upstream for the layer first gets half of it, and the rest when the gate opens.
    /// What is asked later is answered.
    async fn half() -> (Self, Gate) {
        Self::half_of(|_| ()).await
    }

    async fn half_of(plan: impl FnOnce(&mut Plan)) -> (Self, Gate) {
        let scene = Self::of(LENGTH, plan).await;
        let gate = Gate::closed();
        let first = On::blob().get().at(&scene.layer.digest).once();
        let held = Fault::HoldAfter(LENGTH / 2, gate.clone());
        scene.upstream.script(first, held);
        (scene, gate)
    }

    /// Another layer that nobody has asked for.
    async fn next(&mut self, seed: u64, length: usize) {
        let image = Image::random(seed, &[length]);
        self.upstream.push("app", &seed.to_string(), &image);
        self.layer = image.layers[0].clone();
        // A HEAD stores the manifest and fills nothing (M11).
        let url = format!("http://{}/v2/acme/app/manifests/{seed}", self.fleet.balanced());
        let head = self.fleet.client().head(url).send().await.unwrap();
        assert_eq!(head.status(), 200, "{}", self.fleet.logs());
    }

    fn path(&self) -> String {
        format!("/v2/acme/app/blobs/{}", self.layer.digest)
    }

    /// Begins to download the layer.
    async fn begin(&self, address: SocketAddr) -> Download {
        Download::begin(self.fleet.client(), address, &self.path()).await
    }

    /// What has been asked upstream for the layer.
    fn fetches(&self) -> Vec<Request> {
        let requests = self.upstream.requests();
        let of_layer = |request: &Request| {
            request.method == Method::GET
                && request.kind == Kind::Blob
                && request.reference == self.layer.digest
        };
        requests.into_iter().filter(of_layer).collect()
    }

    /// Waits until both replicas were asked for bytes and gave some.
    async fn arrived(&self, downloads: &mut [Download]) {
        for download in downloads {
            download.first().await;
        }
    }
}

/// A client that is reading a blob.
struct Download {
    response: reqwest::Response,
    begun: Instant,
    /// How long the first byte took.
    waited: Option<Duration>,
    received: Vec<Bytes>,
}

impl Download {
    async fn begin(client: &reqwest::Client, address: SocketAddr, path: &str) -> Self {
        let begun = Instant::now();
        let response = client
            .get(format!("http://{address}{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        Self {
            response,
            begun,
            waited: None,
            received: Vec::new(),
        }
    }

    /// Reads until the first byte is there; when it came, since the request.
    async fn first(&mut self) -> Duration {
        if let Some(waited) = self.waited {
            return waited;
        }
        let chunk = self.response.chunk().await.unwrap().expect("a first byte");
        self.received.push(chunk);
        *self.waited.insert(self.begun.elapsed())
    }

    /// Reads to the end; panics unless it is the blob.
    async fn end(mut self, layer: &Blob) {
        while let Some(chunk) = self.response.chunk().await.unwrap() {
            self.received.push(chunk);
        }
        let bytes = self.received.concat();
        assert_eq!(bytes.len(), layer.bytes.len());
        assert_eq!(sha256(&bytes), layer.digest);
    }
}

/// Waits for all of them; panics unless each has the blob.
async fn all_end(downloads: Vec<Download>, layer: &Blob) {
    futures::future::join_all(downloads.into_iter().map(|download| download.end(layer))).await;
}
