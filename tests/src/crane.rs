//! crane: pulls, and re-hashes everything that a registry serves.

use std::process::Command;

use tempfile::TempDir;

use crate::tools::{self, Outcome};

/// One private crane.
#[derive(Debug)]
pub struct Crane {
    home: TempDir,
}

impl Default for Crane {
    fn default() -> Self {
        Self::new()
    }
}

impl Crane {
    /// A crane without credentials.
    ///
    /// # Panics
    /// If no directory can be made.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("make a directory for crane"),
        }
    }

    /// Logs in to a registry.
    pub async fn login(&self, registry: &str, user: &str, password: &str) -> Outcome {
        let mut command = self.command("auth");
        command.args(["login", "--password-stdin", "--username", user, registry]);
        command.stdin(tools::secret(self.home.path(), password));
        tools::run(command).await
    }

    /// The tags of a repository, a line each.
    pub async fn tags(&self, repository: &str) -> Outcome {
        let mut command = self.command("ls");
        command.arg(repository);
        tools::run(command).await
    }

    /// The repositories of a registry, a line each.
    pub async fn catalog(&self, registry: &str) -> Outcome {
        let mut command = self.command("catalog");
        command.arg(registry);
        tools::run(command).await
    }

    /// Pulls an image of this platform into a file.
    pub async fn pull(&self, image: &str) -> Outcome {
        let mut command = self.command("pull");
        command
            .args(["--platform", "linux/amd64", image])
            .arg(self.home.path().join("image.tar"));
        tools::run(command).await
    }

    /// Reads every manifest, config and layer of every platform and compares the digests. Prints `PASS`.
    pub async fn validate(&self, image: &str) -> Outcome {
        let mut command = self.command("validate");
        command.args(["--remote", image]);
        tools::run(command).await
    }

    /// The digest that a `HEAD` of a tag gives.
    pub async fn digest(&self, image: &str) -> Outcome {
        let mut command = self.command("digest");
        command.arg(image);
        tools::run(command).await
    }

    /// The manifest, as it was served.
    pub async fn manifest(&self, image: &str) -> Outcome {
        let mut command = self.command("manifest");
        command.arg(image);
        tools::run(command).await
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = tools::command(&tools::built("crane"));
        command
            .arg(verb)
            .env("DOCKER_CONFIG", self.home.path())
            .env("HOME", self.home.path());
        command.env("TMPDIR", self.home.path());
        command
    }
}
