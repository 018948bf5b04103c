//! config.yaml: what an administrator decides for one registry (SPEC C1; DESIGN, "The two files").

mod access;
mod database;
mod network;
mod storage;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

pub use access::{Admin, Auth, User};
pub use database::{Database, Peer};
pub use network::{AllowedHost, Scheme, Tls, UpstreamSettings};
pub use storage::{Filesystem, S3, S3KeyFiles, Spool, Storage};
pub use workers::Gc;

use crate::fault::{Fault, Faults};
use crate::kind::{ADDRESS, FLAG, NETWORK, PATH, SECONDS};
use crate::section::{self, Findings, Key, Section};
use crate::tree;

/// The settings of one registry, complete: what the file leaves out has its default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether upstreams are contacted at all (C2).
    pub feature_proxy_cache: bool,
    /// Whether quotas are enforced (Q1).
    pub feature_quota_management: bool,
    /// `host[:port]` under which clients reach this registry: realm, service and audience of tokens.
    pub server_hostname: String,
    /// The scheme of the realm (A1).
    pub preferred_url_scheme: Scheme,
    /// Where the OCI API and the token service listen.
    pub listen: SocketAddr,
    /// Where probes, metrics and administration listen.
    pub admin_listen: SocketAddr,
    /// The certificate of `listen` (C6); `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// The organizations file (C3).
    pub organizations_file: PathBuf,
    /// Where metadata is kept.
    pub database: Database,
    /// Where blobs are kept.
    pub storage: Storage,
    /// Where the other processes that share the database fetch what this one is receiving (B2); `None` when the
    /// database is of one process.
    pub peer: Option<Peer>,
    /// Who may log in.
    pub auth: Auth,
    /// Access to the admin port.
    pub admin: Admin,
    /// Who may pull from `visibility: Internal` without credentials (A8).
    pub trusted_networks: Vec<IpNet>,
    /// Whose `X-Forwarded-For` is believed (A2).
    pub trusted_proxies: Vec<IpNet>,
    /// How upstreams are contacted, and which ones may be.
    pub upstream: UpstreamSettings,
    /// The rhythm of collection.
    pub gc: Gc,
    /// How long a stopping server still accepts after readiness went false (O1).
    pub drain: Duration,
    /// How long a stopping server waits for running transfers (O1).
    pub shutdown: Duration,
}

impl Config {
    /// Reads config.yaml. Unknown keys and bad values are refused, all of them at once (C1).
    pub fn parse(yaml: &str) -> Result<Self, Faults> {
        let node = tree::parse(yaml).map_err(|error| {
            Faults(vec![Fault {
                path: String::new(),
                message: error.to_string(),
            }])
        })?;
        let mut findings = Findings::default();
        let config = section::read(&node, "", &mut findings, read).flatten();
        let Findings {
            mut faults,
            mut unknown,
        } = findings;
        faults.append(&mut unknown);
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(Faults(faults)),
        }
    }
}

/// The JSON Schema (draft 2020-12) of config.yaml.
pub fn schema() -> Value {
    let mut schema = section::describe(read);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Quayside config.yaml");
    schema
}

