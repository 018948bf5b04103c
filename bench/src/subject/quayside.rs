//! The registry itself: its release build, with an organization for each link and each way with tags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use super::bucket::{self, Bucket};
use super::{Door, Kind, Storage, Subject, Tags, await_answer, version_of};
use crate::process::Process;
use crate::site::{Link, Site, write};

const ORGANIZATIONS: [(&str, Link, Tags); 4] = [
    ("checked", Link::Loopback, Tags::Checked),
    ("remembered", Link::Loopback, Tags::Remembered),
    ("checked-wire", Link::Wire, Tags::Checked),
    ("remembered-wire", Link::Wire, Tags::Remembered),
];

pub(super) fn start(site: &Site, storage: Storage) -> anyhow::Result<Subject> {
    let kind = match storage {
        Storage::Directory => Kind::Quayside,
        Storage::Bucket => Kind::QuaysideS3,
    };
    let address = site.address();
    let directory = site.directory(kind.name())?;
    let bucket = match storage {
        Storage::Directory => None,
        Storage::Bucket => Some(Bucket::start(site)?),
    };
    let config = configure(site, &directory, address, bucket.as_ref())?;
    let mut command = Command::new(binary()?);
    command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .env_remove("RUST_LOG");
    let mut process = Process::start("quayside", command, &directory)?;
    await_answer(&mut process, address)?;
    let door = |&(name, link, tags): &(&str, Link, Tags)| Door {
        link,
        tags,
        address,
        prefix: format!("/v2/{name}/"),
        process: 0,
    };
    let mut processes = vec![process];
    processes.extend(bucket.map(|bucket| bucket.process));
    let doors = ORGANIZATIONS.iter().map(door).collect();
    Ok(Subject::new(kind, processes, doors))
}

fn configure(
    site: &Site,
    directory: &Path,
    address: SocketAddr,
    bucket: Option<&Bucket>,
) -> anyhow::Result<PathBuf> {
    let organization = |&(name, link, tags): &(&str, Link, Tags)| {
        json!({
            "name": name,
            "remoteRegistry": site.upstream(link).to_string(),
            "tls": { "plainHttp": true },
            "visibility": "Internal",
            "revalidateSeconds": match tags { Tags::Checked => 0, Tags::Remembered => 86400 },
        })
    };
    let organizations =
        json!({ "organizations": ORGANIZATIONS.iter().map(organization).collect::<Vec<_>>() });
    let config = json!({
        "FEATURE_PROXY_CACHE": true,
        "SERVER_HOSTNAME": address.to_string(),
        "PREFERRED_URL_SCHEME": "http",
        "listen": address.to_string(),
        "adminListen": site.address().to_string(),
        "organizationsFile": write(directory, "organizations.yaml", &organizations.to_string())?,
        "database": { "sqlite": { "path": directory.join("quayside.db") } },
        "storage": storage(directory, bucket)?,
        "trustedNetworks": ["127.0.0.0/8"],
        "upstream": { "allowedHosts": ["127.0.0.0/8"] },
    });
    write(directory, "config.yaml", &config.to_string())
}

/// As the registry calls it.
fn storage(directory: &Path, bucket: Option<&Bucket>) -> anyhow::Result<Value> {
    let Some(bucket) = bucket else {
        return Ok(json!({ "filesystem": { "path": directory.join("blobs") } }));
    };
    Ok(json!({ "s3": {
        "bucket": bucket::NAME,
        "endpoint": bucket.url(),
        "accessKeyIdFile": write(directory, "access-key-id", bucket::ACCESS_KEY)?,
        "secretAccessKeyFile": write(directory, "secret-access-key", bucket::SECRET_KEY)?,
        "spool": { "path": directory.join("spool") },
    } }))
}

pub(super) fn version() -> Option<String> {
    version_of(binary().ok()?.to_str()?, "--version")
}

/// Beside this program, where cargo puts both.
fn binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()
        .context("find this program")?
        .with_file_name("quayside-registry");
    anyhow::ensure!(binary.exists(), "{} is not built", binary.display());
    Ok(binary)
}
