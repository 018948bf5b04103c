//! containerd, Debian's 1.6 and the present 2.4, each with a root, a state and a socket of its own.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{self, Daemon, Outcome, Platforms};

/// Which containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Debian's 1.6.
    One,
    /// 2.4, with the transfer service.
    Two,
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Containerd {
    // Declared before the directory: the daemon has to be gone when its files are removed.
    daemon: Daemon,
    version: Version,
    home: TempDir,
}

/// What no test asks a daemon for, and what would look at the machine while it starts.
const UNWANTED: [&str; 9] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.nri.v1.nri",
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
];

impl Containerd {
    /// Starts an empty daemon and waits until it serves.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub async fn start(version: Version) -> Self {
        Self::configured(version, "").await
    }

    /// Starts an empty 2.4 that fetches layers in open-ended ranges of a megabyte, several at once.
    ///
    /// # Panics
    /// As [`Containerd::start`].
    pub async fn start_with_parallel_ranges() -> Self {
        let plugin = "[plugins.'io.containerd.transfer.v1.local']\nconcurrent_layer_fetch_buffer = 1048576\n";
        Self::configured(Version::Two, plugin).await
    }

    async fn configured(version: Version, more: &str) -> Self {
        let home = tempfile::tempdir().expect("make a directory for containerd");
        let dir = home.path().display();
        let format = match version {
            Version::One => 2,
            Version::Two => 3,
        };
        let config = format!(
            "version = {format}\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\ndisabled_plugins = {UNWANTED:?}\n\
             [grpc]\naddress = \"{dir}/sock\"\n[ttrpc]\naddress = \"{dir}/ttrpc\"\n[debug]\naddress = \"{dir}/debug\"\n{more}"
        );
        let file = home.path().join("config.toml");
        std::fs::write(&file, config).expect("write containerd's configuration");
        let mut command = command(version, "containerd");
        command.arg("--config").arg(file);
        let daemon = Daemon::start(command);
        daemon.line("containerd successfully booted").await;
        Self {
            daemon,
            version,
            home,
        }
    }

    /// Pulls an image over plain HTTP: a `HEAD` of the tag, then everything by digest.
    pub async fn pull(&self, image: &str) -> Outcome {
        self.pull_platforms(image, Platforms::Own).await
    }

    /// As [`Containerd::pull`], with a name and a password.
    pub async fn pull_as(&self, image: &str, user: &str, password: &str) -> Outcome {
        let mut command = self.ctr(&["images", "pull", "--plain-http", "--user"]);
        command.arg(format!("{user}:{password}")).arg(image);
        let outcome = tools::run(command).await;
        Outcome {
            line: outcome.line.replace(password, "…"),
            ..outcome
        }
    }

    /// As [`Containerd::pull`], of one platform or of all.
    pub async fn pull_platforms(&self, image: &str, platforms: Platforms) -> Outcome {
        let mut command = self.ctr(&["images", "pull", "--plain-http"]);
        if platforms == Platforms::All {
            command.arg("--all-platforms");
        }
        command.arg(image);
        tools::run(command).await
    }

    /// Removes an image and, before it returns, all content and snapshots that only it needed.
    ///
    /// # Panics
    /// If it has no such image.
    pub async fn forget(&self, image: &str) {
        tools::run(self.ctr(&["images", "remove", "--sync", image]))
            .await
            .ok();
        assert_eq!(
            self.content().await,
            Vec::<String>::new(),
            "content that outlived its image"
        );
    }

    /// The digest that an image name stands for.
    ///
    /// # Panics
    /// If it has no such image.
    pub async fn digest(&self, image: &str) -> String {
        let list = tools::run(self.ctr(&["images", "list", &format!("name=={image}")]))
            .await
            .ok();
        let words: Vec<&str> = list
            .lines()
            .nth(1)
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(words.first(), Some(&image), "no such image in:\n{list}");
        words.get(2).copied().unwrap_or_default().to_owned()
    }

    /// The digests of everything in its content store; containerd verified each when it stored it.
    pub async fn content(&self) -> Vec<String> {
        let list = tools::run(self.ctr(&["content", "list", "--quiet"])).await.ok();
        list.lines().map(str::to_owned).collect()
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    fn ctr(&self, words: &[&str]) -> Command {
        let mut command = command(self.version, "ctr");
        command
            .arg("--address")
            .arg(self.home.path().join("sock"))
            .args(words);
        command
    }
}

fn command(version: Version, name: &str) -> Command {
    let program = match version {
        Version::One => tools::system(name),
        Version::Two => tools::built(&format!("containerd2/{name}")),
    };
    let folder = program.parent().map(PathBuf::from).unwrap_or_default();
    let mut command = tools::command(&program);
    // The daemon looks for its own shim in PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)));
    command.env("PATH", path.expect("folders without colons"));
    command
}
