//! Two collectors at once over a bucket that deletes slowly, while replicas die and clients pull.
// Seeds and counts of a run, which nextest shows when it fails.
#![allow(clippy::print_stderr)]

mod client;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use quayside_test_servers::replicas::Between;
use quayside_test_servers::s3_door::{Fault, Operation};
use quayside_tests::eventually::{holds_within, soon};
use quayside_tests::fake::{self, FakeUpstream, On};
use quayside_tests::images::{Blob, Image};
use quayside_tests::replicas::{Fleet, acme};
use quayside_tests::torture::{Chance, is_long};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use client::{Backend, Client, Collector, Tally};

const CLIENTS: usize = 6;
const IMAGES: usize = 8;
/// More than one part of an upload.
const LARGE: usize = 9_000_000;
const STALL: Duration = Duration::from_secs(3);
/// How long the last deletions may take: leases of fills that died, a grace, and stalls of those before them.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);

/// Images that share layers, of which one is uploaded in parts and the larger ones come slowly enough for a kill to meet
/// them halfway.
fn shelf(upstream: &FakeUpstream) -> Arc<[Image]> {
    let shared = [Blob::random(1, 700_000), Blob::random(2, 20_000)];
    let images = (0..IMAGES).map(|number| {
        let own = Blob::random(
            10 + number as u64,
            if number == 0 { LARGE } else { 9_000 * number },
        );
        let image = Image::builder().layer(shared[number % 2].clone()).layer(own);
        image.label("number", &number.to_string()).build()
    });
    let images: Arc<[Image]> = images.collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push(&format!("app{number}"), "1", image);
        for layer in image.layers.iter().filter(|layer| layer.size() > 500_000) {
            let step = usize::try_from(layer.size()).unwrap() / 10;
            let slowly = fake::Fault::Drip(step, Duration::from_millis(20));
            upstream.script(On::blob().at(&layer.digest), slowly);
        }
    }
    images
}

struct Scene {
    fleet: Fleet,
    backends: Arc<[Backend; 2]>,
    images: Arc<[Image]>,
    tally: Arc<Tally>,
    fashion: watch::Sender<Option<usize>>,
    chance: Chance,
    upstream: FakeUpstream,
}

impl Scene {
    async fn new(chance: Chance) -> Self {
        let upstream = FakeUpstream::start().await;
        let images = shelf(&upstream);
        let keys = json!({ "expirationSeconds": 1, "timeMachineSeconds": 0 });
        let fleet = Fleet::planned(&[acme(&upstream.authority(), &keys)], |plan| {
            plan.settings = json!({ "gc": { "intervalSeconds": 1, "graceSeconds": 1 } });
            plan.between = Between::Doors;
        })
        .await;
        Self {
            backends: Arc::new([0, 1].map(|number| Backend::new(fleet.at(number)))),
            fleet,
            images,
            tally: Arc::default(),
            fashion: watch::Sender::new(Some(0)),
            chance,
            upstream,
        }
    }

    fn client(&mut self) -> Client {
        Client {
            http: self.fleet.client().clone(),
            backends: Arc::clone(&self.backends),
            images: Arc::clone(&self.images),
            tally: Arc::clone(&self.tally),
            chance: self.chance.part(),
            fashion: self.fashion.subscribe(),
        }
    }

    /// What makes a replica collect again and again, beside what its own interval and lease make it do.
    fn collector(&self, number: usize) -> Collector {
        Collector {
            http: self.fleet.client().clone(),
            number,
            url: format!("http://{}/gc", self.fleet.replicas.replica(number).admin()),
            token: self.fleet.replicas.admin_token().trim().to_owned(),
            tally: Arc::clone(&self.tally),
        }
    }

    /// Both replicas collect, one of them dies at a moment that chance decides, and is there again.
    async fn round(&mut self, number: usize) {
        self.fashion.send_replace(Some(2 * number));
        tokio::time::sleep(self.chance.millis(300, 3500)).await;
        let victim = self.chance.below(2);
        self.backends[victim].turn();
        self.fleet.replicas.replica_mut(victim).kill();
        self.fleet.replicas.replica_mut(victim).start();
        self.backends[victim].turn();
        self.fleet.audit().await;
    }

