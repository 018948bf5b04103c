//! G3: the real program is killed again and again while tags die and are collected beside pulls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quayside_tests::eventually::{eventually, holds_within};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::audit;
use quayside_tests::images::{Blob, Image};
use quayside_tests::program::Program;
use serde_json::json;
use tokio::task::JoinSet;

const ROUNDS: u64 = 10;
const CLIENTS: usize = 4;
/// TTL, slack and grace, and something less for the time that an answer is on its way.
const LIFE: Duration = Duration::from_millis(3500);

/// What clients pull: three images that share a layer, under names of their own.
fn images() -> Vec<Image> {
    let shared = Blob::random(1, 300_000);
    let image = |seed| {
        let own = Blob::random(seed, 200_000);
        Image::builder()
            .layer(shared.clone())
            .layer(own)
            .label("seed", &seed.to_string())
            .build()
    };
    (2..5).map(image).collect()
}

/// A client that pulls one image after the other until it is stopped, and looks at every byte.
struct Client {
    http: reqwest::Client,
    registry: SocketAddr,
    images: Arc<Vec<Image>>,
    pulled: Arc<AtomicUsize>,
}

impl Client {
    async fn run(self, first: usize) {
        for number in first.. {
            let image = &self.images[number % self.images.len()];
            let repository = format!("app{}", number % self.images.len());
            self.pull(&repository, image).await;
            // Now and then nobody pulls for long enough that a tag dies.
            tokio::time::sleep(Duration::from_millis(300 * (number as u64 % 5))).await;
        }
    }

    async fn pull(&self, repository: &str, image: &Image) {
        let begun = Instant::now();
        let Some(body) = self.get(&format!("{repository}/manifests/1"), begun).await else {
            return;
        };
        assert!(body == *image.body(), "another manifest");
        for blob in image.blobs() {
            let Some(bytes) = self
                .get(&format!("{repository}/blobs/{}", blob.digest), begun)
                .await
            else {
                return;
            };
            assert!(bytes == blob.bytes, "other bytes");
        }
        self.pulled.fetch_add(1, Ordering::Relaxed);
    }

    /// None if the registry went away, before the answer or in the middle of it. Any other answer than content is a
    /// fault: upstream is there, and what is collected can be had again.
    async fn get(&self, path: &str, begun: Instant) -> Option<bytes::Bytes> {
        let url = format!("http://{}/v2/acme/{path}", self.registry);
        let response = self.http.get(url).send().await.ok()?;
        let status = response.status();
        let body = response.bytes().await.ok()?;
        // On a machine so busy that a pull takes longer than what it pulls lives, its blobs are rightly gone.
        if status == 404 && begun.elapsed() > LIFE {
            return None;
        }
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        Some(body)
    }
}

/// G3, B3, I3: ten rounds of `kill -9` with tags that live for a second and graces of two: every byte that was served is
/// right; afterwards every file is in a row and every stored row has its bytes; and when nobody pulls any more, nothing
/// is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_ten_times_while_everything_dies() {
    let upstream = FakeUpstream::start().await;
    let images = Arc::new(images());
    for (number, image) in images.iter().enumerate() {
        upstream.push(&format!("app{number}"), "1", image);
    }
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "expirationSeconds": 1,
        "timeMachineSeconds": 0,
        "tls": { "plainHttp": true },
    });
    let gc = json!({ "gc": { "intervalSeconds": 1, "graceSeconds": 2 } });
    let mut program = Program::start_with(&[acme], gc).await;
    let pulled = Arc::new(AtomicUsize::new(0));
    for round in 0..ROUNDS {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                http: reqwest::Client::builder().no_proxy().build().unwrap(),
                registry: program.address(),
                images: Arc::clone(&images),
                pulled: Arc::clone(&pulled),
            };
            clients.spawn(client.run(number));
        }
        // A moment of its own for each round: in the middle of first fills, of sweeps, of deletions.
        let moment = Duration::from_millis(500 + 250 * round);
        let failed = tokio::time::timeout(moment, clients.join_next()).await;
        assert!(failed.is_err(), "a client found a fault: {failed:?}");
        program.kill();
        clients.abort_all();
        while let Some(ended) = clients.join_next().await {
            assert!(
                ended.is_err_and(|error| error.is_cancelled()),
                "a client found a fault"
            );
        }
        audit(&program.database(), &program.blobs()).await;
        program.resume().await;
    }
    assert!(pulled.load(Ordering::Relaxed) > 0, "nothing was pulled");
    let files = || {
        let blobs = program.blobs();
        ["sha256", "spool"].iter().any(|top| has_files(&blobs.join(top)))
    };
    eventually("nothing is left", || std::future::ready(!files())).await;
    assert!(!holds_within(Duration::from_millis(100), || std::future::ready(files())).await);
    program.kill();
    audit(&program.database(), &program.blobs()).await;
}

fn has_files(directory: &std::path::Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .any(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => has_files(&entry.path()),
            Ok(_) => true,
            // Removed a moment ago.
            Err(_) => false,
        })
}
