//! Tools beside a running server: they ask it through its admin port (O5).

mod prune;
mod scrub;
mod why;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quayside_config::Config;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::form_urlencoded;

use crate::auth::admin::AdminToken;
use crate::gc::Mode;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a tool changes what it finds wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Only says so.
    Leave,
    /// Puts it right.
    PutRight,
}

/// Why a tool has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The port of a server that chooses one itself is not in its configuration.
    #[error(
        "find the server: adminListen has port 0, which stands for any; give it a port and restart the server"
    )]
    Port,
    /// There is no token to be had.
    #[error(transparent)]
    Token(anyhow::Error),
    /// The client could not be set up.
    #[error("set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// Nobody answered there.
    #[error("reach the server on its admin port {address}")]
    Unreachable {
        /// Where it was looked for.
        address: SocketAddr,
        /// Why that failed.
        source: reqwest::Error,
    },
    /// Whoever answered is not a registry of this version.
    #[error("ask the server on its admin port {address}: what answers there does not know this command")]
    Stranger {
        /// Where it was looked for.
        address: SocketAddr,
    },
    /// The server has another token.
    #[error(
        "ask the server on its admin port {address}: it does not accept the admin token of this configuration"
    )]
    Refused {
        /// Where the server is.
        address: SocketAddr,
    },
    /// The server cannot make sense of what was asked.
    #[error("{reason}")]
    Unusable {
        /// What it said.
        reason: String,
    },
    /// The server could not do it.
    #[error("the server gave up: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}

pub use prune::plan_in_words;
pub use why::explanation_in_words;

/// A running server, as its configuration says where to find it.
pub struct RunningServer {
    address: SocketAddr,
    token: AdminToken,
    http: reqwest::Client,
}

impl RunningServer {
    /// Contacts nobody yet.
    pub fn of(config: &Config) -> Result<Self, ToolError> {
        if config.admin_listen.port() == 0 {
            return Err(ToolError::Port);
        }
        let token = AdminToken::of_client(config).map_err(ToolError::Token)?;
        // The admin port is plain HTTP, and never behind a proxy.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .connect_timeout(CONNECT_TIMEOUT)
            .build();
        Ok(Self {
            address: reachable(config.admin_listen),
            token,
            http: http.map_err(ToolError::Client)?,
        })
    }

    /// One pass of garbage collection, or what it would do: `{"dryRun": …, "report": {…}}`.
    pub async fn gc(&self, mode: Mode) -> Result<Value, ToolError> {
        let method = match mode {
            Mode::Run => reqwest::Method::POST,
            Mode::DryRun => reqwest::Method::GET,
        };
        self.ask(method, "gc").await
    }

    /// Compares what is counted with what is there: `{"found": […], "remaining": […]}`.
    pub async fn recount(&self, repair: Repair) -> Result<Value, ToolError> {
        let method = match repair {
            Repair::PutRight => reqwest::Method::POST,
            Repair::Leave => reqwest::Method::GET,
        };
        self.ask(method, "recount").await
    }

    async fn ask(&self, method: reqwest::Method, command: &str) -> Result<Value, ToolError> {
        let url = format!("http://{}/{command}", self.address);
        self.send(self.http.request(method, url)).await
    }

    /// A question with fields, which changes nothing.
    async fn look(&self, command: &str, fields: &[(&str, &str)]) -> Result<Value, ToolError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields);
        let url = format!("http://{}/{command}?{}", self.address, query.finish());
        self.send(self.http.get(url)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, ToolError> {
        let address = self.address;
        let unreachable = |source| ToolError::Unreachable { address, source };
        let request = request.bearer_auth(self.token.secret().expose_secret());
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        let reason = |document: Value| {
            document["error"]
                .as_str()
                .unwrap_or("it does not say why")
                .to_owned()
        };
        match (status.as_u16(), serde_json::from_slice::<Value>(&body)) {
            (200, Ok(document)) => Ok(document),
            (400, Ok(document)) => Err(ToolError::Unusable {
                reason: reason(document),
            }),
            (401, _) => Err(ToolError::Refused { address }),
            (500 | 503, Ok(document)) => Err(ToolError::Failed {
                reason: reason(document),
            }),
            _ => Err(ToolError::Stranger { address }),
        }
    }
}

/// Who listens on every address is found on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O5: the address comes from the configuration, which may say "all of them".
    #[test]
    fn finds_a_server_that_listens_everywhere() {
        for (listen, found) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("192.0.2.1:9090", "192.0.2.1:9090"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), found.parse().unwrap());
        }
    }
}
