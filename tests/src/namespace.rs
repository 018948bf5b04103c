//! A test in a network of its own, where it may lose packets without anybody else noticing.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::tools;

/// Set for the test that is inside.
const INSIDE: &str = "QUAYSIDE_TEST_INSIDE";
const LIMIT: Duration = Duration::from_mins(2);

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a network of its own: the test goes on.
    Inside,
    /// In everybody's: the test has run inside, and succeeded.
    Outside,
}

/// Runs the test of this name, as `cargo test` prints it, again in a network namespace that has nothing but a loopback
/// interface. Needs root.
///
/// # Panics
/// With what the test inside wrote, if it fails.
pub async fn enter(test: &str) -> Place {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new(tools::system("ip"))
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success(), "the loopback interface comes up");
        return Place::Inside;
    }
    let mut command = tools::command(&tools::system("unshare"));
    command
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1");
    let written = tools::run_within(LIMIT, command).await.ok();
    assert!(
        written.contains("1 passed"),
        "there is no test {test}:\n{written}"
    );
    Place::Outside
}

/// Loses every packet to an address from now on, without a word.
///
/// # Panics
/// If this is not the network of this test alone.
pub fn lose_packets_to(address: SocketAddr) {
    assert!(std::env::var_os(INSIDE).is_some(), "this is everybody's network");
    let port = address.port().to_string();
    for direction in ["--dport", "--sport"] {
        let rule = ["-A", "INPUT", "-p", "tcp", direction, &port, "-j", "DROP"];
        let added = Command::new(tools::system("iptables")).args(rule).status();
        assert!(added.unwrap().success(), "packets to {address} are lost");
    }
}
