//! The registry in this process, on free ports, over a directory that goes away with it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use quayside_config::Config;
use quayside_registry::{Clock, ManualClock, Server, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

mod answer;
mod bucket;
mod client;
mod inside;
mod lifetime;
mod operation;
mod organization;
mod output;
mod pair;
mod reader;
mod scratch;

pub use answer::Answer;
pub use bucket::Bucket;
pub use client::{Call, RawAnswer};
pub use lifetime::{GRACE, audit};
pub use organization::Organization;
pub use output::{CANARY, assert_nothing_leaked};
pub use pair::{Pair, Which};

/// The users of every house: name, password, bcrypt hash of the least cost.
pub const USERS: [(&str, &str, &str); 3] = [
    (
        "alice",
        "canary-alice-1f6c9b",
        "$2b$04$abcdefghijklmnopqrstuuyRpTn1oNc7xbalHAG39w69xBWGtXRgO",
    ),
    (
        "bob",
        "canary-bob-77d0e2",
        "$2b$04$abcdefghijklmnopqrstuuZPy5Q/DHDk80erOYb07cGHg/5abejMK",
    ),
    (
        "carol",
        "canary-carol-c0ffee",
        "$2b$04$abcdefghijklmnopqrstuuCEFkXLIZJGkx8XJ0MfTc471DiHN11iO",
    ),
];

/// What a house's clock shows when it starts, milliseconds since the epoch.
pub const START: i64 = 1_800_000_000_000;

/// A running registry and its surroundings.
pub struct House {
    directory: TempDir,
    blobs: PathBuf,
    bucket: Option<Bucket>,
    /// The URL of a `PostgreSQL` database; none: an `SQLite` file in `directory`.
    database: Option<String>,
    config: Value,
    clock: Time,
    bundles: Mutex<Value>,
    client: reqwest::Client,
    server: Option<Server>,
}

#[derive(Clone)]
enum Time {
    Manual(ManualClock),
    System,
}

/// Collects what a [`House`] is built from.
pub struct HouseBuilder {
    organizations: Vec<Organization>,
    file: Option<String>,
    config: Value,
    bundles: Value,
    clock: Time,
    blobs: Option<PathBuf>,
    bucket: Option<Bucket>,
    database: Option<String>,
}

pub(crate) fn bundle_name(pem: &str) -> String {
    crate::images::sha256(pem.as_bytes())[7..23].to_owned()
}

impl HouseBuilder {
    /// Adds an organization.
    #[must_use]
    pub fn organization(mut self, organization: Organization) -> Self {
        self.organizations.push(organization);
        self
    }

    /// Adds a certificate for [`Organization::ca_bundle`].
    #[must_use]
    pub fn bundle(mut self, pem: &str) -> Self {
        self.bundles[bundle_name(pem)] = json!(pem);
        self
    }

    /// Writes exactly this as the organizations file; an empty text: no file.
    #[must_use]
    pub fn organizations_file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    /// Sets a key of config.yaml, like `/upstream/readTimeoutSeconds`.
    #[must_use]
    pub fn config(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.config;
        for key in pointer.trim_start_matches('/').split('/') {
            place = &mut place[key];
        }
        *place = value;
        self
    }

    /// The machine's clock instead of one that a test moves.
    #[must_use]
    pub fn system_clock(mut self) -> Self {
        self.clock = Time::System;
        self
    }

    /// Keeps the blobs in this directory.
    #[must_use]
    pub fn blobs_in(mut self, directory: &Path) -> Self {
        self.blobs = Some(directory.to_owned());
        self
    }

    /// Keeps the blobs in this bucket.
    #[must_use]
    pub fn blobs_in_bucket(mut self, bucket: &Bucket) -> Self {
        self.bucket = Some(bucket.clone());
        self
    }

    /// Keeps the metadata in the `PostgreSQL` database of this URL.
    #[must_use]
    pub fn database(mut self, url: &str) -> Self {
        self.database = Some(url.to_owned());
        self
    }

    /// Shares the clock of another house.
    #[must_use]
    pub fn clock_of(mut self, house: &House) -> Self {
        self.clock = house.clock.clone();
        self
    }

    /// Starts the registry; panics if it refuses.
    pub async fn start(self) -> House {
        self.try_start().await.unwrap()
    }

    /// Starts the registry, or says why it refuses.
    pub async fn try_start(self) -> anyhow::Result<House> {
        let directory = scratch::directory();
        let blobs = self.blobs.unwrap_or_else(|| match &self.bucket {
            Some(bucket) => bucket.directory(),
            None => directory.path().join("blobs"),
        });
        let mut house = House {
            blobs,
            bucket: self.bucket,
            database: self.database,
            config: self.config,
            clock: self.clock,
            bundles: Mutex::new(self.bundles),
            client: client::client(),
            server: None,
            directory,
        };
        match self.file {
            None => house.write_organizations(&self.organizations),
            Some(text) if text.is_empty() => {}
            Some(text) => house.write_organizations_file(text),
        }
        house.try_start().await?;
        Ok(house)
    }
}

impl House {
    /// A house with nothing in it.
    pub fn builder() -> HouseBuilder {
        output::capture();
        let users: Vec<_> = USERS
            .iter()
            .map(|(name, password, hash)| {
                output::watch_for(name, password);
                json!({ "name": name, "passwordHash": hash })
            })
            .collect();
        let config = json!({
            "FEATURE_PROXY_CACHE": true,
            "FEATURE_QUOTA_MANAGEMENT": false,
            "SERVER_HOSTNAME": "registry.test",
            "PREFERRED_URL_SCHEME": "http",
            "listen": "127.0.0.1:0",
            "adminListen": "127.0.0.1:0",
            "auth": { "users": users },
            "storage": { "filesystem": { "minFreeBytes": 0 } },
            "trustedNetworks": ["127.0.0.0/8"],
            "upstream": {
                "allowedHosts": ["127.0.0.0/8"],
                "connectTimeoutSeconds": 2,
                "readTimeoutSeconds": 10,
            },
        });
        HouseBuilder {
            organizations: Vec::new(),
            file: None,
            config,
            bundles: json!({}),
            clock: Time::Manual(ManualClock::new(START)),
            blobs: None,
            bucket: None,
            database: None,
        }
    }

    /// A house with one organization.
    pub async fn with(organization: Organization) -> Self {
        Self::builder().organization(organization).start().await
    }

    async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    async fn try_start(&mut self) -> anyhow::Result<()> {
        let mut document = self.config.clone();
        document["organizationsFile"] = json!(self.organizations_path());
        document["database"] = self.describe_database();
        match &self.bucket {
            Some(bucket) => {
                let described = bucket.describe(self.directory(), &document["storage"]["s3"]);
                document["storage"] = json!({ "s3": described });
            }
            None => document["storage"]["filesystem"]["path"] = json!(self.blobs),
        }
        if self.database.is_some() && document["peer"]["listen"].is_null() {
            document["peer"]["listen"] = json!("127.0.0.1:0");
        }
        // JSON is YAML.
        let config = Config::parse(&document.to_string())?;
        let clock: Arc<dyn Clock> = match &self.clock {
            Time::Manual(clock) => Arc::new(clock.clone()),
            Time::System => Arc::new(SystemClock),
        };
        self.server = Some(Server::start(config, clock).boxed().await?);
        Ok(())
    }

    fn describe_database(&self) -> Value {
        let Some(url) = &self.database else {
            return json!({ "sqlite": { "path": self.database_path() } });
        };
        let file = self.directory().join("database.url");
        std::fs::write(&file, url).unwrap();
        json!({ "postgres": { "urlFile": file, "maxConnections": 8 } })
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the registry was stopped")
    }

    /// `http://127.0.0.1:<port>` of the OCI API.
    pub fn base(&self) -> String {
        format!("http://{}", self.server().address())
    }

    /// `127.0.0.1:<port>` of the OCI API.
    pub fn authority(&self) -> String {
        self.server().address().to_string()
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        match &self.clock {
            Time::Manual(clock) => clock.advance(duration),
            Time::System => panic!("nobody moves the machine's clock"),
        }
    }

    /// Moves the clock forward by seconds.
    pub fn advance_seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// What the clock shows, milliseconds since the epoch.
    pub fn now(&self) -> i64 {
        match &self.clock {
            Time::Manual(clock) => clock.now(),
            Time::System => SystemClock.now(),
        }
    }

    /// Moves the clock by `step` again and again until `condition` is true; panics with `what` if it never is.
    pub async fn as_time_passes<F, Fut>(&self, what: &str, step: Duration, mut condition: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        crate::eventually::eventually(what, || {
            self.advance(step);
            condition()
        })
        .await;
    }

    /// Returns when `condition` is true after the batch of renewals that waits was written, which takes the clock
    /// at most a second or two forward (M15); panics with `what` if it is not true then.
    pub async fn written<F, Fut>(&self, what: &str, mut condition: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        // The second that is running may have begun before the pull.
        for _ in 0..2 {
            self.advance_seconds(1);
            if crate::eventually::holds_within(Duration::from_secs(5), &mut condition).await {
                return;
            }
        }
        panic!("was not written within two seconds: {what}");
    }

    /// Finishes `future` while the clock moves by `step` every few milliseconds.
    pub async fn while_time_passes<F: Future>(&self, step: Duration, future: F) -> F::Output {
        let passing = self.as_time_passes("the work ends", step, || std::future::ready(false));
        tokio::select! {
            output = future => output,
            () = passing => unreachable!("its condition is never true"),
        }
    }

    fn organizations_path(&self) -> PathBuf {
        self.directory().join("organizations.yaml")
    }

    fn write_organizations(&self, organizations: &[Organization]) {
        let entries: Vec<_> = organizations.iter().map(|organization| &organization.0).collect();
        let bundles = self.bundles.lock().unwrap().clone();
        self.write_organizations_file(json!({ "organizations": entries, "caBundles": bundles }).to_string());
    }

    fn write_organizations_file(&self, bytes: impl AsRef<[u8]>) {
        let fresh = self.directory().join("organizations.new");
        std::fs::write(&fresh, bytes).unwrap();
        std::fs::rename(&fresh, self.organizations_path()).unwrap();
    }

    /// Writes an organizations file with these entries and makes the registry load it.
    pub async fn reload(&self, organizations: &[Organization]) {
        self.write_organizations(organizations);
        self.server().reload_now().await;
    }

    /// Writes these bytes as the organizations file and leaves it to the registry to notice.
    pub fn replace_organizations_file(&self, bytes: impl AsRef<[u8]>) {
        self.write_organizations_file(bytes);
    }

    /// Writes these bytes as the organizations file and makes the registry load it.
    pub async fn reload_file(&self, bytes: impl AsRef<[u8]>) {
        self.write_organizations_file(bytes);
        self.server().reload_now().await;
    }

    /// Stops the registry gracefully; everything it keeps stays.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            crate::eventually::soon("the registry stops", server.shutdown()).await;
        }
    }

    /// Stops the registry and starts it again over the same directory. The ports change.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// As [`House::restart`], with another value of one key of config.yaml.
    pub async fn restart_with(&mut self, key: &str, value: Value) {
        self.config[key] = value;
        self.restart().await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_nothing_leaked();
        for suffix in ["", "-wal"] {
            let path = format!("{}{suffix}", self.database_path().display());
            let bytes = std::fs::read(path).unwrap_or_default();
            assert!(!output::betrays(&bytes), "a secret in the database");
        }
    }
}
