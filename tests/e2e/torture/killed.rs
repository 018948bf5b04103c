//! G3: `kill -9` at any moment, while fifty clients pull what dies and is collected beside them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, soon};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::program::{Edition, Program};
use quayside_tests::torture::{Chance, Remains, is_long};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::shelf::{Client, Quota, Shelf, Tally};

const CLIENTS: usize = 50;
/// Servers that are tortured side by side, each with its own upstream: most of a round is waiting.
const SERVERS: usize = 2;
/// TTL, slack and grace, a second each, and something less for the time that an answer is on its way.
const LIFE: Duration = Duration::from_millis(2500);

/// A registry under torture.
struct Rack {
    upstream: FakeUpstream,
    program: Program,
    remains: Remains,
    http: reqwest::Client,
    shelf: Arc<Shelf>,
    tally: Arc<Tally>,
    chance: Chance,
}

impl Rack {
    async fn new(mut chance: Chance) -> Self {
        let upstream = FakeUpstream::start().await;
        let shelf = Arc::new(Shelf::new(chance.below(1 << 20) as u64));
        shelf.fill(&upstream);
        let acme = json!({
            "name": "acme",
            "remoteRegistry": upstream.authority(),
            "visibility": "Internal",
            "expirationSeconds": 1,
            "timeMachineSeconds": 0,
            "tls": { "plainHttp": true },
        });
        let gc = json!({ "gc": { "intervalSeconds": 1, "graceSeconds": 1 } });
        let program = Program::prepare(Edition::Plain, &[acme], gc).await;
        Self {
            remains: Remains::of(&program),
            http: client(),
            tally: Arc::default(),
            upstream,
            program,
            shelf,
            chance,
        }
    }

    /// A start, a load, a kill, and a look at what is left.
    async fn round(&mut self, longest: usize) {
        self.program.resume().await;
        let mut clients = JoinSet::new();
        let stop = watch::Sender::new(false);
        for _ in 0..CLIENTS {
            let client = Client {
                http: self.http.clone(),
                registry: self.program.address(),
                shelf: Arc::clone(&self.shelf),
                tally: Arc::clone(&self.tally),
                chance: self.chance.part(),
                life: LIFE,
                quota: Quota::None,
                stop: stop.subscribe(),
            };
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
        self.program.kill();
        stop.send_replace(true);
        while let Some(ended) = soon("a client stops", clients.join_next()).await {
            ended.expect("a client found a fault");
        }
        self.remains.audit().await;
    }

    /// When nobody pulls any more, all dies and goes.
    async fn settle(&mut self) {
        self.program.resume().await;
        eventually("nothing is left", || async {
            self.program.command(&self.http, Method::POST, "/gc").await;
            let spooled = self.remains.files().keys().any(|name| name != "storage-id");
            !spooled && self.remains.rows().await.is_empty()
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

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    client.build().unwrap()
}

/// G3, B3, M15, Q2, I1–I4: fifty rounds (long form: five hundred) of `kill -9` at a moment that chance decides, with
/// fifty clients at every server, and a TTL, an interval and a grace of one second. Every body that came whole is right,
/// and no other was taken for whole; after every round all files are in exactly one row, every stored row has its verified
/// bytes, and what is counted is right; and when nobody pulls any more, nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_under_load_it_loses_and_leaks_nothing() {
    let seed = Chance::seed();
    eprintln!("QUAYSIDE_SEED={seed}");
    let (rounds, longest) = if is_long() { (500, 2000) } else { (50, 700) };
    let mut chance = Chance::new(seed);
    let mut servers = JoinSet::new();
    for _ in 0..SERVERS {
        let chance = chance.part();
        servers.spawn(async move {
            let mut rack = Rack::new(chance).await;
            for _ in 0..rounds / SERVERS {
                rack.round(longest).await;
            }
            rack.settle().await;
            let tally = &rack.tally;
            (
                tally.whole.load(Ordering::Relaxed),
                tally.broken.load(Ordering::Relaxed),
            )
        });
    }
    let (mut whole, mut broken) = (0, 0);
    while let Some(ended) = servers.join_next().await {
        let (of_server, cut) = ended.unwrap();
        whole += of_server;
        broken += cut;
    }
    eprintln!("{rounds} rounds, {whole} whole bodies, {broken} broken off");
    assert!(whole > rounds, "hardly anything was pulled");
}
