//! A second S3 server, stricter and laxer than the first in other places: Ceph's gateway over one daemon of each kind.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::ports;
use crate::process::{self, Process, User};
use crate::versitygw::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

/// How long a tool may take, in seconds: it waits for a daemon that is not there for ever.
const TOOL_LIMIT: &str = "60";

/// A running gateway; what is stored lies in memory. Dropping it ends all of it. Its keys are those of
/// [`Versitygw`](crate::Versitygw).
#[derive(Debug)]
pub struct Ceph {
    // In the order in which they have to end.
    _gateway: Process,
    _storage: Process,
    _monitor: Process,
    address: SocketAddr,
    _home: TempDir,
}

impl Ceph {
    /// A fresh one without buckets, on free ports. Takes about fifteen seconds.
    pub fn start() -> Self {
        let temporary = tempfile::Builder::new()
            .prefix("quayside-ceph-")
            .tempdir()
            .unwrap();
        let home = temporary.path();
        for folder in ["mon", "osd", "run"] {
            fs::create_dir(home.join(folder)).unwrap();
        }
        let (monitor, address) = (ports::free(), ports::free());
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        fs::write(
            home.join("ceph.conf"),
            settings(home, id.trim(), monitor, address),
        )
        .unwrap();
        let at = format!("v1:{monitor}/0");
        run(
            home,
            "monmaptool",
            &["--create", "--fsid", id.trim(), "--addv", "a", &at, "monmap"],
        );
        run(home, "ceph-mon", &["--mkfs", "-i", "a", "--monmap", "monmap"]);
        let monitor = daemon(home, "ceph-mon", &["-i", "a", "-f"]);
        run(home, "ceph-osd", &["-i", "0", "--mkfs"]);
        run(home, "ceph", &["osd", "create"]);
        let storage = daemon(home, "ceph-osd", &["-i", "0", "-f"]);
        run(
            home,
            "ceph",
            &[
                "osd",
                "crush",
                "add",
                "0",
                "1.0",
                "root=default",
                "host=localhost",
            ],
        );
        let keys = ["--access-key", ACCESS_KEY_ID, "--secret", SECRET_ACCESS_KEY];
        let user = ["user", "create", "--uid", "test", "--display-name", "test"];
        run(home, "radosgw-admin", &[&user[..], &keys[..]].concat());
        let gateway = daemon(home, "radosgw", &["-n", "client.rgw.a", "-f"]);
        process::wait("the gateway listens", || TcpStream::connect(address).is_ok());
        Self {
            _gateway: gateway,
            _storage: storage,
            _monitor: monitor,
            address,
            _home: temporary,
        }
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// One copy of everything, nobody asks who is who inside, and no objection to a full disk of the machine.
fn settings(home: &Path, id: &str, monitor: SocketAddr, gateway: SocketAddr) -> String {
    let home = home.display();
    format!(
        "[global]
fsid = {id}
mon host = v1:{monitor}/0
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
run dir = {home}/run
admin socket = {home}/run/$name.asok
pid file = {home}/run/$name.pid
log file = {home}/$name.log
mon data = {home}/mon
mon data avail warn = 1
mon data avail crit = 1
mon max pg per osd = 1000
mon allow pool size one = true
osd data = {home}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
[client.rgw.a]
rgw frontends = beast endpoint={gateway}
"
    )
}

fn daemon(home: &Path, program: &str, arguments: &[&str]) -> Process {
    let mut command = process::command(Path::new(program), User::Same);
    command
        .current_dir(home)
        .args(["-c", "ceph.conf"])
        .args(arguments);
    Process::spawn(command)
}

fn run(home: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new("timeout");
    command.current_dir(home).arg(TOOL_LIMIT).arg(program);
    // The only one that has no use for it.
    if program != "monmaptool" {
        command.args(["-c", "ceph.conf"]);
    }
    let done = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{program} {arguments:?} ends with {}; `tests/tools/install.sh long` installs it:\n{said}",
        done.status
    );
}
