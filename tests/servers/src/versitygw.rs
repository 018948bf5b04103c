//! An S3 server of a test's own: versitygw over a directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, Process, User};
use crate::{cache, ports};

/// The access key id of everybody.
pub const ACCESS_KEY_ID: &str = "quayside";
/// What goes with it.
pub const SECRET_ACCESS_KEY: &str = "quayside-secret";
/// The only region there is.
pub const REGION: &str = "us-east-1";

/// What a server keeps its buckets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The disk of the machine.
    Machine,
    /// One of this many bytes in memory. Needs root, and is gone when the server is killed.
    Small(u64),
}

/// Whether a bucket keeps what is overwritten and removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// It does not.
    Off,
    /// It does.
    Kept,
}

/// A running server. Dropping it kills it and removes what it has stored, unless that lies in a place of the caller's.
#[derive(Debug)]
pub struct Versitygw {
    process: Option<Process>,
    home: PathBuf,
    disk: Disk,
    address: SocketAddr,
    _temporary: Option<TempDir>,
}

impl Versitygw {
    /// A fresh server without buckets, on a free port.
    pub fn start() -> Self {
        Self::start_on(Disk::Machine)
    }

    /// As [`Self::start`], on a disk of this kind.
    pub fn start_on(disk: Disk) -> Self {
        let temporary = tempfile::Builder::new().prefix("quayside-s3-").tempdir().unwrap();
        let home = temporary.path().to_owned();
        Self::launch(home, disk, Some(temporary))
    }

    /// A server over what another one left in `home`, which stays there.
    pub fn start_in(home: &Path) -> Self {
        Self::launch(home.to_owned(), Disk::Machine, None)
    }

    fn launch(home: PathBuf, disk: Disk, temporary: Option<TempDir>) -> Self {
        for folder in ["buckets", "versions"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        let mut server = Self {
            process: None,
            home,
            disk,
            address: ports::free(),
            _temporary: temporary,
        };
        server.restart();
        server
    }

    /// Makes an empty bucket; nothing happens to one that is there.
    pub fn create_bucket(&self, name: &str, versions: Versions) {
        let bucket = self.bucket(name);
        fs::create_dir_all(&bucket).unwrap();
        if versions == Versions::Kept {
            // What `PutBucketVersioning` writes.
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&bucket, "user.versioning", &[1], flags).unwrap();
        }
    }

    /// The directory of a bucket. Objects are files in it that are named like their keys; parts of uploads that are not
    /// complete are below `.sgwtmp`. On a [`Disk::Small`] only while the server runs.
    pub fn bucket(&self, name: &str) -> PathBuf {
        let buckets = self.home.join("buckets");
        match self.disk {
            Disk::Machine => buckets.join(name),
            // It has been mounted for the server alone.
            Disk::Small(_) => {
                let pid = self.pid().expect("the server runs");
                let seen = buckets.strip_prefix("/").unwrap();
                Path::new(&format!("/proc/{pid}/root")).join(seen).join(name)
            }
        }
    }

    /// Where it listens; stays the same over a restart.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Lets it hang: connections stay open, and nothing is answered until [`Self::go_on`].
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Ends [`Self::stop`].
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// Ends it at once; connections are refused from then on.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port, over what it had, and waits until it answers.
    pub fn restart(&mut self) {
        self.process = None;
        let mut process = Process::spawn(self.command());
        let end = Instant::now() + process::START_LIMIT;
        while !answers(self.address) {
            assert!(process.runs(), "versitygw has ended:\n{}", process.log());
            assert!(
                Instant::now() < end,
                "versitygw does not answer:\n{}",
                process.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().expect("the server runs");
        process::signal(pid, name);
    }

    fn command(&self) -> Command {
        let program = cache::built("versitygw");
        let buckets = self.home.join("buckets");
        let mut command = match self.disk {
            Disk::Machine => process::command(&program, User::Same),
            Disk::Small(bytes) => {
                // A mount that only the server sees goes with it, however it ends.
                let mut command = process::command(Path::new("unshare"), User::Same);
                let script = "mount -t tmpfs -o size=$0 quayside-test \"$1\" && shift && exec \"$@\"";
                command
                    .args(["--mount", "sh", "-c", script])
                    .arg(bytes.to_string());
                command.arg(&buckets).arg(&program);
                command
            }
        };
        command.args(["--port", &self.address.to_string(), "--quiet", "--keep-alive"]);
        command.args(["--access", ACCESS_KEY_ID, "--secret", SECRET_ACCESS_KEY]);
        command.args(["--region", REGION, "posix", "--versioning-dir"]);
        command.arg(self.home.join("versions")).arg(buckets);
        command
    }
}

/// Whether something speaks HTTP there.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        )?;
        let mut beginning = [0; 5];
        stream.read_exact(&mut beginning)?;
        Ok(&beginning == b"HTTP/")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O2: what stands for an outage of the bucket: it hangs, it is gone, and what it had is there again afterwards.
    #[test]
    fn it_hangs_dies_and_comes_back_with_what_it_had() {
        let mut server = Versitygw::start();
        server.create_bucket("blobs", Versions::Off);
        fs::write(server.bucket("blobs").join("object"), "content").unwrap();
        server.stop();
        assert!(!answers(server.address()));
        server.go_on();
        assert!(answers(server.address()));
        server.kill();
        assert!(TcpStream::connect(server.address()).is_err());
        server.restart();
        assert_eq!(
            fs::read_to_string(server.bucket("blobs").join("object")).unwrap(),
            "content"
        );
    }

    /// O2: a bucket that is full, which the machine's disk never becomes for it.
    #[test]
    fn a_small_disk_is_full_at_its_size() {
        let server = Versitygw::start_on(Disk::Small(1 << 20));
        server.create_bucket("blobs", Versions::Off);
        let file = server.bucket("blobs").join("object");
        fs::write(&file, vec![1; 1 << 19]).unwrap();
        assert!(fs::write(&file, vec![1; 2 << 20]).is_err());
    }
}
