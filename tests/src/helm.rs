//! helm 3: charts in registries.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{self, Outcome};

/// One private helm. Nothing that it does touches the machine's.
#[derive(Debug)]
pub struct Helm {
    home: TempDir,
}

impl Default for Helm {
    fn default() -> Self {
        Self::new()
    }
}

impl Helm {
    /// A helm without credentials.
    ///
    /// # Panics
    /// If no directory can be made.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("make a directory for helm"),
        }
    }

    /// Makes a chart of this name, version 0.1.0, and pushes it into `repository`, `host[:port]/path`.
    ///
    /// # Panics
    /// If helm refuses.
    pub async fn push(&self, name: &str, repository: &str) {
        for words in [
            vec!["create", name],
            vec!["package", name],
            vec![
                "push",
                &format!("{name}-0.1.0.tgz"),
                &format!("oci://{repository}"),
                "--plain-http",
            ],
        ] {
            let mut command = self.command();
            command.args(words);
            tools::run(command).await.ok();
        }
    }

    /// Logs in to a registry over plain HTTP.
    pub async fn login(&self, registry: &str, user: &str, password: &str) -> Outcome {
        let mut command = self.command();
        command.args([
            "registry",
            "login",
            registry,
            "--plain-http",
            "--password-stdin",
            "--username",
            user,
        ]);
        command.stdin(tools::secret(self.home.path(), password));
        tools::run(command).await
    }

    /// Pulls version 0.1.0 of a chart, `host[:port]/path/name`.
    pub async fn pull(&self, chart: &str) -> Outcome {
        let mut command = self.command();
        command.args([
            "pull",
            &format!("oci://{chart}"),
            "--version",
            "0.1.0",
            "--plain-http",
        ]);
        tools::run(command).await
    }

    /// The bytes of the archive of a chart that was made or pulled.
    ///
    /// # Panics
    /// If there is none.
    pub fn archive(&self, name: &str) -> Vec<u8> {
        let file: PathBuf = self.home.path().join(format!("{name}-0.1.0.tgz"));
        std::fs::read(file).expect("read a chart")
    }

    fn command(&self) -> Command {
        let home = self.home.path();
        let mut command = tools::command(&tools::built("helm"));
        command
            .current_dir(home)
            .env("HOME", home)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .env("HELM_REGISTRY_CONFIG", home.join("registry.json"))
            .env("DOCKER_CONFIG", home);
        command
    }
}
