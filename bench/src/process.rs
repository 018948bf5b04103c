//! A program that is measured: started, observed through `/proc`, ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal};

mod proc;

pub(crate) use proc::Memory;

/// How long a program that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running program with all that it started. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    started: Instant,
    ready: Duration,
}

impl Process {
    /// Starts a program whose output goes to a file `<name>.log` in `directory`.
    pub(crate) fn start(name: &str, mut command: Command, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stderr(file.try_clone().context("share a log file")?)
            .stdout(file);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("start {name} ({command:?})"))?;
        Ok(Self {
            child,
            log,
            started,
            ready: Duration::ZERO,
        })
    }

    /// Notes that it is ready now.
    pub(crate) fn is_ready(&mut self) {
        self.ready = self.started.elapsed();
    }

    /// How long it took from exec until it was ready.
    pub(crate) fn start_time(&self) -> Duration {
        self.ready
    }

    /// The CPU time of the program and all that it started, user and system, to 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        self.tree().iter().map(|&pid| proc::cpu(pid)).sum()
    }

    /// What all of it has in memory now.
    pub(crate) fn memory(&self) -> Memory {
        self.tree().iter().map(|&pid| proc::memory(pid)).sum()
    }

    /// Lets the peak begin again at what is in memory now.
    pub(crate) fn forget_peak(&self) {
        self.tree().iter().for_each(|&pid| proc::forget_peak(pid));
    }

    /// The last lines that it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Whether it has ended, which it should not.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn tree(&self) -> Vec<u32> {
        proc::tree(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let tree = self.tree();
        signal(self.child.id(), Signal::TERM);
        let asked = Instant::now();
        while !self.ended() && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        // What a program leaves behind would run beside the next one that is measured. The namespace of
        // processes is this run's own, so no number among these means anybody else.
        for pid in tree {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
