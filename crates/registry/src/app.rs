//! Puts the parts together; the one place that sees all of them.

mod peer_listener;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::FutureExt as _;
use quayside_config::{AllowedHost, Config, Scheme, Storage, UpstreamSettings};
use quayside_metadata::Metadata;
use quayside_upstream::{AddressPolicy, Client, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::auth::admin::AdminToken;
use crate::auth::key::SigningKeys;
use crate::auth::passwords::Passwords;
use crate::auth::peer::PeerTokens;
use crate::auth::token::Tokens;
use crate::clock::{Clock, Millis, millis};
use crate::gc::Gc;
use crate::http::admin::Admin;
use crate::http::peer::PeerPort;
use crate::http::serve::{Listener, Stop};
use crate::http::tls::{self, Certificates};
use crate::http::{Front, RequestIds, serve};
use crate::leader::Leader;
use crate::metrics::Metrics;
use crate::open::{self, Patience, Places};
use crate::organizations::Snapshot;
use crate::pull::background::{self, Filler, Nudges};
use crate::pull::backoff::Backoffs;
use crate::pull::flights::Flights;
use crate::pull::outage::Outage;
use crate::pull::passthrough::Gates;
use crate::pull::peer::Peers;
use crate::pull::readers::{self, Readers};
use crate::pull::renewals::Renewals;
use crate::pull::replica::silent_since;
use crate::pull::replica::{self, Replica};
use crate::pull::running::Running;
use crate::pull::stored::Delivery;
use crate::pull::warm::Warm;
use crate::pull::{Contact, Engine, Quotas};
use crate::reload::{INTERVAL, Loader};
use crate::scrub::Scrub;
use crate::storage_id::Pair;
use peer_listener::PeerListener;

const USER_AGENT: &str = concat!("quayside/", env!("CARGO_PKG_VERSION"));

/// How long the database may take over the last that is written. What ends a process that does not end by itself comes
/// soon after.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// A running registry. Dropping it leaves its tasks running; end it with [`Server::shutdown`].
pub struct Server {
    address: SocketAddr,
    admin_address: SocketAddr,
    peer_address: Option<SocketAddr>,
    engine: Arc<Engine>,
    loader: Arc<Loader>,
    gc: Arc<Gc>,
    admin: Arc<Admin>,
    drain: Duration,
    patience: Duration,
    /// Ends the accept loops.
    stop: CancellationToken,
    /// Ends the connections.
    cut: CancellationToken,
    /// Ends what runs for as long as the process does.
    end: CancellationToken,
    /// Ends the connections of other replicas that are not being sent anything.
    peers_end: CancellationToken,
    connections: TaskTracker,
    peer_connections: TaskTracker,
    workers: TaskTracker,
}

impl Server {
    /// Starts everything that `config` asks for; returns once both ports accept connections. A missing or bad
    /// organizations file is not fatal (C3).
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let peer_listener = PeerListener::bind(&config).await?;
        let (engine, nudges, keys) = engine(&config, clock, peer_listener.as_ref()).await?;
        let metrics = Arc::new(Metrics::new());
        let front = front(&config, &engine, &snapshot, &metrics, &keys)?;
        let client = Client::new(upstream_settings(&config.upstream, &metrics));
        let loader = Arc::new(Loader::new(
            config.organizations_file.clone(),
            Arc::clone(&engine),
            client,
            Arc::clone(&snapshot),
            Arc::clone(&metrics),
        ));
        loader.load().await;
        let tls = config.tls.as_ref().map(Certificates::load).transpose();
        let certificates = tls.context("set up TLS")?.map(Arc::new);
        let listener = bind(config.listen).await?;
        let admin_listener = bind(config.admin_listen).await?;
        let gc = Gc::new(
            Arc::clone(&engine),
            Arc::clone(&snapshot),
            Arc::clone(&metrics),
            config.gc.interval,
        );
        let gc = Arc::new(gc);
        let server = Self {
            gc: Arc::clone(&gc),
            address: listener.local_addr()?,
            admin_address: admin_listener.local_addr()?,
            peer_address: peer_listener.as_ref().map(|peer| peer.bound),
            admin: Arc::new(Admin {
                engine: Arc::clone(&engine),
                front: Arc::clone(&front),
                snapshot: Arc::clone(&snapshot),
                metrics,
                gc,
                scrub: Scrub::new(Arc::clone(&engine)),
                token: AdminToken::of_server(&config)?,
                stopping: AtomicBool::new(false),
            }),
            engine,
            loader,
            drain: config.drain,
            patience: config.shutdown,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            end: CancellationToken::new(),
            peers_end: CancellationToken::new(),
            connections: TaskTracker::new(),
            peer_connections: TaskTracker::new(),
            workers: TaskTracker::new(),
        };
        server.spawn_workers(snapshot, nudges);
        server.listen(listener, certificates, front);
        server.listen_to_administrators(admin_listener);
        server.listen_to_peers(peer_listener);
        Ok(server)
    }

    fn listen(&self, tcp: TcpListener, certificates: Option<Arc<Certificates>>, front: Arc<Front>) {
        if let Some(certificates) = certificates.clone() {
            let clock = Arc::clone(&self.engine.clock);
            self.work(async move {
                loop {
                    clock.sleep(tls::INTERVAL).await;
                    certificates.reload();
                }
            });
        }
        let listener = Listener { tcp, certificates };
        let stop = Stop {
            accepting: self.stop.clone(),
            serving: self.cut.clone(),
        };
        tokio::spawn(serve::run(listener, front, stop, self.connections.clone()));
    }

    /// Probes are answered to the very end: a pod that finishes its transfers is alive.
    fn listen_to_administrators(&self, tcp: TcpListener) {
        let listener = Listener {
            tcp,
            certificates: None,
        };
        let stop = Stop {
            accepting: self.end.clone(),
            serving: self.end.clone(),
        };
        let admin = Arc::clone(&self.admin);
        tokio::spawn(serve::run(listener, admin, stop, TaskTracker::new()));
    }

    /// Other replicas follow the fills of this one for as long as there are any.
    fn listen_to_peers(&self, listener: Option<PeerListener>) {
        let Some(PeerListener { tcp, .. }) = listener else {
            return;
        };
        let listener = Listener {
            tcp,
            certificates: None,
        };
        let stop = Stop {
            accepting: self.peers_end.clone(),
            serving: self.cut.clone(),
        };
        let port = PeerPort(Arc::clone(&self.engine));
        tokio::spawn(serve::run(listener, port, stop, self.peer_connections.clone()));
        self.work(replica::keep_alive(Arc::clone(&self.engine)));
    }

    fn spawn_workers(&self, snapshot: Arc<ArcSwap<Snapshot>>, nudges: Nudges) {
        let engine = Arc::clone(&self.engine);
        self.work(async move { engine.renewals.run(&engine.metadata).await });
        if self.engine.delivery != Delivery::Files {
            self.work(readers::keep(Arc::clone(&self.engine)));
        }
        if self.engine.contact == Contact::Allowed {
            // Nothing is filled in the background while the last transfers finish.
            self.work_until(
                self.stop.clone(),
                Filler::new(Arc::clone(&self.engine), snapshot).run(nudges),
            );
        }
        let engine = Arc::clone(&self.engine);
        self.work(async move { engine.leader.keep().await });
        let gc = Arc::clone(&self.gc);
        self.work(async move { gc.run().await });
        let loader = Arc::clone(&self.loader);
        self.work(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                loader.load().await;
            }
        });
    }

    fn work(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.work_until(self.end.clone(), work);
    }

    fn work_until(&self, end: CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
        self.workers.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Where the OCI API is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the probes are served.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where other replicas read the fills of this one.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    /// What sweeps, collects and deletes.
    pub fn gc(&self) -> Arc<Gc> {
        Arc::clone(&self.gc)
    }

    /// Reads the organizations file at once instead of at the next tick.
    pub async fn reload_now(&self) {
        self.loader.load().await;
    }

    /// Turns unready, drains, stops accepting, finishes transfers for up to `shutdownSeconds`, writes what waits.
    pub async fn shutdown(self) {
        self.admin.stopping.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.drain).await;
        self.stop.cancel();
        self.connections.close();
        self.engine.running.drop_unattended();
        let finished = async {
            self.connections.wait().await;
            self.engine.running.finish().await;
            self.peers_end.cancel();
            self.peer_connections.close();
            self.peer_connections.wait().await;
        };
        if tokio::time::timeout(self.patience, finished).await.is_err() {
            let (connections, fills) = (self.connections.len(), self.engine.running.count());
            tracing::warn!(connections, fills, "stopping with transfers unfinished");
        }
        self.engine.running.cut().await;
        self.peers_end.cancel();
        self.cut.cancel();
        self.connections.wait().await;
        self.end.cancel();
        self.workers.close();
        self.workers.wait().await;
        let last = async {
            self.engine.renewals.flush(&self.engine.metadata).await;
            self.engine.give_back_leases().await;
        };
        if tokio::time::timeout(LAST_WORDS, last).await.is_err() {
            tracing::warn!("stopping without an answer of the database: the last renewals may be lost");
        }
        self.engine.metadata.close().await;
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

async fn engine(
    config: &Config,
    clock: Arc<dyn Clock>,
    peer: Option<&PeerListener>,
) -> anyhow::Result<(Arc<Engine>, Nudges, SigningKeys)> {
    let places = Places::of(config)?;
    let metadata = open::database(config, &places, Patience::SERVER).await?;
    let store = open::storage(config, &places, Patience::SERVER).await?;
    tracing::info!(database = places.database, storage = places.storage, "opened");
    let pair = Pair {
        store: &store,
        metadata: &metadata,
        places,
    };
    let place = pair.places.storage.clone();
    Patience::SERVER.open(&place, || pair.check().boxed()).await?;
    let abandoned = give_up_fills(&metadata, clock.now(), config.gc.grace).await?;
    if abandoned > 0 {
        tracing::info!(abandoned, "fills of the last run became garbage");
    }
    let keys = signing_keys(config, &metadata).await?;
    let peers = Peers::new(PeerTokens::new(&keys)).context("set up the client of the peer port")?;
    let address = peer.and_then(|peer| peer.advertised.clone());
    let (background, nudges) = background::channel();
    let replica = Replica::new(address, peers);
    let leader = Leader::new(metadata.clone(), replica.id.clone(), Arc::clone(&clock));
    let engine = Engine {
        replica,
        leader,
        metadata,
        store,
        clock,
        contact: if config.feature_proxy_cache {
            Contact::Allowed
        } else {
            Contact::Never
        },
        quotas: if config.feature_quota_management {
            Quotas::Enforced
        } else {
            Quotas::Counted
        },
        grace: config.gc.grace,
        delivery: delivery(&config.storage),
        readers: Readers::default(),
        outage: Outage::default(),
        warm: Warm::new(config.gc.grace),
        renewals: Renewals::default(),
        backoffs: Backoffs::default(),
        tag_flights: Flights::default(),
        digest_flights: Flights::default(),
        blob_flights: Flights::default(),
        referrer_flights: Flights::default(),
        running: Running::default(),
        passthrough: Gates::default(),
        background,
    };
    Ok((Arc::new(engine), nudges, keys))
}

fn delivery(storage: &Storage) -> Delivery {
    match storage {
        Storage::Filesystem(_) => Delivery::Files,
        Storage::S3(s3) if s3.redirect => Delivery::Redirected,
        Storage::S3(_) => Delivery::Streamed,
    }
}

/// Those of the last run, where no other process can have any; else those that nobody renewed.
async fn give_up_fills(metadata: &Metadata, now: Millis, grace: Duration) -> anyhow::Result<u64> {
    let not_before = now.saturating_add(millis(grace));
    let given_up = if metadata.is_shared() {
        metadata
            .expire_fills(silent_since(metadata, now), not_before)
            .await
    } else {
        metadata.abandon_all_fills(not_before).await
    };
    given_up.context("give up the fills of the last run")
}

async fn signing_keys(config: &Config, metadata: &Metadata) -> anyhow::Result<SigningKeys> {
    let Some(path) = &config.auth.signing_key_file else {
        return SigningKeys::of_database(metadata).await;
    };
    let text = tokio::fs::read_to_string(path)
        .await
        .with_context(|| format!("read {}", path.display()))?;
    SigningKeys::parse(&text).with_context(|| format!("read the signing keys in {}", path.display()))
}

fn front(
    config: &Config,
    engine: &Arc<Engine>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    metrics: &Arc<Metrics>,
    keys: &SigningKeys,
) -> anyhow::Result<Arc<Front>> {
    let scheme = match config.preferred_url_scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let tokens = Tokens::new(keys, config.server_hostname.clone());
    let (users, clock) = (config.auth.users.clone(), Arc::clone(&engine.clock));
    let passwords = Passwords::new(users, Arc::clone(snapshot), Arc::clone(&clock))?;
    Ok(Arc::new(Front {
        engine: Arc::clone(engine),
        snapshot: Arc::clone(snapshot),
        metrics: Arc::clone(metrics),
        authenticator: Authenticator::new(clock, tokens, passwords),
        realm: format!("{scheme}://{}/v2/auth", config.server_hostname),
        service: config.server_hostname.clone(),
        trusted_networks: config.trusted_networks.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        ids: RequestIds::default(),
    }))
}

fn upstream_settings(settings: &UpstreamSettings, metrics: &Metrics) -> Settings {
    let (mut names, mut networks) = (Vec::new(), Vec::new());
    for allowed in &settings.allowed_hosts {
        match allowed {
            AllowedHost::Name(name) => names.push(name.clone()),
            AllowedHost::Net(network) => networks.push(*network),
        }
    }
    Settings {
        connect_timeout: settings.connect_timeout,
        read_timeout: settings.read_timeout,
        allowed: AddressPolicy::new(&names, &networks),
        user_agent: USER_AGENT.to_owned(),
        observer: metrics.observer(),
    }
}
