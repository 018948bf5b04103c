//! `quayside-bench run`: all subjects, all workloads, interleaved.

use std::path::PathBuf;

/// What to measure and where to write it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A form under five minutes: less data, fewer rounds.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often every workload is measured on every subject; the report shows medians.
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// Only metrics whose name contains this text.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Option<String>,
    /// Where results are written.
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Measures and writes.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::bail!("nothing is measured yet (into {})", arguments.out.display())
}
