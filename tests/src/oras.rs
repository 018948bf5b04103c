//! oras: artifacts and what refers to them.

use std::collections::BTreeSet;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{self, Outcome};

/// One private oras with a directory to push from and to pull into.
#[derive(Debug)]
pub struct Oras {
    home: TempDir,
}

impl Default for Oras {
    fn default() -> Self {
        Self::new()
    }
}

impl Oras {
    /// An oras without credentials.
    ///
    /// # Panics
    /// If no directory can be made.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("make a directory for oras"),
        }
    }

    /// Pushes a file as an artifact of a type.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub async fn push(&self, name: &str, artifact_type: &str, content: &[u8]) -> Outcome {
        let file = self.file(content);
        self.run(&[
            "push",
            "--plain-http",
            "--artifact-type",
            artifact_type,
            name,
            &file,
        ])
        .await
    }

    /// Attaches a file to an image, as an artifact whose subject it is.
    ///
    /// # Panics
    /// As [`Oras::push`].
    pub async fn attach(&self, name: &str, artifact_type: &str, content: &[u8]) -> Outcome {
        let file = self.file(content);
        self.run(&[
            "attach",
            "--plain-http",
            "--artifact-type",
            artifact_type,
            name,
            &file,
        ])
        .await
    }

    /// What refers to an image, as JSON.
    pub async fn discover(&self, name: &str) -> Outcome {
        self.run(&["discover", "--plain-http", "--format", "json", name])
            .await
    }

    /// Pulls an artifact's files.
    pub async fn pull(&self, name: &str) -> Outcome {
        self.run(&["pull", "--plain-http", "--output", "pulled", name])
            .await
    }

    /// Copies everything of an image, all platforms, into a layout.
    pub async fn copy(&self, name: &str) -> Outcome {
        self.run(&["cp", "--from-plain-http", "--to-oci-layout", name, "layout:1"])
            .await
    }

    /// The digests of the files that were pulled or copied, computed from the bytes.
    pub fn received(&self) -> BTreeSet<String> {
        let folders = ["pulled", "layout/blobs/sha256"].map(|folder| self.home.path().join(folder));
        folders
            .iter()
            .flat_map(|folder| tools::digests_in(folder))
            .collect()
    }

    fn file(&self, content: &[u8]) -> String {
        std::fs::write(self.home.path().join("file.txt"), content).expect("write a file to push");
        "file.txt:text/plain".to_owned()
    }

    async fn run(&self, words: &[&str]) -> Outcome {
        let mut command: Command = tools::command(&tools::built_for_long("oras"));
        command.args(words).current_dir(self.home.path());
        command
            .env("DOCKER_CONFIG", self.home.path())
            .env("HOME", self.home.path());
        tools::run(command).await
    }
}
