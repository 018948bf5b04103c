//! `quayside-bench run`: all subjects, all workloads, interleaved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

mod form;

use crate::namespace::{self, Place};
use crate::output::{self, say};
use crate::report::{self, Machine, Results};
use crate::site::Site;
use crate::stage::Stage;
use crate::subject::{Kind, Subject};
use form::{Form, Planned};

/// What to measure and where to write it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A form under five minutes: less data, fewer rounds.
    #[arg(long)]
    quick: bool,
    /// How often every workload is measured on every subject; the report shows medians.
    #[arg(long)]
    rounds: Option<u32>,
    /// Only work whose name contains one of these texts, as in `manifest.digest`.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Only subjects whose name contains one of these texts, as in `quayside`.
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<String>,
    /// Where results are written.
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    out: PathBuf,
}

/// Measures and writes.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    match namespace::enter()? {
        Place::Outside(status) => namespace::check(status),
        Place::Inside => inside(arguments),
    }
}

fn inside(arguments: &Arguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.out).with_context(|| format!("create {}", arguments.out.display()))?;
    let home = tempfile::tempdir_in(&arguments.out).context("make a directory for the run")?;
    let home_path = home
        .path()
        .canonicalize()
        .context("resolve the directory of the run")?;
    let stage = Stage::set(Site::new(home_path.clone()), &home_path)?;
    let form = if arguments.quick { Form::Quick } else { Form::Full };
    let plan = chosen(form.plan(&stage)?, &arguments.only);
    anyhow::ensure!(!plan.is_empty(), "no work has such a name");
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| contains(kind.name(), &arguments.subject))
        .filter(|kind| form.includes(*kind) || !arguments.subject.is_empty())
        .collect();
    let machine = Machine::read(versions(&kinds));
    let mut subjects = start(&kinds, &stage.site)?;
    let mut results = Results::new(machine, form.name());
    let failures = measure(&stage, &plan, arguments.rounds, &mut subjects, &mut results);
    drop(subjects);
    if !failures.is_empty() {
        say(&format!(
            "What the subjects wrote stays in {}.",
            home.keep().display()
        ));
    }
    finish(&results, &arguments.out, &failures)
}

fn contains(name: &str, patterns: &[String]) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| name.contains(pattern.as_str()))
}

fn chosen(plan: Vec<Planned>, only: &[String]) -> Vec<Planned> {
    plan.into_iter()
        .filter(|planned| contains(&planned.work.name(), only))
        .collect()
}

fn versions(kinds: &[Kind]) -> BTreeMap<String, String> {
    kinds
        .iter()
        .filter_map(|kind| Some((kind.name().to_owned(), kind.version()?)))
        .collect()
}

/// Starts those that are installed; without the registry itself there is nothing to measure.
fn start(kinds: &[Kind], site: &Site) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for kind in kinds {
        if *kind != Kind::Quayside && kind.version().is_none() {
            say(&format!(
                "{} is not installed and is left out: see tests/tools/install.sh bench",
                kind.name()
            ));
            continue;
        }
        subjects.push(kind.start(site)?);
    }
    Ok(subjects)
}

/// Round by round, work by work, subject by subject, so that all of them see the same machine. Returns what
/// failed; the rest is measured all the same.
fn measure(
    stage: &Stage,
    plan: &[Planned],
    rounds: Option<u32>,
    subjects: &mut [Subject],
    results: &mut Results,
) -> Vec<String> {
    let begin = Instant::now();
    let mut failures = Vec::new();
    let most = plan
        .iter()
        .map(|planned| rounds.unwrap_or(planned.rounds))
        .max()
        .unwrap_or(0);
    for round in 0..most {
        for planned in plan
            .iter()
            .filter(|planned| round < rounds.unwrap_or(planned.rounds))
        {
            // Another one first each time: who follows whom must not matter.
            let first = round as usize % subjects.len().max(1);
            subjects.rotate_left(first);
            for subject in subjects.iter_mut().filter(|subject| planned.includes(subject)) {
                let name = subject.kind.name();
                let figures = planned.work.measure(stage, subject).and_then(|figures| {
                    subject.must_run()?;
                    Ok(figures)
                });
                match figures {
                    Ok(figures) => {
                        output::figures(begin.elapsed(), round, name, &figures);
                        for figure in figures {
                            results.record(figure.metric, figure.unit, name, round, figure.value);
                        }
                    }
                    Err(error) => {
                        let failure =
                            format!("{round} {:<28} {name:<17} failed: {error:#}", planned.work.name());
                        say(&failure);
                        failures.push(failure);
                    }
                }
            }
            subjects.rotate_right(first);
        }
    }
    failures
}

fn finish(results: &Results, out: &Path, failures: &[String]) -> anyhow::Result<()> {
    let file = out.join(report::command::RUN_FILE);
    results.save(&file)?;
    say(&report::command::summary(results));
    say(&format!("The samples are in {}.", file.display()));
    anyhow::ensure!(
        failures.is_empty(),
        "{} measurements failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}