fn read(root: &mut Section<'_>) -> Option<Config> {
    let (feature_proxy_cache, feature_quota_management) = read_features(root);
    let server_hostname = root.required(
        Key(
            "SERVER_HOSTNAME",
            "host[:port] under which clients reach this registry.",
        ),
        &network::SERVER_HOSTNAME,
    );
    let preferred_url_scheme = root.defaulted(
        Key(
            "PREFERRED_URL_SCHEME",
            "The scheme under which clients reach this registry.",
        ),
        &network::SCHEME,
        "https",
    );
    let (listen, admin_listen) = read_listeners(root);
    let tls = root.optional_section(
        Key(
            "tls",
            "The certificate of `listen`. Without this section `listen` is plain HTTP.",
        ),
        network::read_tls,
    );
    let organizations_file = root.defaulted(
        Key(
            "organizationsFile",
            "The organizations file, YAML or gzipped YAML. Read again when it changes.",
        ),
        &PATH,
        "/etc/quayside/organizations/organizations.yaml",
    );
    let database = root.section(
        Key("database", "Where metadata is kept."),
        database::read_database,
    );
    let database = database.flatten();
    let storage = root.section(Key("storage", "Where blobs are kept."), storage::read_storage);
    let peer = read_peer(root, database.as_ref(), [listen, admin_listen]);
    let auth = root.section(Key("auth", "Who may log in."), access::read_auth);
    let admin = root.section(Key("admin", "Access to the admin port."), access::read_admin);
    let trusted_networks = root.values(
        Key(
            "trustedNetworks",
            "Networks that may pull from organizations with `visibility: Internal` without credentials.",
        ),
        &NETWORK,
    );
    let trusted_proxies = root.values(
        Key(
            "trustedProxies",
            "Networks of the proxies whose X-Forwarded-For is believed.",
        ),
        &NETWORK,
    );
    let upstream = root.section(
        Key("upstream", "How upstreams are contacted, and which ones may be."),
        network::read_upstream,
    );
    let gc = root.section(Key("gc", "The rhythm of garbage collection."), workers::read_gc);
    let (drain, shutdown) = read_stopping(root);
    Some(Config {
        feature_proxy_cache: feature_proxy_cache?,
        feature_quota_management: feature_quota_management?,
        server_hostname: server_hostname?,
        preferred_url_scheme: preferred_url_scheme?,
        listen: listen?,
        admin_listen: admin_listen?,
        tls,
        organizations_file: organizations_file?,
        database: database?,
        storage: storage.flatten()?,
        peer,
        auth: auth?,
        admin: admin?,
        trusted_networks,
        trusted_proxies,
        upstream: upstream.flatten()?,
        gc: gc.flatten()?,
        drain: drain?,
        shutdown: shutdown?,
    })
}

fn read_listeners(root: &mut Section<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let listen = root.defaulted(
        Key("listen", "address:port of the OCI API and the token service."),
        &ADDRESS,
        "0.0.0.0:8080",
    );
    let admin_listen = root.defaulted(
        Key(
            "adminListen",
            "address:port of probes, metrics and administration.",
        ),
        &ADDRESS,
        "0.0.0.0:9090",
    );
    if let (Some(public), Some(admin)) = (listen, admin_listen)
        && public.port() != 0
        && public == admin
    {
        root.fault("adminListen", "must differ from listen");
    }
    (listen, admin_listen)
}

/// Read in any case; of use to processes that share a database.
fn read_peer(
    root: &mut Section<'_>,
    database: Option<&Database>,
    others: [Option<SocketAddr>; 2],
) -> Option<Peer> {
    let peer = root.section(
        Key(
            "peer",
            "Where the other processes that share the database fetch what this one is receiving.",
        ),
        database::read_peer,
    );
    if matches!(database, Some(Database::Sqlite { .. })) {
        if root.has("peer") {
            root.fault(
                "peer",
                "needs database.postgres: an SQLite database is of one process",
            );
        }
        return None;
    }
    let peer = peer.flatten()?;
    let taken = |other: &Option<SocketAddr>| *other == Some(peer.listen) && peer.listen.port() != 0;
    if others.iter().any(taken) {
        root.fault("peer.listen", "must differ from listen and adminListen");
    }
    Some(peer)
}

fn read_features(root: &mut Section<'_>) -> (Option<bool>, Option<bool>) {
    let feature_proxy_cache = root.defaulted(
        Key(
            "FEATURE_PROXY_CACHE",
            "Whether organizations fetch from their upstreams. Off: only live cached content is served.",
        ),
        &FLAG,
        false,
    );
    let feature_quota_management = root.defaulted(
        Key(
            "FEATURE_QUOTA_MANAGEMENT",
            "Whether the storage quotas of organizations are enforced.",
        ),
        &FLAG,
        false,
    );
    (feature_proxy_cache, feature_quota_management)
}

fn read_stopping(root: &mut Section<'_>) -> (Option<Duration>, Option<Duration>) {
    let drain = root.defaulted(
        Key(
            "drainSeconds",
            "How long a stopping server still accepts connections after it stopped being ready.",
        ),
        &SECONDS,
        0,
    );
    let shutdown = root.defaulted(
        Key(
            "shutdownSeconds",
            "How long a stopping server waits for running transfers.",
        ),
        &SECONDS,
        300,
    );
    (drain, shutdown)
}
