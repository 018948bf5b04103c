//! A `PostgreSQL` server of a test's own, as an ordinary user, from Debian's package.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::{self, NOBODY, Process, User};

/// The role that owns everything in it; there is no password.
const ROLE: &str = "quayside";
/// What it is told at every start. Nothing has to survive a loss of power here but where a test says so.
const HASTE: [&str; 2] = ["fsync=off", "full_page_writes=off"];

const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

/// Where a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A socket in its own directory.
    Socket,
    /// An address, for tests that put something between.
    Address(SocketAddr),
}

/// A running server. Dropping it kills it and removes what it has stored, unless that lies in a place of the caller's.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    directory: PathBuf,
    door: Door,
    /// Absent where what is stored is kept.
    temporary: Option<TempDir>,
}

impl Postgres {
    /// A fresh server behind a socket.
    pub fn start() -> Self {
        Self::start_behind(Door::Socket)
    }

    /// A fresh server.
    pub fn start_behind(door: Door) -> Self {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("quayside-pg-");
        // The thousand files of a cluster are made in a twentieth of the time where there is no disk.
        let memory = Path::new("/dev/shm");
        let temporary = if memory.is_dir() {
            builder.tempdir_in(memory)
        } else {
            builder.tempdir()
        };
        let temporary = temporary.unwrap();
        Self::launch(temporary.path().to_owned(), door, Some(temporary))
    }

    /// A server over what another one left in `directory`, which stays there. It survives a loss of power.
    pub fn start_in(directory: &Path, address: SocketAddr) -> Self {
        fs::create_dir_all(directory).unwrap();
        Self::launch(directory.to_owned(), Door::Address(address), None)
    }

    fn launch(directory: PathBuf, door: Door, temporary: Option<TempDir>) -> Self {
        if process::is_root() {
            chown(&directory, Some(NOBODY.0), Some(NOBODY.1)).unwrap();
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        if !directory.join("data").exists() {
            // Making a cluster takes a second, a copy of one a twentieth of it.
            let copied = Command::new("cp")
                .arg("-a")
                .arg(template())
                .arg(directory.join("data"))
                .status();
            assert!(copied.unwrap().success(), "copy the cluster");
        }
        let mut server = Self {
            process: None,
            directory,
            door,
            temporary,
        };
        server.go_on();
        server
    }

    /// Makes an empty database and gives its URL.
    pub fn create_database(&self, name: &str) -> String {
        let done = Command::new(program("createdb"))
            .args(["-U", ROLE, "-T", "template0", "-h"])
            .arg(self.host())
            .args(["-p", &self.port().to_string()])
            .arg(name)
            .status();
        assert!(done.unwrap().success(), "create database {name}");
        self.url(name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        match self.door {
            Door::Socket => format!("postgres://{ROLE}@localhost/{database}?host={}", self.host()),
            Door::Address(address) => self.url_at(address, database),
        }
    }

    /// The URL of a database for who reaches the server at another address.
    pub fn url_at(&self, address: SocketAddr, database: &str) -> String {
        format!("postgres://{ROLE}@{address}/{database}?sslmode=disable")
    }

    /// The process id of the server itself, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Ends it at once; what was committed stays.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        // Unlike a kill of the first process, this takes the others with it before it returns.
        let asked = Command::new("kill")
            .args(["-QUIT", &process.pid().to_string()])
            .status();
        assert!(asked.unwrap().success(), "the server is gone already");
        process.wait();
    }

    /// Lets it speak TLS too, with a certificate and its key in PEM, from the next start on.
    pub fn certify(&self, certificate: &str, key: &str) {
        for (file, text) in [(CERTIFICATE, certificate), (KEY, key)] {
            let path = self.directory.join(file);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if process::is_root() {
                chown(&path, Some(NOBODY.0), Some(NOBODY.1)).unwrap();
            }
        }
    }

    /// Starts it again where it was stopped.
    pub fn go_on(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = self.command();
        if self.temporary.is_some() {
            for setting in HASTE {
                command.args(["-c", setting]);
            }
        }
        if self.directory.join(CERTIFICATE).exists() {
            for (setting, file) in [("ssl_cert_file", CERTIFICATE), ("ssl_key_file", KEY)] {
                let path = self.directory.join(file);
                command.args(["-c", &format!("{setting}={}", path.display())]);
            }
            command.args(["-c", "ssl=on"]);
        }
        let sockets = match self.door {
            Door::Socket => self.directory.display().to_string(),
            Door::Address(_) => String::new(),
        };
        command.args(["-c", &format!("unix_socket_directories={sockets}")]);
        let listen = match self.door {
            Door::Socket => String::new(),
            Door::Address(address) => address.ip().to_string(),
        };
        command.args(["-c", &format!("listen_addresses={listen}")]);
        command.args(["-c", &format!("port={}", self.port())]);
        self.process = Some(Process::start(command, "ready to accept connections"));
    }

    /// The server over its cluster, to be told the rest.
    fn command(&self) -> Command {
        let program = program("postgres");
        let mut command = process::command(&program, User::Ordinary);
        if self.temporary.is_some() || !process::is_root() {
            command.arg("-D").arg(self.directory.join("data"));
            command.current_dir(&self.directory);
            return command;
        }
        // An ordinary user may not come through the folders above, so it gets another way in, which goes with it.
        let script = "mount --bind \"$0\" /mnt && cd /mnt && exec \"$@\"";
        let mut inside = process::command(Path::new("unshare"), User::Same);
        inside.args(["--mount", "sh", "-c", script]).arg(&self.directory);
        inside.arg(command.get_program()).args(command.get_args());
        inside.args(["-D", "/mnt/data"]);
        inside
    }

    fn host(&self) -> String {
        match self.door {
            Door::Socket => self.directory.display().to_string(),
            Door::Address(address) => address.ip().to_string(),
        }
    }

    fn port(&self) -> u16 {
        match self.door {
            Door::Socket => 5432,
            Door::Address(address) => address.port(),
        }
    }
}

/// A program of the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin").join(name))).filter(|(_, program)| program.is_file())
        })
        .collect();
    found.sort();
    let (_, program) = found.pop().unwrap_or_else(|| {
        panic!("{name} is missing: run tests/tools/install.sh");
    });
    program
}

