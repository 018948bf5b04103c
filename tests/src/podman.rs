//! podman 4.3 with configuration, storage and credentials of its own.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{self, Outcome};

/// One private podman. Nothing that it does touches the machine's.
#[derive(Debug)]
pub struct Podman {
    home: TempDir,
}

impl Default for Podman {
    fn default() -> Self {
        Self::new()
    }
}

impl Podman {
    /// An empty podman.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("make a directory for podman");
        let dir = home.path().display();
        // vfs mounts nothing, file locks are not shared with other instances, and only runc runs on
        // machines with both versions of control groups.
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             lock_type = \"file\"\ntmp_dir = \"{dir}/tmp\"\n[network]\nnetwork_config_dir = \"{dir}/net\"\n"
        );
        let storage =
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{dir}/graph\"\nrunroot = \"{dir}/run\"\n");
        for (name, text) in [
            ("containers.conf", containers.as_str()),
            ("storage.conf", &storage),
            ("registries.conf", "unqualified-search-registries = []\n"),
            ("auth.json", "{}"),
            (
                "policy.json",
                r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
            ),
        ] {
            std::fs::write(home.path().join(name), text).expect("write podman's configuration");
        }
        Self { home }
    }

    /// Pulls an image over plain HTTP.
    pub async fn pull(&self, image: &str) -> Outcome {
        let mut command = self.command();
        command.args(["pull", "--tls-verify=false"]);
        command
            .arg("--signature-policy")
            .arg(self.home.path().join("policy.json"))
            .arg(image);
        tools::run(command).await
    }

    /// Logs in to a registry over plain HTTP.
    pub async fn login(&self, registry: &str, user: &str, password: &str) -> Outcome {
        let mut command = self.command();
        command.args([
            "login",
            "--tls-verify=false",
            "--password-stdin",
            "--username",
            user,
            registry,
        ]);
        command.stdin(tools::secret(self.home.path(), password));
        tools::run(command).await
    }

    /// Forgets what it logged in with.
    pub async fn logout(&self, registry: &str) -> Outcome {
        let mut command = self.command();
        command.args(["logout", registry]);
        tools::run(command).await
    }

    /// The digests under which it knows an image that it has: of the manifest, and of the index if it came by one.
    ///
    /// # Panics
    /// If it has no such image.
    pub async fn digests(&self, image: &str) -> Vec<String> {
        let mut command = self.command();
        command.args(["image", "inspect", image]);
        let text = tools::run(command).await.ok();
        let document: Value = serde_json::from_str(&text).expect("inspect prints JSON");
        let digests = document[0]["RepoDigests"].as_array().cloned().unwrap_or_default();
        let digests = digests
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|name| name.split_once('@'));
        digests.map(|(_, digest)| digest.to_owned()).collect()
    }

    /// Runs a command in a new container without network and returns what it prints.
    pub async fn run(&self, image: &str, words: &[&str]) -> Outcome {
        let mut command = self.command();
        command
            .args(["run", "--rm", "--network", "none", image])
            .args(words);
        tools::run(command).await
    }

    fn command(&self) -> Command {
        let home = self.home.path();
        let mut command = tools::command(&tools::system("podman"));
        command
            .env("CONTAINERS_CONF", home.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", home.join("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", home.join("registries.conf"))
            .env("REGISTRY_AUTH_FILE", home.join("auth.json"))
            .env("TMPDIR", home)
            .env("HOME", home);
        command
    }
}
