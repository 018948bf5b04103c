//! A server that runs until the test is over, and not a moment longer.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a server may take until it is ready, on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Process {
    child: Child,
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
    command
}

impl Process {
    /// Starts `command` and waits until it has written a line with `marker` to its standard error.
    pub fn start(mut command: Command, marker: &'static str) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (ready, waiting) = mpsc::channel();
        std::thread::spawn(move || {
            let mut log = String::new();
            // Read to the end, so that the server never waits for somebody to read what it writes.
            for line in lines.map_while(Result::ok) {
                log.push_str(&line);
                log.push('\n');
                if line.contains(marker) {
                    let _ = ready.send(Ok(()));
                }
            }
            let _ = ready.send(Err(log));
        });
        match waiting.recv_timeout(START_LIMIT) {
            Ok(Ok(())) => Self { child },
            Ok(Err(log)) => panic!("{command:?} has ended:\n{log}"),
            Err(_) => {
                let _ = child.kill();
                panic!("{command:?} was not ready in {START_LIMIT:?}");
            }
        }
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
