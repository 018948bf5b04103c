//! The registry over a database of some size: configured, started, asked as its tools ask.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shape::{BIG, Shape};
use crate::process::Process;
use crate::site::{Link, Site, write};
use crate::stage::Stage;
use crate::subject::await_answer;

/// Seconds between two passes that nobody asked for: more than a measurement takes.
const NEVER: u64 = 100_000;

/// What differs between the starts of one registry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    /// Of the big organization, in bytes.
    pub(super) quota: Option<i64>,
    /// Between release, collection and deletion; `None`: the default.
    pub(super) grace_seconds: Option<u64>,
}

/// The directory of a registry.
pub(super) struct Home {
    directory: PathBuf,
    shape: Shape,
    address: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
}

impl Home {
    pub(super) fn new(site: &Site, shape: Shape) -> anyhow::Result<Self> {
        Ok(Self {
            directory: site.directory("scale")?,
            shape,
            address: site.address(),
            admin: site.address(),
            upstream: site.upstream(Link::Loopback),
        })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.join("quayside.db")
    }

    pub(super) fn storage(&self) -> PathBuf {
        self.directory.join("blobs")
    }

    /// Starts it, and says how long that took: until it answers.
    pub(super) fn start(&self, settings: Settings) -> anyhow::Result<(Running, Duration)> {
        let config = self.configure(settings)?;
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(program.with_file_name("quayside-registry"));
        command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .env_remove("RUST_LOG");
        let begun = Instant::now();
        let mut process = Process::start("quayside", command, &self.directory)?;
        await_answer(&mut process, self.address)?;
        let took = begun.elapsed();
        let token =
            std::fs::read_to_string(self.directory.join("admin.token")).context("read the admin token")?;
        let running = Running {
            process,
            address: self.address,
            admin: self.admin,
            token: token.trim().to_owned(),
        };
        Ok((running, took))
    }

    fn configure(&self, settings: Settings) -> anyhow::Result<PathBuf> {
        let organization = |name: &String| {
            let mut entry = json!({
                "name": name,
                "remoteRegistry": self.upstream.to_string(),
                "tls": { "plainHttp": true },
                "visibility": "Internal",
                "backgroundFill": false,
                "revalidateSeconds": 86_400,
            });
            if let (Some(quota), BIG) = (settings.quota, name.as_str()) {
                entry["storageQuotaBytes"] = json!(quota);
            }
            entry
        };
        let organizations: Vec<Value> = self.shape.organizations().iter().map(organization).collect();
        let organizations = json!({ "organizations": organizations });
        let mut config = json!({
            "FEATURE_PROXY_CACHE": true,
            "FEATURE_QUOTA_MANAGEMENT": settings.quota.is_some(),
            "SERVER_HOSTNAME": self.address.to_string(),
            "PREFERRED_URL_SCHEME": "http",
            "listen": self.address.to_string(),
            "adminListen": self.admin.to_string(),
            "organizationsFile": write(&self.directory, "organizations.yaml", &organizations.to_string())?,
            "database": { "sqlite": { "path": self.database() } },
            "storage": { "filesystem": { "path": self.storage() } },
            "gc": { "intervalSeconds": NEVER },
            "trustedNetworks": ["127.0.0.0/8"],
            "upstream": { "allowedHosts": ["127.0.0.0/8"] },
        });
        if let Some(grace) = settings.grace_seconds {
            config["gc"]["graceSeconds"] = json!(grace);
        }
        write(&self.directory, "config.yaml", &config.to_string())
    }
}

/// A registry that runs. Dropping it ends it.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    admin: SocketAddr,
    token: String,
}

impl Running {
    /// Asks the admin port, and says how long the answer took.
    pub(super) fn admin(&self, stage: &Stage, method: &str, path: &str) -> anyhow::Result<(Value, Duration)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            self.admin, self.token
        );
        let begun = Instant::now();
        let answer = stage.runtime.block_on(exchange(self.admin, &request));
        let answer = answer.with_context(|| format!("ask {method} {path} on the admin port"))?;
        let took = begun.elapsed();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("read an answer of the admin port")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        Ok((
            serde_json::from_str(body).context("read an answer of the admin port")?,
            took,
        ))
    }
}

async fn exchange(address: SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// How large a file is, in bytes; nothing if it is not there.
pub(super) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
