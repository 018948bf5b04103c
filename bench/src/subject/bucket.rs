//! An S3 server for those that keep blobs in a bucket: versitygw over a directory, built by `tests/tools/install.sh`.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Context;

use super::{await_answer, installed, version_of};
use crate::process::Process;
use crate::site::Site;

pub(super) const NAME: &str = "bench";
pub(super) const REGION: &str = "us-east-1";
pub(super) const ACCESS_KEY: &str = "bench";
pub(super) const SECRET_KEY: &str = "bench-secret";

/// A server with one empty bucket.
pub(super) struct Bucket {
    pub(super) process: Process,
    address: SocketAddr,
}

impl Bucket {
    pub(super) fn start(site: &Site) -> anyhow::Result<Self> {
        let address = site.address();
        let directory = site.directory("versitygw")?;
        let buckets = directory.join("buckets");
        std::fs::create_dir_all(buckets.join(NAME)).context("make a bucket")?;
        let mut command = Command::new(installed("versitygw")?);
        command
            .args(["--port", &address.to_string(), "--region", REGION])
            .args(["--access", ACCESS_KEY, "--secret", SECRET_KEY])
            .args(["--quiet", "--keep-alive", "posix"])
            .arg(&buckets);
        let mut process = Process::start("versitygw", command, &directory)?;
        await_answer(&mut process, address)?;
        Ok(Self { process, address })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The version of a subject that keeps its blobs here; `None` if either is not installed.
pub(super) fn beside(subject: Option<String>) -> Option<String> {
    let server = version_of(installed("versitygw").ok()?.to_str()?, "--version");
    let server = server.unwrap_or_else(|| "versitygw".to_owned());
    installed("versitygw").ok()?.exists().then_some(())?;
    Some(format!("{}, {server}", subject?))
}
