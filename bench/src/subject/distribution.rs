//! The distribution registry as a pull-through cache, in both versions that are in use. It knows one
//! upstream, so there is a process for each link.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::bucket::{self, Bucket};
use super::{Door, Kind, Storage, Subject, Tags, await_answer, installed, version_of};
use crate::process::Process;
use crate::site::{Link, Site, write};

/// Which program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edition {
    /// Debian's `docker-registry` 2.8.
    Two,
    /// distribution 3.1, built by `tests/tools/install.sh`.
    Three,
}

impl Edition {
    fn kind(self, storage: Storage) -> Kind {
        match (self, storage) {
            (Self::Two, _) => Kind::Distribution2,
            (Self::Three, Storage::Directory) => Kind::Distribution3,
            (Self::Three, Storage::Bucket) => Kind::Distribution3S3,
        }
    }

    fn binary(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Two => Ok("/usr/bin/docker-registry".into()),
            Self::Three => installed("distribution"),
        }
    }
}

pub(super) fn start(site: &Site, edition: Edition, storage: Storage) -> anyhow::Result<Subject> {
    let kind = edition.kind(storage);
    let mut processes = Vec::new();
    let mut buckets = Vec::new();
    let mut doors = Vec::new();
    for link in [Link::Loopback, Link::Wire] {
        let address = site.address();
        let directory = site.directory(kind.name())?;
        let storage = match storage {
            Storage::Directory => json!({ "filesystem": { "rootdirectory": directory.join("storage") } }),
            Storage::Bucket => {
                let bucket = Bucket::start(site)?;
                let storage = in_bucket(&bucket);
                buckets.push(bucket.process);
                storage
            }
        };
        let config = json!({
            "version": "0.1",
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": storage,
            "proxy": { "remoteurl": format!("http://{}", site.upstream(link)) },
            "http": { "addr": address.to_string(), "secret": "only for uploads that span servers" },
        });
        let config = write(&directory, "config.yml", &config.to_string())?;
        let mut command = Command::new(edition.binary()?);
        command
            .arg("serve")
            .arg(config)
            .env("OTEL_TRACES_EXPORTER", "none");
        let mut process = Process::start("registry", command, &directory)?;
        await_answer(&mut process, address)?;
        doors.push(Door {
            link,
            tags: Tags::Checked,
            address,
            prefix: "/v2/".to_owned(),
            process: processes.len(),
        });
        processes.push(process);
    }
    processes.extend(buckets);
    Ok(Subject::new(kind, processes, doors))
}

/// Its bytes go through it, as ours do.
fn in_bucket(bucket: &Bucket) -> Value {
    json!({
        "s3": {
            "regionendpoint": bucket.url(),
            "region": bucket::REGION,
            "bucket": bucket::NAME,
            "accesskey": bucket::ACCESS_KEY,
            "secretkey": bucket::SECRET_KEY,
            "forcepathstyle": true,
            "secure": false,
        },
        "redirect": { "disable": true },
    })
}

pub(super) fn version(edition: Edition) -> Option<String> {
    version_of(edition.binary().ok()?.to_str()?, "--version")
}
