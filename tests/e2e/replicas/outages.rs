//! What two replicas share goes away for a while, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quayside_test_servers::Replicas;
use quayside_test_servers::replicas::Between;
use quayside_tests::eventually::{eventually, holds_within, soon};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::Answer;
use quayside_tests::images::Image;
use quayside_tests::replicas::{Fleet, acme};
use quayside_tests::torture::is_long;
use serde_json::json;

const IMAGES: usize = 12;
/// How long a client may wait for its answer at the end of an outage of half a minute.
const HEAL_LIMIT: Duration = Duration::from_mins(1);

/// What is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Bucket,
    Database,
    /// The database server ends and starts again.
    Restart,
}

impl Outage {
    fn begin(self, replicas: &mut Replicas) {
        match self {
            Self::Bucket => replicas.bucket_door.as_mut().unwrap().close(),
            Self::Database => replicas.database_wire.as_mut().unwrap().cut(),
            Self::Restart => replicas.database.stop(),
        }
    }

    fn end(self, replicas: &mut Replicas) {
        match self {
            Self::Bucket => replicas.bucket_door.as_mut().unwrap().open(),
            Self::Database => replicas.database_wire.as_mut().unwrap().mend(),
            Self::Restart => replicas.database.go_on(),
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Restart => Duration::ZERO,
            _ if is_long() => Duration::from_secs(30),
            _ => Duration::from_secs(2),
        }
    }
}

/// Somebody who pulls from one replica all the time.
struct Puller {
    client: reqwest::Client,
    registry: std::net::SocketAddr,
    images: Arc<[Image]>,
    outage: Outage,
    stop: Arc<AtomicBool>,
    /// How many answers have told to come back later.
    later: Arc<AtomicUsize>,
}

impl Puller {
    async fn run(self) {
        let mut turn = 0;
        while !self.stop.load(Ordering::Relaxed) {
            self.pull(turn % IMAGES).await;
            turn += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// An image, or as much of it as there is.
    async fn pull(&self, number: usize) {
        let image = &self.images[number];
        let manifest = self.get(&format!("app{number}/manifests/1"), image.body()).await;
        for blob in image.blobs().filter(|_| manifest) {
            self.get(&format!("app{number}/blobs/{}", blob.digest), &blob.bytes)
                .await;
        }
    }

    /// Whether it is there: it is right then. Without a database it may be too early for it (O2).
    async fn get(&self, path: &str, expected: &[u8]) -> bool {
        let request = self
            .client
            .get(format!("http://{}/v2/acme/{path}", self.registry));
        let answer = Answer::read(request.send().await.unwrap()).await;
        if answer.status == 503 && self.outage != Outage::Bucket {
            assert_eq!(answer.header("retry-after"), "5", "{path}");
            self.later.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.complete && answer.body == expected, "{path}: other bytes");
        true
    }
}

async fn fleet(upstream: &FakeUpstream) -> Fleet {
    Fleet::planned(&[acme(&upstream.authority(), &json!({}))], |plan| {
        plan.settings = json!({ "gc": { "intervalSeconds": 1 } });
        plan.between = Between::Doors;
    })
    .await
}

/// Two clients pull through two replicas while something is away: half of what they pull is stored before.
async fn replicas_outlast(outage: Outage) {
    let upstream = FakeUpstream::start().await;
    let images: Arc<[Image]> = (0..IMAGES as u64)
        .map(|seed| Image::random(seed, &[30_000, 200_000]))
        .collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push(&format!("app{number}"), "1", image);
    }
    let mut fleet = fleet(&upstream).await;
    let (stop, later) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let puller = |number| Puller {
        client: fleet.client().clone(),
        registry: fleet.at(number),
        images: Arc::clone(&images),
        outage,
        stop: Arc::clone(&stop),
        later: Arc::clone(&later),
    };
    let (first, second) = (puller(0), puller(1));
    for number in 0..IMAGES / 2 {
        first.pull(number).await;
        for blob in images[number].blobs() {
            fleet.stored(&blob.digest).await;
        }
    }
    let processes: Vec<_> = (0..2)
        .map(|number| fleet.replicas.replica(number).pid())
        .collect();
    outage.begin(&mut fleet.replicas);
    let pulling = [first, second].map(|puller| tokio::spawn(puller.run()));
    tokio::time::sleep(outage.length()).await;
    outage.end(&mut fleet.replicas);

    let healed = holds_within(HEAL_LIMIT, || everything_is_stored(&fleet, &images)).await;
    assert!(healed, "not everything is stored:\n{}", fleet.logs());
    stop.store(true, Ordering::Relaxed);
    for pulling in pulling {
        soon("a client stops", pulling).await.expect("a pull failed");
    }
    // A request waits longer for a connection than the short form's outage takes.
    if outage == Outage::Database && is_long() {
        let refused = later.load(Ordering::Relaxed);
        assert!(refused > 0, "the outage was not felt");
    }
    for (number, process) in processes.into_iter().enumerate() {
        assert_eq!(fleet.replicas.replica(number).pid(), process);
        eventually("it is ready", || async {
            let url = format!("http://{}/readyz", fleet.replicas.replica(number).admin());
            fleet.client().get(url).send().await.unwrap().status() == 200
        })
        .await;
    }
    fleet.audit_at_rest().await;
}

async fn everything_is_stored(fleet: &Fleet, images: &[Image]) -> bool {
    for blob in images.iter().flat_map(Image::blobs) {
        if !fleet.has(&blob.digest).await {
            return false;
        }
    }
    true
}

/// O2, G3: while the bucket is away (long form: for half a minute) every pull succeeds, and afterwards all is stored
/// without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_outlast_a_bucket_that_is_away() {
    replicas_outlast(Outage::Bucket).await;
}

/// O2, G3: while the database is away (long form: for half a minute) clients get what is in memory or are told to come
/// back, and afterwards all is stored without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_outlast_a_database_that_is_away() {
    replicas_outlast(Outage::Database).await;
}

/// O2, G3: the database server is restarted while clients pull.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_outlast_a_restart_of_the_database() {
    replicas_outlast(Outage::Restart).await;
}
