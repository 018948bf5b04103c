//! `quayside-bench scale`: whether anything on a request path grows with what is stored.
//!
//! The same questions are asked of a registry over databases of several sizes. A database is not pulled
//! together but written at once, and `recount` has to find nothing wrong with it before anything is measured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

pub(crate) mod document;
mod measure;
pub(crate) mod names;
mod registry;
mod shape;
mod stock;

use crate::namespace::{self, Place};
use crate::output::say;
use crate::report::command::SCALE_FILE;
use crate::report::table::number;
use crate::report::{Machine, Results};
use crate::site::Site;
use crate::stage::Stage;
use crate::subject::Kind;
use measure::Figures;
use registry::{Home, Settings};
use shape::Shape;
use stock::Stock;

/// How many tags die for a pass.
const DEAD: u32 = 10;
/// Longer ago than any time machine of the configuration reaches.
const LONG_AGO_MS: i64 = 30 * 86_400_000;

/// How much is stored.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Tags of the largest organization; a hundredth as many organizations.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000, 100_000], value_name = "TAGS",
          value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    sizes: Vec<u32>,
    /// How often everything is measured at each size.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
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
    let directory = home
        .path()
        .canonicalize()
        .context("resolve the directory of the run")?;
    let stage = Stage::set(Site::new(directory.clone()), &directory)?;
    let quayside = Kind::Quayside;
    let version = quayside
        .version()
        .map(|version| (quayside.name().to_owned(), version));
    let machine = Machine::read(version.into_iter().collect::<BTreeMap<_, _>>());
    let mut results = Results::new(machine, format!("{} rounds", arguments.rounds));
    for tags in &arguments.sizes {
        let shape = Shape { tags: *tags };
        measure(&stage, shape, arguments.rounds, &mut results)
            .with_context(|| format!("measure with {tags} tags"))?;
    }
    let file = arguments.out.join(SCALE_FILE);
    results.save(&file)?;
    say(&document::section(&results));
    say(&format!("The samples are in {}.", file.display()));
    Ok(())
}

/// All rounds at one size. What prunes and collects comes last, so that every pull finds what it asks for.
fn measure(stage: &Stage, shape: Shape, rounds: u32, results: &mut Results) -> anyhow::Result<()> {
    let size = format!("{} tags", number(f64::from(shape.tags)));
    let mut record = |round: u32, figures: Figures| {
        for (metric, value) in figures {
            say(&format!(
                "{round} {size:<14} {:<24} {} {}",
                metric.name,
                number(value),
                metric.unit.symbol()
            ));
            results.record(metric.name, metric.unit, size.as_str(), round, value);
        }
    };
    let home = stock(stage, shape)?;
    record(0, vec![measure::database(&home.database())]);
    for round in 0..rounds {
        let (running, took) = home.start(Settings::default())?;
        record(round, vec![(names::START, took.as_secs_f64() * 1000.0)]);
        record(round, measure::requests(stage, &running, shape)?);
    }
    for round in 0..rounds {
        let usage = async |stock: &mut Stock| stock.usage().await;
        let quota = open(stage, &home, usage)?;
        let (database, now) = (home.database(), now()?);
        let rows = measure::rows_of_plans(&database, quota.unsigned_abs(), now);
        record(round, stage.runtime.block_on(rows)?);
        let (running, _) = home.start(Settings {
            quota: Some(quota),
            ..Settings::default()
        })?;
        record(round, measure::plans(stage, &running)?);
        drop(running);
        let used = open(stage, &home, usage)?;
        ensure!(
            used <= quota,
            "{used} bytes are used of a quota of {quota}: nothing was pruned"
        );
    }
    let collecting = Settings {
        grace_seconds: Some(1),
        ..Settings::default()
    };
    measure::settle(stage, &home.start(collecting)?.0)?;
    for round in 0..rounds {
        let ended = now()? - LONG_AGO_MS;
        open(stage, &home, async |stock| stock.kill(DEAD, ended).await)?;
        let (running, _) = home.start(collecting)?;
        record(round, measure::passes(stage, &running, u64::from(DEAD))?);
        record(round, measure::tools(stage, &running)?);
    }
    Ok(())
}

/// Lets the registry make its database, fills it, and has it looked through.
fn stock(stage: &Stage, shape: Shape) -> anyhow::Result<Home> {
    let home = Home::new(&stage.site, shape)?;
    drop(home.start(Settings::default())?);
    let (storage, now) = (home.storage(), now()?);
    open(stage, &home, async |stock| stock.fill(shape, &storage, now).await)?;
    let (running, _) = home.start(Settings::default())?;
    measure::tools(stage, &running).context("look through the database")?;
    Ok(home)
}

fn open<T>(
    stage: &Stage,
    home: &Home,
    work: impl AsyncFnOnce(&mut Stock) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    stage.runtime.block_on(async {
        let mut stock = Stock::open(&home.database()).await?;
        let done = work(&mut stock).await?;
        stock.close().await?;
        Ok(done)
    })
}

/// Milliseconds since the epoch.
fn now() -> anyhow::Result<i64> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("read the clock")?;
    i64::try_from(since.as_millis()).context("read the clock")
}