/// An empty cluster, made once a machine.
fn template() -> PathBuf {
    let initdb = program("initdb");
    let version = initdb.ancestors().nth(2).and_then(Path::file_name).unwrap();
    crate::cache::folder(&format!("postgres-{}-1", version.to_str().unwrap()), |folder| {
        // An ordinary user may not write beside the cache.
        let place = tempfile::Builder::new()
            .prefix("quayside-initdb-")
            .tempdir()
            .unwrap();
        if process::is_root() {
            chown(place.path(), Some(NOBODY.0), Some(NOBODY.1)).unwrap();
        }
        let data = place.path().join("data");
        let mut command = process::command(&initdb, User::Ordinary);
        command
            .arg("-D")
            .arg(&data)
            .args(["-U", ROLE, "-A", "trust", "-E", "UTF8"]);
        command.args([
            "--locale=C.UTF-8",
            "--no-sync",
            "--wal-segsize=1",
            "--no-instructions",
        ]);
        let made = command
            .current_dir(place.path())
            .stderr(Stdio::inherit())
            .status();
        assert!(made.unwrap().success(), "make a cluster");
        let copied = Command::new("cp").arg("-a").arg(&data).arg(folder).status();
        assert!(copied.unwrap().success(), "keep the cluster");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C4: what is kept in a folder is there when the next server starts over it, also below one of root's own.
    #[test]
    fn what_is_kept_outlives_the_server() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let folder = home.path().join("postgres");
        let address = crate::ports::free();
        Postgres::start_in(&folder, address).create_database("kept");
        let server = Postgres::start_in(&folder, address);
        let asked = Command::new(program("psql"))
            .args([
                "-U",
                ROLE,
                "-h",
                &server.host(),
                "-p",
                &server.port().to_string(),
                "-c",
                "select 1",
            ])
            .arg("kept")
            .output();
        assert!(asked.unwrap().status.success());
    }
}
