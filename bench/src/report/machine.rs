//! Where a run was made.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, and the versions of what ran on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// The distribution of the operating system.
    pub(crate) system: String,
    /// Of this repository, with `-dirty` if files differ from it.
    pub(crate) commit: String,
    /// The day of the run, UTC.
    pub(crate) date: String,
    /// What each subject says of its version.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Machine {
    /// What the machine says of itself; what it does not say is `unknown`.
    pub(crate) fn read(versions: BTreeMap<String, String>) -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let release = file("/etc/os-release");
        Self {
            cpu: cpu_model(&file("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_mib(&file("/proc/meminfo")),
            kernel: or_unknown(file("/proc/sys/kernel/osrelease").trim()),
            system: or_unknown(
                field(&release, "PRETTY_NAME", '=')
                    .unwrap_or_default()
                    .trim_matches('"'),
            ),
            commit: or_unknown(&output(
                "git",
                &["describe", "--always", "--dirty", "--abbrev=12"],
            )),
            date: or_unknown(&output("date", &["--utc", "+%Y-%m-%d"])),
            versions,
        }
    }

    #[cfg(test)]
    pub(crate) fn unknown() -> Self {
        let unknown = || or_unknown("");
        Self {
            cpu: unknown(),
            cores: 1,
            memory_mib: 0,
            kernel: unknown(),
            system: unknown(),
            commit: unknown(),
            date: unknown(),
            versions: BTreeMap::new(),
        }
    }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown" } else { text }.to_owned()
}

/// The value of the first line `name <separator> value`.
fn field<'a>(text: &'a str, name: &str, separator: char) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn cpu_model(cpuinfo: &str) -> String {
    or_unknown(field(cpuinfo, "model name", ':').unwrap_or_default())
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = field(meminfo, "MemTotal", ':').and_then(|value| value.split(' ').next());
    total.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// What a program prints, empty if it cannot be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    run.map(|run| String::from_utf8_lossy(&run.stdout).trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.10GHz\nmodel name\t: Other\n";
        assert_eq!(cpu_model(cpuinfo), "Some CPU @ 2.10GHz");
        assert_eq!(cpu_model(""), "unknown");
        assert_eq!(memory_mib("MemTotal:        8388608 kB\nMemFree: 1 kB\n"), 8192);
    }
}
