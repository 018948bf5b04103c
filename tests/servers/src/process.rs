//! A server that runs until the test is over, and not a moment longer.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long a server may take until it is ready, on a machine that is busy.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// Whose rights a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Ours.
    Same,
    /// Those of an ordinary user where we are root: some servers refuse to run as root.
    Ordinary,
}

/// Who owns what an [`User::Ordinary`] writes.
pub const NOBODY: (u32, u32) = (65_534, 65_534);

/// Whether we are root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A command that dies with the thread that starts it, whatever becomes of that.
pub fn command(program: &Path, user: User) -> Command {
    let mut command = Command::new("setpriv");
    if user == User::Ordinary && is_root() {
        let (uid, gid) = NOBODY;
        command.args([
            &format!("--reuid={uid}"),
            &format!("--regid={gid}"),
            "--clear-groups",
        ]);
    }
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // What a terminal sends to who started it is none of its business.
    command.process_group(0);
    command
}

/// Sends a signal, like `STOP`, to a process that is there.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(sent.unwrap().success(), "the process {pid} is gone already");
}

/// Returns when `condition` is true; panics with `what` if that takes too long.
pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + START_LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "did not happen in {START_LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Process {
    /// Starts `command` and waits until it has written a line with `marker` to its standard error.
    pub fn start(command: Command, marker: &'static str) -> Self {
        Self::start_and(command, marker, |_| ())
    }

    /// As [`Self::start`]; every line is also given to `echo`.
    pub fn start_and(
        command: Command,
        marker: &'static str,
        mut echo: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        let (ready, waiting) = mpsc::channel();
        let mut process = Self::watched(command, move |line| {
            echo(line);
            if line.contains(marker) {
                let _ = ready.send(());
            }
        });
        match waiting.recv_timeout(START_LIMIT) {
            Ok(()) => process,
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("has ended:\n{}", process.log()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                process.kill();
                panic!("was not ready in {START_LIMIT:?}:\n{}", process.log());
            }
        }
    }

    /// Starts `command` and waits for nothing.
    pub fn spawn(command: Command) -> Self {
        Self::watched(command, |_| ())
    }

    fn watched(mut command: Command, mut seen: impl FnMut(&str) + Send + 'static) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(format!("{command:?}\n")));
        let written = log.clone();
        std::thread::spawn(move || {
            // Read to the end, so that the server never waits for somebody to read what it writes.
            for line in lines.map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
                drop(log);
                seen(&line);
            }
        });
        Self { child, log }
    }

    /// Its command line and all that it has written to its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a loss of power would, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only for a child that was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
