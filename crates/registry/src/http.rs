//! The HTTP side: connections, routes, headers, errors. The only place that knows status codes.

pub(crate) mod admin;
pub(crate) mod answer;
pub(crate) mod blobs;
pub(crate) mod body;
pub(crate) mod conditional;
pub(crate) mod context;
pub(crate) mod count;
pub(crate) mod error;
pub(crate) mod headguard;
pub(crate) mod listing;
pub(crate) mod manifests;
pub(crate) mod peer;
pub(crate) mod range;
pub(crate) mod referrers;
pub(crate) mod serve;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod v2;

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

use crate::auth::{AuthError, Authenticator, Caller, address};
use crate::metrics::Metrics;
use crate::organizations::Snapshot;
use crate::pull::Engine;
use body::Body;

pub(crate) type Response = http::Response<Body>;

/// What requests are answered with.
pub(crate) struct Front {
    pub(crate) engine: Arc<Engine>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) authenticator: Authenticator,
    /// `<scheme>://<SERVER_HOSTNAME>/v2/auth` (A1).
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) trusted_networks: Vec<IpNet>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) ids: RequestIds,
}

impl Front {
    /// Who sent a request.
    pub(crate) async fn caller(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, AuthError> {
        let client = self.client(headers, peer);
        let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::to_str);
        let authorization = authorization.transpose().map_err(|_| AuthError::Malformed)?;
        let (who, proof) = self.authenticator.identify(authorization, client).await?;
        Ok(Caller {
            who,
            proof,
            trusted: self.is_trusted(client),
        })
    }

    /// From which address a request comes: the peer's, or what a trusted proxy says (A2).
    pub(crate) fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        address::client(peer, forwarded, &self.trusted_proxies)
    }

    /// Whether a client's address lies in `trustedNetworks` (A8).
    pub(crate) fn is_trusted(&self, client: IpAddr) -> bool {
        address::contains(&self.trusted_networks, client)
    }
}

/// Request ids: a prefix of this process and a counter.
pub(crate) struct RequestIds {
    prefix: u32,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self {
            prefix: uuid::Uuid::new_v4().as_fields().0,
            next: AtomicU64::new(1),
        }
    }
}

/// The id of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestId(u32, u64);

impl RequestIds {
    pub(crate) fn next(&self) -> RequestId {
        RequestId(self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl RequestId {
    /// As the value of `X-Request-Id`.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        let mut text = [0; 25];
        let mut rest = &mut text[..];
        write!(rest, "{self}").ok()?;
        let unused = rest.len();
        HeaderValue::from_bytes(&text[..text.len() - unused]).ok()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:08x}-{:x}", self.0, self.1)
    }
}
