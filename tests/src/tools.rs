//! Finding the real programs that the tests drive, and running them so that none outlives its test.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

mod daemon;

pub use daemon::Daemon;
pub(crate) use daemon::START_LIMIT;

/// How long a real program may take for one command, on a machine that is busy.
pub const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// A program of the operating system, found in `PATH`.
///
/// # Panics
/// With the command that installs it, if it is missing: a component that is not there never skips a test.
pub fn system(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    found(
        name,
        folders.map(|folder| folder.join(name)),
        "tests/tools/install.sh",
    )
}

/// A program that `tests/tools/install.sh` builds into `${QUAYSIDE_CACHE:-~/.cache/quayside}/bin`.
///
/// # Panics
/// As [`system`].
pub fn built(name: &str) -> PathBuf {
    found(name, std::iter::once(bin().join(name)), "tests/tools/install.sh")
}

/// A program that `tests/tools/install.sh long` builds, for the tests of `make long`.
///
/// # Panics
/// As [`system`].
pub fn built_for_long(name: &str) -> PathBuf {
    found(
        name,
        std::iter::once(bin().join(name)),
        "tests/tools/install.sh long",
    )
}

fn bin() -> PathBuf {
    let cache = std::env::var_os("QUAYSIDE_CACHE").filter(|value| !value.is_empty());
    let cache = cache.map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/quayside"),
        PathBuf::from,
    );
    cache.join("bin")
}

fn found(name: &str, places: impl Iterator<Item = PathBuf>, remedy: &str) -> PathBuf {
    let Some(place) = places.into_iter().find(|place| place.is_file()) else {
        panic!("{name} is not installed: run {remedy}");
    };
    place
}

/// A command that the kernel kills when the thread that started it ends, whatever happens to the test.
/// It reads nothing, and sees none of the proxy settings of the machine.
pub fn command(program: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(system("setpriv"));
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .stdin(Stdio::null());
    for name in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// As [`command`], as another user, without any of root's rights.
pub fn command_as(user: u32, program: &Path) -> std::process::Command {
    // What the kernel was told is forgotten with the change of user, so it is told again after that.
    let user = user.to_string();
    let mut command = command(&system("setpriv"));
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program);
    command
}

/// A password for the standard input of a program, so that it stands in no list of processes and in no message.
///
/// # Panics
/// If it cannot be written into `directory`.
pub fn secret(directory: &Path, password: &str) -> Stdio {
    let file = directory.join("password");
    std::fs::write(&file, password).expect("write a password");
    std::fs::File::open(&file).expect("open a password").into()
}

/// How much of an index is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// The one of this machine.
    Own,
    /// All.
    All,
}

/// What a command that ended has left.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub line: String,
    /// Whether it ended with status 0.
    pub success: bool,
    /// Its exit status; absent if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Outcome {
    /// The standard output without white space around it.
    ///
    /// # Panics
    /// With everything that the command wrote, if it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success, "{self}");
        self.stdout.trim().to_owned()
    }

    /// All that the command wrote.
    ///
    /// # Panics
    /// If the command succeeded.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.success, "should have failed: {self}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            success: _,
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "{line}: status {code:?}\n{stdout}\n{stderr}")
    }
}

/// The digests of the files in a directory, computed from their bytes; none if there is no directory.
///
/// # Panics
/// If a file cannot be read.
pub fn digests_in(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let files =
        entries.map(|entry| std::fs::read(entry.expect("read a directory").path()).expect("read a file"));
    files.map(|bytes| crate::images::sha256(&bytes)).collect()
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started or takes longer than [`COMMAND_LIMIT`]; it is killed then.
pub async fn run(command: std::process::Command) -> Outcome {
    run_within(COMMAND_LIMIT, command).await
}

/// As [`run`], with a limit of the caller's.
///
/// # Panics
/// As [`run`].
pub async fn run_within(limit: Duration, command: std::process::Command) -> Outcome {
    // The first arguments are those of `setpriv`.
    let words = command.get_args().skip(3).map(OsStr::to_string_lossy);
    let line = words.collect::<Vec<_>>().join(" ");
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(limit, command.output()).await else {
        panic!("{line}: has not ended within {limit:?}");
    };
    let output = output.unwrap_or_else(|error| panic!("start {line}: {error}"));
    Outcome {
        line,
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