    /// Whether nothing is left of what was pulled.
    async fn is_empty(&self) -> bool {
        let rows = "SELECT (SELECT count(*) FROM blob) + (SELECT count(*) FROM fill) + (SELECT count(*) FROM garbage) + \
                    (SELECT count(*) FROM manifest) + (SELECT count(*) FROM tag)";
        self.fleet.number(rows).await == 0 && self.fleet.objects().is_empty() && self.fleet.uploads() == 0
    }

    /// When nobody pulls any more, all dies and goes.
    async fn settle(&self) {
        if !is_long() {
            // The leases of those who died and stalls are waited for in the long form.
            self.fleet.change("UPDATE fill SET expires_at = 1").await;
            self.fleet.replicas.bucket_door.as_ref().unwrap().heal();
        }
        let empty = holds_within(SETTLE_LIMIT, || self.is_empty()).await;
        assert!(
            empty,
            "objects are left: {:#?}\n{}",
            self.fleet.objects(),
            self.fleet.logs()
        );
        self.fleet.audit_at_rest().await;
    }

    fn report(&self, rounds: usize) {
        let [pulls, broken, again] = [&self.tally.pulls, &self.tally.broken, &self.tally.again]
            .map(|count| count.load(Ordering::Relaxed));
        let deleted = self
            .tally
            .deleted
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let door = self.fleet.replicas.bucket_door.as_ref().unwrap();
        let deletions = door.count(Operation::DeleteObjects);
        let fetches = self.upstream.count_kind(&Method::GET, fake::Kind::Blob);
        eprintln!("{rounds} rounds, {pulls} pulls, {broken} answers broken off, {again} pulls begun again");
        eprintln!("{fetches} fetches, {deletions} DeleteObjects, keys deleted on request: {deleted:?}");
        assert!(
            pulls > 8 * rounds && broken > 0,
            "hardly anything was pulled or killed"
        );
        assert!(
            deletions > rounds / 2 && deleted.iter().all(|count| *count > 0),
            "one collector did nothing"
        );
    }
}

/// How many rounds there are, unless somebody says otherwise.
fn rounds() -> usize {
    match std::env::var("QUAYSIDE_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("QUAYSIDE_ROUNDS is a number"),
        Err(_) if is_long() => 200,
        Err(_) => 4,
    }
}

/// G3, G4, B8: four rounds (long form: two hundred) of two collectors at once with a grace of a second, over a bucket
/// where every deletion stalls for three, while one replica after the other is killed and clients pull what dies and
/// comes again. Every pull comes to its end with the right bytes; after every round every object is in exactly one row,
/// and every row has its object; and when nobody pulls any more, nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_and_stalled_deletions_lose_and_leak_nothing() {
    let seed = Chance::seed();
    eprintln!("QUAYSIDE_SEED={seed}");
    let rounds = rounds();
    let mut scene = Scene::new(Chance::new(seed)).await;
    let door = scene.fleet.replicas.bucket_door.as_ref().unwrap();
    door.break_all(Operation::DeleteObjects, Fault::Stall(STALL));
    let (mut clients, mut collectors) = (JoinSet::new(), JoinSet::new());
    for number in 0..2 {
        collectors.spawn(scene.collector(number).run());
    }
    for _ in 0..CLIENTS {
        clients.spawn(scene.client().run());
    }
    for number in 0..rounds {
        scene.round(number).await;
        let failed = clients.try_join_next().or_else(|| collectors.try_join_next());
        if let Some(failed) = failed {
            panic!("round {number}: {failed:?}\n{}", scene.fleet.logs());
        }
    }
    scene.fashion.send_replace(None);
    while let Some(ended) = soon("a client stops", clients.join_next()).await {
        ended.expect("a pull failed");
    }
    let mut last = scene.client();
    for number in 0..IMAGES {
        last.pull(number).await;
    }
    scene.fleet.audit().await;
    scene.settle().await;
    assert!(collectors.try_join_next().is_none(), "a collector failed");
    drop(collectors);
    scene.report(rounds);
}
