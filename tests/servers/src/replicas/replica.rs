//! One registry process of several.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::process::{self, Process, User};
use crate::wire::Wire;

/// A registry process that is started, stopped, killed and started again over the same configuration and ports.
#[derive(Debug)]
pub struct Replica {
    process: Option<Process>,
    binary: PathBuf,
    home: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
    peer: SocketAddr,
    level: String,
    /// What leads to its peer port, with [`super::Between::Doors`].
    pub peer_wire: Option<Wire>,
}

impl Replica {
    pub(super) fn new(
        binary: &Path,
        home: PathBuf,
        [address, admin, peer]: [SocketAddr; 3],
        peer_wire: Option<Wire>,
    ) -> Self {
        Self {
            process: None,
            binary: binary.to_owned(),
            home,
            address,
            admin,
            peer,
            level: "info".to_owned(),
            peer_wire,
        }
    }

    /// Starts it, and returns when it serves.
    pub fn start(&mut self) {
        self.process = None;
        self.process = Some(Process::start(self.command(), "\"listening\""));
    }

    /// Starts it, and does not wait until it serves.
    pub fn launch(&mut self) {
        self.process = None;
        self.process = Some(Process::spawn(self.command()));
    }

    fn command(&self) -> std::process::Command {
        let mut command = process::command(&self.binary, User::Same);
        command.arg("serve").arg("--config").arg(self.config());
        command.env("RUST_LOG", &self.level);
        for name in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
    }

    /// How much it logs from its next start on, as in `RUST_LOG`.
    pub fn talk(&mut self, level: &str) {
        level.clone_into(&mut self.level);
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it as a page fault or a debugger does, with all that it has open.
    pub fn pause(&self) {
        process::signal(self.pid(), "STOP");
    }

    /// Ends [`Self::pause`].
    pub fn go_on(&self) {
        process::signal(self.pid(), "CONT");
    }

    /// Asks it to end, and does not wait for that.
    pub fn terminate(&self) {
        process::signal(self.pid(), "TERM");
    }

    /// How it has ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut().expect("it was started");
        process.ended()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::runs)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    /// All that it has written since it was started last.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Its config.yaml.
    pub fn config(&self) -> PathBuf {
        self.home.join("config.yaml")
    }

    /// Where blobs lie while they are received.
    pub fn spool(&self) -> PathBuf {
        self.home.join("spool")
    }

    /// The OCI API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Probes, metrics and administration.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its peer port itself, not the wire to it.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}
