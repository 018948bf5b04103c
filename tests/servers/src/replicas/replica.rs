//! One registry process of several.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::process::{self, Process, User};
use crate::wire::Wire;

/// Where a log goes besides into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Nowhere.
    Nowhere,
    /// Into [`Replica::log_file`].
    File,
}

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
    echo: Echo,
    /// What leads to its peer port, with [`super::Between::Doors`].
    pub peer_wire: Option<Wire>,
}

impl Replica {
    pub(super) fn new(
        binary: &Path,
        home: PathBuf,
        [address, admin, peer]: [SocketAddr; 3],
        peer_wire: Option<Wire>,
        echo: Echo,
    ) -> Self {
        Self {
            process: None,
            binary: binary.to_owned(),
            home,
            address,
            admin,
            peer,
            level: "info".to_owned(),
            echo,
            peer_wire,
        }
    }

    /// Starts it, and returns when it serves.
    pub fn start(&mut self) {
        self.process = None;
        let mut file = (self.echo == Echo::File).then(|| {
            let mut options = File::options();
            options.create(true).append(true).open(self.log_file()).unwrap()
        });
        let echo = move |line: &str| {
            if let Some(file) = &mut file {
                writeln!(file, "{line}").unwrap();
            }
        };
        self.process = Some(Process::start_and(self.command(), "\"listening\"", echo));
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

    /// The file with its log, with [`Echo::File`].
    pub fn log_file(&self) -> PathBuf {
        self.home.join("log")
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
