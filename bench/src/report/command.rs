//! `quayside-bench report`: reads results, prints tables or writes them into the documentation.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::targets::{Target, list};
use super::{Results, document, limits};
use crate::scale;

/// Where results are and where to tell of them.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where `run` and `scale` wrote their results.
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    results: PathBuf,
    /// Write `benchmarks.md`, its pictures and the results themselves below this directory instead of printing.
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// What limits the targets that are missed.
    #[arg(long, default_value = "bench/limits.txt", value_name = "FILE")]
    limits: PathBuf,
}

/// The file that `run` writes into its directory.
pub(crate) const RUN_FILE: &str = "results.json";
/// The file that `scale` writes into its directory.
pub(crate) const SCALE_FILE: &str = "scale.json";

/// Prints, or writes the documentation. Results that are not there leave the part that they make as it is.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let told = std::fs::read_to_string(&arguments.limits)
        .with_context(|| format!("read limits {}", arguments.limits.display()))?;
    let targets = list::all();
    let limits = limits::parse(&told, &targets).context("read limits")?;
    let run = load(&arguments.results.join(RUN_FILE))?;
    let scale = load(&arguments.results.join(SCALE_FILE))?;
    let mut parts = Vec::new();
    if let Some(run) = &run {
        parts.push(("machine", document::machine(&run.machine, &run.form)));
        parts.push(("targets", document::targets(run, &targets, &limits)));
        parts.push(("results", document::results(run)));
    }
    if let Some(scale) = &scale {
        let machine = document::machine(&scale.machine, &scale.form);
        parts.push(("scale", format!("{machine}\n{}", scale::document::section(scale))));
    }
    let Some(docs) = &arguments.docs else {
        return print(&parts);
    };
    let pictures = docs.join("benchmarks");
    std::fs::create_dir_all(&pictures).with_context(|| format!("make {}", pictures.display()))?;
    if let Some(run) = &run {
        run.save(&pictures.join(RUN_FILE))?;
        for (name, plot) in document::plots(run) {
            write(&pictures.join(format!("{name}.svg")), &plot.svg())?;
        }
    }
    if let Some(scale) = &scale {
        scale.save(&pictures.join(SCALE_FILE))?;
    }
    insert(&docs.join("benchmarks.md"), &parts)
}

/// What a run says of itself, for the end of the run.
pub(crate) fn summary(results: &Results) -> String {
    let targets: Vec<Target> = list::all();
    let nothing = std::collections::BTreeMap::new();
    format!(
        "{}\n{}",
        document::results(results),
        document::targets(results, &targets, &nothing)
    )
}

fn load(path: &Path) -> anyhow::Result<Option<Results>> {
    if path.exists() {
        Results::load(path).map(Some)
    } else {
        Ok(None)
    }
}

fn print(parts: &[(&str, String)]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (_, part) in parts {
        writeln!(out, "{part}").context("print the report")?;
    }
    Ok(())
}

fn insert(path: &Path, parts: &[(&str, String)]) -> anyhow::Result<()> {
    let mut text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    for (name, part) in parts {
        text = document::replace(&text, name, part).with_context(|| format!("write {}", path.display()))?;
    }
    write(path, &text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
