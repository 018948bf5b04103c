//! The network and process namespace that everything measured runs in.
//!
//! Its loopback interface carries nothing but the benchmark, and its congestion control is `reno`: `bbr`,
//! which some machines use, paces the loopback interface. When the program ends, in whatever way, the kernel
//! ends every process in the namespace.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use anyhow::Context;
use rustix::process::{Resource, Rlimit};

/// Set for the process that is inside.
const INSIDE: &str = "QUAYSIDE_BENCH_INSIDE";

/// Whether this process is the one that should measure.
pub(crate) enum Place {
    /// Inside: the interface is up and the limits are raised.
    Inside,
    /// Outside: the program ran again inside, to this end.
    Outside(ExitStatus),
}

/// Runs this program again, with the same arguments, inside new namespaces; or prepares the namespace if
/// this process is that one.
pub(crate) fn enter() -> anyhow::Result<Place> {
    if std::env::var_os(INSIDE).is_some() {
        prepare()?;
        return Ok(Place::Inside);
    }
    let program = std::env::current_exe().context("find this program")?;
    // Who is killed takes the namespace along: unshare dies with this process, and what it started with it.
    let mut unshare = Command::new("setpriv");
    unshare.args(["--pdeathsig", "KILL", "unshare"]);
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
    unshare
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1");
    let status = unshare.status().context("run unshare")?;
    Ok(Place::Outside(status))
}

/// An error unless the program inside succeeded.
pub(crate) fn check(status: ExitStatus) -> anyhow::Result<()> {
    match status.signal() {
        _ if status.success() => Ok(()),
        Some(signal) => anyhow::bail!("the run was ended by signal {signal}"),
        None => anyhow::bail!("the run failed"),
    }
}

/// How many files one process may have open.
pub(crate) fn open_files() -> u64 {
    rustix::process::getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

fn prepare() -> anyhow::Result<()> {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("run ip")?;
    anyhow::ensure!(up.success(), "bring the loopback interface up: {up}");
    std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "reno").context("set congestion control")?;
    raise_open_files()
}

/// To what the kernel allows, or else to what the hard limit allows.
fn raise_open_files() -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Some(1 << 20);
    let raised = Rlimit {
        current: wanted,
        maximum: wanted,
    };
    if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let allowed = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, allowed).context("raise the limit of open files")
}
