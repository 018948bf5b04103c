//! cosign: signatures, without any service on the internet.

use std::process::Command;

use tempfile::TempDir;

use crate::tools::{self, Outcome};

/// One private cosign with a key pair of its own.
#[derive(Debug)]
pub struct Cosign {
    home: TempDir,
}

impl Cosign {
    /// Makes the key pair.
    ///
    /// # Panics
    /// If cosign is not installed or cannot make one.
    pub async fn new() -> Self {
        let cosign = Self {
            home: tempfile::tempdir().expect("make a directory for cosign"),
        };
        cosign.run(&["generate-key-pair"]).await.ok();
        cosign
    }

    /// Signs an image by digest; the registry it is in has to take pushes.
    pub async fn sign(&self, name: &str) -> Outcome {
        let offline = [
            "--tlog-upload=false",
            "--use-signing-config=false",
            "--allow-http-registry",
        ];
        self.run(
            &[
                &["sign", "-y", "--key", "cosign.key"],
                offline.as_slice(),
                &[name],
            ]
            .concat(),
        )
        .await
    }

    /// Verifies the signature of an image by digest.
    pub async fn verify(&self, name: &str) -> Outcome {
        let offline = ["--insecure-ignore-tlog=true", "--allow-http-registry"];
        self.run(&[&["verify", "--key", "cosign.pub"], offline.as_slice(), &[name]].concat())
            .await
    }

    async fn run(&self, words: &[&str]) -> Outcome {
        let mut command: Command = tools::command(&tools::built_for_long("cosign"));
        command
            .args(words)
            .current_dir(self.home.path())
            .env("COSIGN_PASSWORD", "");
        command
            .env("DOCKER_CONFIG", self.home.path())
            .env("HOME", self.home.path());
        tools::run(command).await
    }
}
