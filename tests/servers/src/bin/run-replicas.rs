//! What `make run-replicas` runs: an installation of replicas on this machine, to be tried until Ctrl-C.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quayside_test_servers::Replicas;
use quayside_test_servers::replicas::{Echo, Plan};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How long a replica that was killed stays away, as if it had to be scheduled.
const AWAY: Duration = Duration::from_secs(5);

fn main() {
    // Everything dies with the thread that starts it, which therefore has to be this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(run());
}

async fn run() {
    let [binary, data, organizations] = ["REGISTRY", "DATA", "ORGANIZATIONS"].map(path);
    let port = number("PORT", 8080);
    let count = number("REPLICAS", 2);
    let text = std::fs::read_to_string(&organizations)
        .unwrap_or_else(|error| panic!("read {}: {error}", organizations.display()));
    let mut plan = Plan::of(&binary, &text);
    plan.count = count.into();
    plan.listen = Some(SocketAddr::from(([127, 0, 0, 1], port)));
    plan.data = Some(data.clone());
    plan.echo = Echo::File;
    plan.settings = json!({ "shutdownSeconds": 10 });

    say(&format!(
        "starting PostgreSQL, an S3 server and a balancer; data in {}",
        data.display()
    ));
    let mut replicas = Replicas::prepare(&plan);
    say(&format!("starting {count} replicas"));
    for replica in replicas.all_mut() {
        replica.start();
    }
    replicas.wait_for_balancer();
    describe(&replicas, port);
    let mut interrupted = signal(SignalKind::interrupt()).unwrap();
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        () = revive(&mut replicas) => {}
    }
    end(&mut replicas).await;
}

fn describe(replicas: &Replicas, port: u16) {
    println!(
        "\n  {} replicas serve behind 127.0.0.1:{port}:\n",
        replicas.all().len()
    );
    for (number, replica) in (1..).zip(replicas.all()) {
        let (address, admin, pid) = (replica.address(), replica.admin(), replica.pid());
        println!(
            "    replica {number}: {address}, metrics on {admin}, pid {pid}, log in {}",
            replica.log_file().display()
        );
    }
    println!("    PostgreSQL: {}", replicas.database_url());
    println!(
        "    S3: {}, the bucket is the directory {}",
        replicas.storage.url(),
        replicas.bucket().display()
    );
    println!(
        "\n  In another terminal:\n\n    podman pull --tls-verify=false 127.0.0.1:{port}/docker/library/alpine:3\n\n  \
         Kill a replica while it pulls (kill -9 PID): the pull goes on, and the replica is back {AWAY:?} later.\n  \
         Ctrl-C ends everything; what is stored stays.\n"
    );
}

/// Starts again whatever ended, for ever.
async fn revive(replicas: &mut Replicas) {
    let mut tick = interval(Duration::from_millis(200));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for (number, replica) in (1..).zip(replicas.all_mut()) {
            if let Some(status) = replica.ended() {
                say(&format!(
                    "replica {number} has ended ({status}); it starts again in {AWAY:?}"
                ));
                sleep(AWAY).await;
                replica.start();
                say(&format!("replica {number} serves again, pid {}", replica.pid()));
            }
        }
    }
}

async fn end(replicas: &mut Replicas) {
    say("ending the replicas");
    for replica in replicas.all_mut() {
        if replica.runs() {
            replica.terminate();
        }
    }
    for replica in replicas.all_mut() {
        while replica.runs() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    say("ending PostgreSQL and the S3 server");
}

fn say(what: &str) {
    println!("==> {what}");
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> PathBuf {
    variable(name)
        .unwrap_or_else(|| panic!("{name} is not set: run deploy/local/run-replicas.sh"))
        .into()
}

fn number(name: &str, otherwise: u16) -> u16 {
    variable(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text}"))
    })
}
