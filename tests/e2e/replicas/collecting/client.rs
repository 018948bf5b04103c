//! Those who ask replicas that die for something: clients, which go on with another one, and who lets them collect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use quayside_tests::images::Image;
use quayside_tests::torture::Chance;
use serde_json::Value;
use tokio::sync::watch;

/// How long what was pulled is there at least: TTL, slack and grace are a second each, and answers take their time.
const LIFE: Duration = Duration::from_millis(2500);
/// How long a pull may take on a machine that is busy, whoever dies meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many of the images are wanted at a time.
const IN_FASHION: usize = 3;

/// A replica, as its clients know it.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    /// How often it was killed and how often it came back: odd while it is away.
    turns: AtomicUsize,
}

impl Backend {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            turns: AtomicUsize::new(0),
        }
    }

    /// It is about to be killed, or it is there again.
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }
}

/// What all clients have done.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Pulls that came to their end.
    pub(super) pulls: AtomicUsize,
    /// Answers that a kill broke off, or that never began.
    pub(super) broken: AtomicUsize,
    /// Pulls that were begun again, because what they pulled had rightly died meanwhile.
    pub(super) again: AtomicUsize,
    /// The keys that each replica has deleted because a collector asked it to.
    pub(super) deleted: [AtomicU64; 2],
}

pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) backends: Arc<[Backend; 2]>,
    pub(super) images: Arc<[Image]>,
    pub(super) tally: Arc<Tally>,
    pub(super) chance: Chance,
    /// The first of the images that are wanted; absent: the client is to stop.
    pub(super) fashion: watch::Receiver<Option<usize>>,
}

/// What was asked for was there, and is not any more.
struct Gone;

/// What an answer has to be measured by.
#[derive(Clone, Copy)]
struct Hold {
    /// When the manifest was asked for.
    begun: Instant,
    /// Whose answer it was, and what had become of that replica when it came.
    by: (usize, usize),
}

impl Client {
    pub(super) async fn run(mut self) {
        loop {
            let Some(first) = *self.fashion.borrow() else {
                return;
            };
            // Now and then somebody wants what nobody wants any more.
            let number = match self.chance.below(8) {
                0 => self.chance.below(self.images.len()),
                _ => (first + self.chance.below(IN_FASHION)) % self.images.len(),
            };
            self.pull(number).await;
            tokio::time::sleep(self.chance.millis(20, 250)).await;
        }
    }

    /// Pulls an image, whatever dies meanwhile.
    pub(super) async fn pull(&mut self, number: usize) {
        let begun = Instant::now();
        while let Err(Gone) = self.attempt(number).await {
            self.tally.again.fetch_add(1, Ordering::Relaxed);
            assert!(begun.elapsed() < PATIENCE, "app{number} cannot be pulled");
        }
        self.tally.pulls.fetch_add(1, Ordering::Relaxed);
    }

    async fn attempt(&mut self, number: usize) -> Result<(), Gone> {
        let image = self.images[number].clone();
        let begun = Instant::now();
        let path = format!("app{number}/manifests/1");
        let (by, status, body) = self.get(&path).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        assert!(body == *image.body(), "another manifest: {path}");
        let by = (by, self.backends[by].turns());
        for blob in image.blobs() {
            let path = format!("app{number}/blobs/{}", blob.digest);
            let (_, status, body) = self.get(&path).await;
            if status == 404 && self.may_be_gone(Hold { begun, by }) {
                return Err(Gone);
            }
            assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
            assert!(body == blob.bytes, "other bytes: {path}");
        }
        Ok(())
    }

    /// What lives for a second only is gone when a pull takes longer on a busy machine, or when the replica that
    /// served the manifest has died with the renewal (M15).
    fn may_be_gone(&self, hold: Hold) -> bool {
        let (number, turns) = hold.by;
        hold.begun.elapsed() > LIFE || self.backends[number].turns() != turns
    }

    /// A whole answer of a replica, and whose it is. Only a kill excuses one that breaks off.
    async fn get(&mut self, path: &str) -> (usize, StatusCode, Bytes) {
        let begun = Instant::now();
        let mut number = self.chance.below(2);
        loop {
            let backend = &self.backends[number];
            let before = backend.turns();
            let url = format!("http://{}/v2/acme/{path}", backend.address);
            let answer = async {
                let response = self.http.get(url).send().await?;
                let status = response.status();
                Ok::<_, reqwest::Error>((status, response.bytes().await?))
            };
            let error = match answer.await {
                Ok((status, body)) => return (number, status, body),
                Err(error) => error,
            };
            let killed = before % 2 == 1 || backend.turns() != before;
            assert!(killed, "{path} broke off for no reason: {error:?}");
            assert!(
                begun.elapsed() < PATIENCE,
                "{path}: no replica answers: {error:?}"
            );
            self.tally.broken.fetch_add(1, Ordering::Relaxed);
            number = 1 - number;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Who lets one replica collect, as `quayside gc --once` does.
pub(super) struct Collector {
    pub(super) http: reqwest::Client,
    pub(super) number: usize,
    pub(super) url: String,
    pub(super) token: String,
    pub(super) tally: Arc<Tally>,
}

impl Collector {
    pub(super) async fn run(self) {
        loop {
            let request = self.http.post(&self.url).bearer_auth(&self.token);
            // It may be dead, or die meanwhile.
            if let Ok(response) = request.send().await {
                let status = response.status();
                if let Ok(text) = response.text().await {
                    assert_eq!(status, 200, "{text}");
                    self.count(&text);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn count(&self, text: &str) {
        let answer: Value = serde_json::from_str(text).expect("the admin port speaks JSON");
        let report = &answer["report"];
        assert_eq!(report["failedKeys"], 0, "{text}");
        let deleted = report["deletedKeys"].as_u64().expect("a count");
        self.tally.deleted[self.number].fetch_add(deleted, Ordering::Relaxed);
    }
}
