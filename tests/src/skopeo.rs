//! skopeo, copying images into directories.

use std::collections::BTreeSet;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{self, Outcome, Platforms};

/// One private skopeo and the directory that it copies into.
#[derive(Debug)]
pub struct Skopeo {
    home: TempDir,
}

impl Default for Skopeo {
    fn default() -> Self {
        Self::new()
    }
}

impl Skopeo {
    /// A skopeo that has copied nothing yet.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("make a directory for skopeo");
        std::fs::write(
            home.path().join("registries.conf"),
            "unqualified-search-registries = []\n",
        )
        .and_then(|()| std::fs::write(home.path().join("auth.json"), "{}"))
        .expect("write skopeo's configuration");
        Self { home }
    }

    /// Copies an image over plain HTTP.
    pub async fn copy(&self, image: &str, platforms: Platforms) -> Outcome {
        let mut command = self.command("copy");
        if platforms == Platforms::All {
            command.arg("--all");
        }
        let target = format!("dir:{}", self.home.path().join("copy").display());
        command.args(["--src-tls-verify=false", &format!("docker://{image}"), &target]);
        tools::run(command).await
    }

    /// What `skopeo inspect` prints about an image.
    pub async fn inspect(&self, image: &str) -> Outcome {
        let mut command = self.command("inspect");
        command.args(["--tls-verify=false", &format!("docker://{image}")]);
        tools::run(command).await
    }

    /// The digests of everything that was copied, computed from the bytes.
    pub fn copied(&self) -> BTreeSet<String> {
        tools::digests_in(&self.home.path().join("copy"))
    }

    fn command(&self, verb: &str) -> Command {
        let home = self.home.path();
        let mut command = tools::command(&tools::system("skopeo"));
        command
            .args(["--insecure-policy", verb])
            .env("CONTAINERS_REGISTRIES_CONF", home.join("registries.conf"))
            .env("REGISTRY_AUTH_FILE", home.join("auth.json"))
            .env("TMPDIR", home)
            .env("HOME", home);
        command
    }
}
