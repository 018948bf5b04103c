//! The distribution registry, in both versions that are in use, as an upstream.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tokenserver::{Account, ISSUER, TokenServer};
use crate::tools::{self, Daemon};

mod push;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// Debian's `docker-registry` 2.8.
    Two,
    /// distribution 3.1.
    Three,
}

/// Whom it lets in.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// Everybody.
    Anonymous,
    /// One account, by Basic authentication.
    Htpasswd(&'a Account),
    /// Who brings a token of this service.
    Tokens(&'a TokenServer),
}

/// A running registry with a directory of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Distribution {
    edition: Edition,
    home: TempDir,
    config: Value,
    address: SocketAddr,
    program: Option<Daemon>,
}

impl Distribution {
    /// Starts an empty registry on a free port and waits until it listens.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub async fn start(edition: Edition, access: Access<'_>) -> Self {
        let home = tempfile::tempdir().expect("make a directory for a registry");
        let mut config = json!({
            "version": "0.1",
            "log": { "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": home.path().join("storage") }, "delete": { "enabled": true } },
            "http": { "addr": "127.0.0.1:0", "secret": "only for uploads that span servers" },
        });
        if let Some(auth) = auth(access, &home) {
            config["auth"] = auth;
        }
        Self::launch(edition, home, config).await
    }

    /// Starts a registry that is a pull-through cache of another one.
    ///
    /// # Panics
    /// As [`Distribution::start`].
    pub async fn start_in_front_of(upstream: SocketAddr) -> Self {
        let home = tempfile::tempdir().expect("make a directory for a registry");
        let config = json!({
            "version": "0.1",
            "log": { "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": home.path().join("storage") } },
            "proxy": { "remoteurl": format!("http://{upstream}"), "ttl": "1h" },
            "http": { "addr": "127.0.0.1:0", "secret": "only for uploads that span servers" },
        });
        Self::launch(Edition::Three, home, config).await
    }

    async fn launch(edition: Edition, home: TempDir, config: Value) -> Self {
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut registry = Self {
            edition,
            home,
            config,
            address: unbound,
            program: None,
        };
        registry.switch_on().await;
        registry
    }

    /// Where it listens; stays the same when it is switched off and on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it.
    pub fn switch_off(&mut self) {
        self.program = None;
    }

    /// Starts it again with what it holds.
    ///
    /// # Panics
    /// As [`Distribution::start`].
    pub async fn switch_on(&mut self) {
        let file = self.home.path().join("config.yml");
        self.config["http"]["addr"] = json!(self.address.to_string());
        std::fs::write(&file, self.config.to_string()).expect("write the configuration of a registry");
        let mut command = tools::command(&self.binary());
        command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
        let program = Daemon::start(command);
        let line = program.line("listening on ").await;
        let (_, rest) = line
            .split_once("listening on ")
            .expect("the marker that was waited for");
        let address = rest.split('"').next().unwrap_or_default();
        self.address = address
            .parse()
            .unwrap_or_else(|error| panic!("address in {line:?}: {error}"));
        self.program = Some(program);
    }

    fn binary(&self) -> PathBuf {
        match self.edition {
            Edition::Two => tools::system("docker-registry"),
            Edition::Three => tools::built("distribution"),
        }
    }
}

fn auth(access: Access<'_>, home: &TempDir) -> Option<Value> {
    match access {
        Access::Anonymous => None,
        Access::Htpasswd(Account { name, password }) => {
            let file = home.path().join("htpasswd");
            // The cheapest cost: every request of a Basic client is hashed anew.
            let hash = bcrypt::hash(password, 4).expect("hash a password");
            std::fs::write(&file, format!("{name}:{hash}\n")).expect("write htpasswd");
            Some(json!({ "htpasswd": { "realm": "lab", "path": file } }))
        }
        Access::Tokens(service) => {
            let file = home.path().join("tokens.crt");
            std::fs::write(&file, service.certificate()).expect("write a certificate");
            Some(json!({ "token": {
                "realm": service.realm(), "service": ISSUER, "issuer": ISSUER, "rootcertbundle": file,
            } }))
        }
    }
}
