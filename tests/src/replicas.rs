//! Several real registry processes that act as one, as tests see them. What runs is `quayside_test_servers::replicas`,
//! the same as in `make run-replicas`.
//!
//! Everything that starts a process has to be called by the test itself and not by a task of it: processes end with the
//! thread that started them.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use http::Method;
use quayside_test_servers::Replicas;
use quayside_test_servers::replicas::Plan;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row as _};

use crate::eventually::{eventually, holds_within, soon};
use crate::house::Answer;
use crate::program::{self, Edition};

mod audit;

/// How long a registry may take to end once it was asked to, beside what it was told to wait.
const END_LIMIT: Duration = Duration::from_mins(1);

/// An installation and a client of it. Dropping it ends all of it.
#[derive(Debug)]
pub struct Fleet {
    /// What runs.
    pub replicas: Replicas,
    client: reqwest::Client,
    database: PgPool,
}

impl Fleet {
    /// Two replicas with nothing between, with these entries in their organizations file.
    pub async fn start(organizations: &[Value]) -> Self {
        Self::planned(organizations, |_| ()).await
    }

    /// As [`Self::start`], after `change`.
    pub async fn planned(organizations: &[Value], change: impl FnOnce(&mut Plan)) -> Self {
        let binary = program::binary(Edition::Plain).await;
        let mut plan = Plan::of(&binary, &file(organizations));
        change(&mut plan);
        let replicas = Replicas::start(&plan);
        // A database that is away or was away is met by tests too.
        let database = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(20))
            .connect_lazy(&replicas.database_url())
            .unwrap();
        // A connection that is kept would break with the process at its end, and that is no failed request.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            replicas,
            client,
            database,
        }
    }

    /// Writes these entries as the organizations file, which the replicas read a little later.
    pub fn organize(&self, organizations: &[Value]) {
        self.replicas.organize(&file(organizations));
    }

    /// The address of the OCI API of a replica, from 0.
    pub fn at(&self, number: usize) -> SocketAddr {
        self.replicas.replica(number).address()
    }

    /// The address before all of them.
    pub fn balanced(&self) -> SocketAddr {
        self.replicas.balancer.address()
    }

    /// A client that keeps no connection and follows no redirect.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A request to an address, as soon as the head of the answer is there.
    pub async fn open(&self, address: SocketAddr, path: &str) -> reqwest::Response {
        let request = self.client.get(format!("http://{address}{path}"));
        soon("the registry begins to answer", request.send())
            .await
            .unwrap()
    }

    /// GET, read to its end. Large bodies take their time, so this waits for them as long as it takes.
    pub async fn get(&self, address: SocketAddr, path: &str) -> Answer {
        let request = self.client.get(format!("http://{address}{path}"));
        Answer::read(request.send().await.unwrap()).await
    }

    /// GET of a manifest in `acme`.
    pub async fn manifest(&self, address: SocketAddr, repository: &str, reference: &str) -> Answer {
        let path = format!("/v2/acme/{repository}/manifests/{reference}");
        self.get(address, &path).await
    }

    /// GET of a blob in `acme`.
    pub async fn blob(&self, address: SocketAddr, repository: &str, digest: &str) -> Answer {
        self.get(address, &format!("/v2/acme/{repository}/blobs/{digest}"))
            .await
    }

    /// Asks the admin port of a replica, as the tools do.
    ///
    /// # Panics
    /// With what it says, if it does not do it.
    pub async fn command(&self, number: usize, method: Method, path: &str) -> Value {
        let url = format!("http://{}{path}", self.replicas.replica(number).admin());
        let token = self.replicas.admin_token();
        let request = self.client.request(method, url).bearer_auth(token.trim());
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("the admin port speaks JSON")
    }

    /// What `/metrics` of a replica says of a series, as it is written there, with its labels; 0 if it is not there.
    pub async fn metric(&self, number: usize, series: &str) -> f64 {
        let url = format!("http://{}/metrics", self.replicas.replica(number).admin());
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let value = lines.find(|(name, _)| *name == series);
        value.map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// Asks a replica to end and waits until it has.
    pub async fn end(&mut self, number: usize) -> ExitStatus {
        self.replicas.replica(number).terminate();
        self.ended(number).await
    }

    /// Waits until a replica has ended.
    pub async fn ended(&mut self, number: usize) -> ExitStatus {
        let replica = self.replicas.replica_mut(number);
        let mut status = None;
        let ended = holds_within(END_LIMIT, || {
            status = replica.ended();
            std::future::ready(status.is_some())
        })
        .await;
        assert!(ended, "replica {number} has not ended:\n{}", replica.log());
        status.unwrap()
    }

    /// One number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query(query).fetch_one(&self.database).await.unwrap().get(0)
    }

    /// One number from the database about `$1`.
    pub async fn number_of(&self, query: &'static str, value: &str) -> i64 {
        let row = sqlx::query(query).bind(value).fetch_one(&self.database).await;
        row.unwrap().get(0)
    }

    /// One statement, beside the replicas.
    pub async fn change(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.database).await.unwrap();
    }

    /// As if a replica had not renewed its fills since the beginning of time.
    pub async fn age_fills_of(&self, number: usize) {
        let address = self.replicas.replica(number).peer().to_string();
        let aged = sqlx::query("UPDATE fill SET expires_at = 1 WHERE address = $1").bind(address);
        aged.execute(&self.database).await.unwrap();
    }

    /// Whether a blob is stored, as the database says.
    pub async fn has(&self, digest: &str) -> bool {
        let query = "SELECT count(*) FROM blob WHERE digest = $1 AND storage_key IS NOT NULL";
        self.number_of(query, digest).await == 1
    }

    /// Returns when a blob is stored.
    pub async fn stored(&self, digest: &str) {
        eventually("the blob is stored", || self.has(digest)).await;
    }

    /// What the replicas have logged, for messages.
    pub fn logs(&self) -> String {
        let logs = self
            .replicas
            .all()
            .iter()
            .map(quayside_test_servers::replicas::Replica::log);
        logs.collect::<Vec<_>>().join("\n")
    }
}

fn file(organizations: &[Value]) -> String {
    json!({ "organizations": organizations }).to_string()
}

/// An entry for `acme`, which everybody on this machine may pull from, with these keys besides.
pub fn acme(upstream: &str, keys: &Value) -> Value {
    let mut entry = json!({
        "name": "acme",
        "remoteRegistry": upstream,
        "tls": { "plainHttp": true },
        "visibility": "Internal",
    });
    for (key, value) in keys.as_object().into_iter().flatten() {
        entry[key] = value.clone();
    }
    entry
}
