//! G3: `kill -9` at any moment, while fifty clients pull what dies, is pruned and is collected beside them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, soon};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::program::{Edition, Program};
use quayside_tests::torture::{Age, Chance, Remains, is_long};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::shelf::{Client, Quota, Shelf, Tally};

const CLIENTS: usize = 50;
/// Room for every image of the shelf but the giant, and for hardly two of the larger ones.
const QUOTA: i64 = 2_200_000;

/// How long what was pulled lives.
#[derive(Clone, Copy)]
struct Terms {
    ttl_seconds: u64,
    /// How long it is there at least, less the time that an answer is on its way.
    life: Duration,
    quota: Quota,
}

/// TTL, slack and grace are a second each.
const DYING: Terms = Terms {
    ttl_seconds: 1,
    life: Duration::from_millis(2500),
    quota: Quota::Unlimited,
};

/// What was pruned is collected a grace of a second later.
const PRUNED: Terms = Terms {
    ttl_seconds: 3600,
    life: Duration::from_millis(700),
    quota: Quota::Tight,
};

const DYING_AND_PRUNED: Terms = Terms {
    ttl_seconds: 1,
    ..PRUNED
};

/// A registry under torture.
struct Rack {
    upstream: FakeUpstream,
    program: Program,
    remains: Remains,
    http: reqwest::Client,
    shelf: Arc<Shelf>,
    tally: Arc<Tally>,
    chance: Chance,
    terms: Terms,
    /// How many images had to go for others.
    pruned: usize,
}

impl Rack {
    async fn new(terms: Terms, mut chance: Chance) -> Self {
        let upstream = FakeUpstream::start().await;
        let shelf = Arc::new(Shelf::new(chance.below(1 << 20) as u64));
        shelf.fill(&upstream);
        let mut acme = json!({
            "name": "acme",
            "remoteRegistry": upstream.authority(),
            "visibility": "Internal",
            "expirationSeconds": terms.ttl_seconds,
            "timeMachineSeconds": 0,
            "tls": { "plainHttp": true },
        });
        if terms.quota == Quota::Tight {
            acme["storageQuotaBytes"] = json!(QUOTA);
        }
        let settings = json!({
            "FEATURE_QUOTA_MANAGEMENT": terms.quota == Quota::Tight,
            "gc": { "intervalSeconds": 1, "graceSeconds": 1 },
        });
        let program = Program::prepare(Edition::Plain, &[acme], settings).await;
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        Self {
            remains: Remains::of(&program),
            http: http.build().unwrap(),
            tally: Arc::default(),
            upstream,
            program,
            shelf,
            chance,
            terms,
            pruned: 0,
        }
    }

    /// A start, a load, a kill, and a look at what is left.
    async fn round(&mut self, longest: usize) {
        self.program.resume().await;
        let stop = watch::Sender::new(false);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = self.client(stop.subscribe());
            clients.spawn(client.run());
        }
        let moment = self.chance.millis(30, longest);
        let mut turns = self.chance.part();
        let disturbed = async {
            loop {
                self.shelf.turn(&self.upstream, &mut turns);
                self.program.command(&self.http, Method::POST, "/gc").await;
                tokio::time::sleep(turns.millis(50, 250)).await;
            }
        };
        tokio::select! {
            failed = clients.join_next() => panic!("a client found a fault: {failed:?}"),
            () = tokio::time::sleep(moment) => {}
            () = disturbed => {}
        }
        self.pruned += self.program.log().matches("\"pruned ").count();
        self.program.kill();
        stop.send_replace(true);
        while let Some(ended) = soon("a client stops", clients.join_next()).await {
            ended.expect("a client found a fault");
        }
        self.remains.audit().await;
        self.assert_within_quota().await;
    }

    /// After all that, a client that pulls one image after the other.
    async fn serve(&mut self) {
        self.program.resume().await;
        let stop = watch::Sender::new(false);
        self.client(stop.subscribe()).pull_all().await;
        self.assert_within_quota().await;
        self.pruned += self.program.log().matches("\"pruned ").count();
        self.program.kill();
        self.remains.audit().await;
    }

    async fn assert_within_quota(&self) {
        if self.terms.quota == Quota::Tight {
            let usage = "SELECT coalesce(sum(usage_bytes), 0) FROM organization";
            let usage = self.remains.number(usage).await;
            assert!(usage <= QUOTA, "{usage} bytes, over the quota");
        }
    }

    fn client(&mut self, stop: watch::Receiver<bool>) -> Client {
        Client {
            http: self.http.clone(),
            registry: self.program.address(),
            shelf: Arc::clone(&self.shelf),
            tally: Arc::clone(&self.tally),
            chance: self.chance.part(),
            life: self.terms.life,
            quota: self.terms.quota,
            stop,
        }
    }

    /// When nobody pulls any more, all dies and goes.
    async fn settle(&mut self) {
        self.program.resume().await;
        if self.terms.ttl_seconds > 1 {
            self.remains.age(Age::Tags).await;
        }
        eventually("nothing is left", || async {
            self.program.command(&self.http, Method::POST, "/gc").await;
            let files = self.remains.files().keys().any(|name| name != "storage-id");
            !files && self.remains.rows().await.is_empty()
        })
        .await;
        assert_eq!(
            self.program.run(&["recount"]).await.ok(),
            "everything is counted right"
        );
        self.program.kill();
        self.remains.audit().await;
        self.remains.assert_nothing_is_left().await;
    }
}

/// Tortures a server on each of these terms, each with its own upstream, side by side: most of a round is waiting.
async fn torture(terms: [Terms; 2], rounds: usize) {
    let seed = Chance::seed();
    eprintln!("QUAYSIDE_SEED={seed}");
    let longest = if is_long() { 2000 } else { 700 };
    let mut chance = Chance::new(seed);
    let mut servers = JoinSet::new();
    for terms in terms {
        let chance = chance.part();
        servers.spawn(async move {
            let mut rack = Rack::new(terms, chance).await;
            for _ in 0..rounds / 2 {
                rack.round(longest).await;
            }
            rack.serve().await;
            rack.settle().await;
            rack
        });
    }
    let mut cut = 0;
    while let Some(ended) = servers.join_next().await {
        let rack = ended.unwrap();
        let [whole, broken, refused] = [&rack.tally.whole, &rack.tally.broken, &rack.tally.refused]
            .map(|count| count.load(Ordering::Relaxed));
        let pruned = rack.pruned;
        cut += broken;
        eprintln!("{whole} whole bodies, {broken} broken off, {refused} refused, {pruned} pruned");
        assert!(whole > rounds, "hardly anything was pulled");
        if rack.terms.quota == Quota::Tight {
            assert!(refused > 0 && pruned > 0, "the quota was not felt");
        }
    }
    assert!(cut > 0, "no kill met anybody halfway");
}

/// G3, B3, M15, Q2, I1–I4: fifty rounds (long form: five hundred) of `kill -9` at a moment that chance decides, with
/// fifty clients at every server, and a TTL, an interval and a grace of one second. Every body that came whole is right,
/// and no other was taken for whole; after every round all files are in exactly one row, every stored row has its verified
/// bytes, and what is counted is right; and when nobody pulls any more, nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_under_load_it_loses_and_leaks_nothing() {
    torture([DYING, DYING], if is_long() { 500 } else { 50 }).await;
}

/// G3, Q4, Q5, Q8: the same while images have to make room for others all the time: the usage is never over the quota,
/// whoever fits is served, and what fits never is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_quota_pressure_it_never_holds_too_much() {
    torture([PRUNED, DYING_AND_PRUNED], if is_long() { 200 } else { 16 }).await;
}
