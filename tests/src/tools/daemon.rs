//! A program that runs until the test is over.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::watch;

use crate::eventually::{PATIENCE, holds_within};

/// How long a daemon may take until it is ready, on a machine that is busy.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// A running program and all that it has written so far. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: watch::Receiver<String>,
}

impl Daemon {
    /// Starts a command made by [`super::command`].
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let (writer, log) = watch::channel(String::new());
        follow(child.stdout.take().expect("stdout is a pipe"), writer.clone());
        follow(child.stderr.take().expect("stderr is a pipe"), writer);
        Self { child, log }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written, both streams mixed line by line.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// The first line that holds `marker`, as soon as it is written.
    ///
    /// # Panics
    /// With the log, if the program ends first or takes longer than half a minute.
    pub async fn line(&self, marker: &str) -> String {
        self.line_within(START_LIMIT, marker).await
    }

    /// As [`Daemon::line`], with a limit of the caller's.
    ///
    /// # Panics
    /// As [`Daemon::line`].
    pub async fn line_within(&self, limit: Duration, marker: &str) -> String {
        let Some(line) = self.line_or_end(limit, marker).await else {
            panic!("ended without writing {marker:?}:\n{}", self.log());
        };
        line
    }

    /// As [`Daemon::line_within`]; nothing if the program ends first.
    ///
    /// # Panics
    /// With the log, if it takes too long.
    pub async fn line_or_end(&self, limit: Duration, marker: &str) -> Option<String> {
        let mut log = self.log.clone();
        let find = |log: &String| log.lines().find(|line| line.contains(marker)).map(str::to_owned);
        let waited = tokio::time::timeout(limit, log.wait_for(|log| find(log).is_some())).await;
        let Ok(found) = waited else {
            panic!("has not written {marker:?} within {limit:?}:\n{}", self.log());
        };
        found.ok().and_then(|log| find(&log))
    }

    /// Asks the program to end, as `kill` does.
    ///
    /// # Panics
    /// If it is gone already.
    pub fn terminate(&self) {
        let status = Command::new(super::system("kill"))
            .args(["-TERM", &self.pid().to_string()])
            .status();
        assert!(status.expect("run kill").success(), "it is gone already");
    }

    /// The exit status, once the program has ended by itself; absent if a signal ended it.
    ///
    /// # Panics
    /// With the log, if it takes too long.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut ended = None;
        let child = &mut self.child;
        let gone = holds_within(PATIENCE, || {
            ended = child.try_wait().expect("wait for a child");
            std::future::ready(ended.is_some())
        })
        .await;
        assert!(gone, "has not ended in {PATIENCE:?}:\n{}", self.log());
        ended.and_then(|status| status.code())
    }

    /// Whether it has not ended yet.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("look at a child").is_none()
    }

    /// Ends the program as a loss of power would, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only for a child that was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies a stream into the log, line by line, until its end.
fn follow(stream: impl Read + Send + 'static, log: watch::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            log.send_modify(|log| {
                log.push_str(&line);
                log.push('\n');
            });
        }
    });
}
