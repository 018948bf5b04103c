//! What the kernel says about a process.

use std::iter::Sum;
use std::time::Duration;

/// Memory in bytes, of one process or of several; what they share counts for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// In memory now.
    pub(crate) resident: u64,
    /// The part of it that no file backs.
    pub(crate) anonymous: u64,
    /// The most that was in memory since the peak was forgotten.
    pub(crate) peak: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            resident: sum.resident + part.resident,
            anonymous: sum.anonymous + part.anonymous,
            peak: sum.peak + part.peak,
        })
    }
}

/// The process and all its descendants.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    tree
}

pub(super) fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    Duration::from_millis(ticks(&stat).unwrap_or(0) * 10)
}

pub(super) fn memory(pid: u32) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Memory {
        resident: kib(&status, "VmRSS:") * 1024,
        anonymous: kib(&status, "RssAnon:") * 1024,
        peak: kib(&status, "VmHWM:") * 1024,
    }
}

pub(super) fn forget_peak(pid: u32) {
    // A process that has ended has no peak.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    fields(&stat).nth(1)?.parse().ok()
}

/// The fields behind the name, which may contain anything.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace()
}

/// User and system time in ticks of 10 ms, that of children which have ended included.
fn ticks(stat: &str) -> Option<u64> {
    let times: Vec<u64> = fields(stat)
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse().ok())
        .collect();
    (times.len() == 4).then(|| times.iter().sum())
}

fn kib(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_whose_name_has_spaces() {
        let stat = "12 (a (b) c) S 7 12 12 0 -1 4194304 100 0 0 0 1 2 3 4 20 0 1 0";
        assert_eq!(ticks(stat), Some(10));
        assert_eq!(fields(stat).nth(1), Some("7"));
    }

    #[test]
    fn reads_sizes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(kib(status, "VmHWM:"), 2048);
        assert_eq!(kib(status, "RssAnon:"), 0);
    }
}
