//! What all upstreams share: connection pools, address policy, timeouts.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::address::AddressPolicy;
use crate::environment::{Environment, Gate};
use crate::error::BuildError;
use crate::observer::Observer;
use crate::resolve::Resolver;
use crate::upstream::Upstream;

pub(crate) mod authenticate;
pub(crate) mod redirect;
pub(crate) mod send;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_mins(1);
/// How many unused connections are kept to one host.
const IDLE_PER_HOST: usize = 16;
/// How often the other end of an HTTP/2 connection has to prove that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What holds for every upstream.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limit of name resolution, TCP and TLS handshake together.
    pub connect_timeout: Duration,
    /// Limit of the time without a byte, for a head and within a body.
    pub read_timeout: Duration,
    /// Which addresses may be dialled (A7).
    pub allowed: AddressPolicy,
    /// The `User-Agent` that upstreams see.
    pub user_agent: String,
    /// Who hears of what happens on the wire (O1).
    pub observer: Observer,
}

/// One upstream registry as the configuration names it.
#[derive(Clone)]
pub struct Spec {
    /// Name or literal (an IPv6 literal with or without brackets), already without aliases (N2).
    pub host: String,
    /// Port, if it is not the scheme's own.
    pub port: Option<u16>,
    /// Speak HTTP instead of HTTPS.
    pub plain_http: bool,
    /// PEM certificates that are trusted in addition to the machine's.
    pub ca_bundle: Option<Arc<str>>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// User name and password.
    pub credentials: Option<(String, SecretString)>,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("plain_http", &self.plain_http)
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .field("credentials", &self.credentials.is_some())
            .finish_non_exhaustive()
    }
}

/// What makes two upstreams unable to share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TlsKey {
    ca_bundle: Option<Arc<str>>,
    insecure_skip_verify: bool,
}

/// Makes [`Upstream`]s that share connections wherever their TLS settings are the same.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    environment: Environment,
    gate: Result<Arc<Gate>, &'static str>,
    pools: Mutex<HashMap<TlsKey, Weak<reqwest::Client>>>,
}

impl Client {
    /// Uses the proxies of the process environment (U3).
    pub fn new(settings: Settings) -> Self {
        Self::with_environment(settings, Environment::of_process())
    }

    /// As [`new`](Self::new) with what surrounds the process given explicitly.
    pub fn with_environment(settings: Settings, environment: Environment) -> Self {
        let gate = Gate::new(settings.allowed.clone(), &environment.proxies).map(Arc::new);
        let inner = Inner {
            settings,
            environment,
            gate,
            pools: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Prepares an upstream. Contacts nobody, and does not look at the address policy: a forbidden
    /// upstream is an upstream whose every use fails (A7).
    pub fn upstream(&self, spec: Spec) -> Result<Upstream, BuildError> {
        let gate = self
            .inner
            .gate
            .clone()
            .map_err(|variable| BuildError::Proxy { variable })?;
        let base = base_url(&spec)?;
        let key = TlsKey {
            ca_bundle: spec.ca_bundle.clone(),
            insecure_skip_verify: spec.insecure_skip_verify,
        };
        let http = self.pool(key, &gate)?;
        let sender = send::Sender {
            http,
            gate,
            connect_timeout: self.inner.settings.connect_timeout,
            read_timeout: self.inner.settings.read_timeout,
            drip: self.inner.environment.drip,
            observer: self.inner.settings.observer.clone(),
        };
        Ok(Upstream::assemble(sender, base, spec.credentials))
    }

    fn pool(&self, key: TlsKey, gate: &Arc<Gate>) -> Result<Arc<reqwest::Client>, BuildError> {
        let mut pools = self.inner.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = pools.get(&key).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let built = Arc::new(self.build(&key, gate)?);
        pools.insert(key, Arc::downgrade(&built));
        Ok(built)
    }

    fn build(&self, key: &TlsKey, gate: &Arc<Gate>) -> Result<reqwest::Client, BuildError> {
        let mut extra = Vec::new();
        if let Some(pem) = &key.ca_bundle {
            extra = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| {
                BuildError::CaBundle {
                    reason: send::innermost(&error),
                }
            })?;
            if extra.is_empty() {
                return Err(BuildError::CaBundle {
                    reason: "it holds no certificate".to_owned(),
                });
            }
        }
        let builder = |trust: Trust| {
            let builder = self.builder(gate);
            match trust {
                Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
                Trust::Machine if extra.is_empty() => builder,
                Trust::Machine => builder.tls_certs_merge(extra.clone()),
                Trust::Nothing => builder.tls_certs_only([]),
            }
        };
        let trust = if key.insecure_skip_verify {
            Trust::Anything
        } else {
            Trust::Machine
        };
        let built = builder(trust)
            .build()
            .map_err(|source| BuildError::Client { source });
        match (built, trust) {
            // A machine without any certificates can still use upstreams that need none.
            (Err(reason), Trust::Machine) if extra.is_empty() => {
                tracing::warn!(%reason, "no certificates to trust: TLS upstreams will fail");
                builder(Trust::Nothing)
                    .build()
                    .map_err(|source| BuildError::Client { source })
            }
            (built, _) => built,
        }
    }

    fn builder(&self, gate: &Arc<Gate>) -> reqwest::ClientBuilder {
        let resolver = Resolver::new(gate.clone(), self.inner.environment.resolve.clone());
        let mut builder = reqwest::Client::builder()
            .user_agent(self.inner.settings.user_agent.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.inner.settings.connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .dns_resolver(Arc::new(resolver))
            .no_proxy();
        for proxy in gate.proxies() {
            builder = builder.proxy(proxy);
        }
        builder
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Copy)]
enum Trust {
    Machine,
    Anything,
    Nothing,
}

/// `scheme://host[:port]/` of an upstream.
fn base_url(spec: &Spec) -> Result<Url, BuildError> {
    let scheme = if spec.plain_http { "http" } else { "https" };
    let host = match spec.host.parse::<std::net::Ipv6Addr>() {
        Ok(literal) => format!("[{literal}]"),
        Err(_) => spec.host.clone(),
    };
    let port = spec.port.map(|port| format!(":{port}")).unwrap_or_default();
    let fault = |source| BuildError::Host {
        host: spec.host.clone(),
        source,
    };
    if host.contains(['/', '\\', '?', '#', '@']) {
        return Err(fault(url::ParseError::InvalidDomainCharacter));
    }
    Url::parse(&format!("{scheme}://{host}{port}/")).map_err(fault)
}
