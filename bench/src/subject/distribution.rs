//! The distribution registry as a pull-through cache, in both versions that are in use. It knows one
//! upstream, so there is a process for each link.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde_json::json;

use super::{Door, Kind, Subject, Tags, await_answer, version_of};
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
    fn kind(self) -> Kind {
        match self {
            Self::Two => Kind::Distribution2,
            Self::Three => Kind::Distribution3,
        }
    }

    fn binary(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Two => Ok("/usr/bin/docker-registry".into()),
            Self::Three => {
                let cache = std::env::var_os("QUAYSIDE_CACHE").map(PathBuf::from);
                let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/quayside"));
                Ok(cache
                    .or_else(home)
                    .context("find the directory of tools")?
                    .join("bin/distribution"))
            }
        }
    }
}

pub(super) fn start(site: &Site, edition: Edition) -> anyhow::Result<Subject> {
    let mut processes = Vec::new();
    let mut doors = Vec::new();
    for link in [Link::Loopback, Link::Wire] {
        let address = site.address();
        let directory = site.directory(edition.kind().name())?;
        let config = json!({
            "version": "0.1",
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": directory.join("storage") } },
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
    Ok(Subject::new(edition.kind(), processes, doors))
}

pub(super) fn version(edition: Edition) -> Option<String> {
    version_of(edition.binary().ok()?.to_str()?, "--version")
}
