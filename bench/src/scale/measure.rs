//! What is asked of a registry over a database of some size.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use quayside_metadata::Metadata;
use quayside_registry::quota::QuotaPlanner;
use serde_json::Value;

use super::names::{self, Metric};
use super::registry::{Running, size};
use super::shape::{BIG, MANY, Shape};
use crate::http::{Connection, Method, Request};
use crate::image::TAG;
use crate::stage::Stage;

/// How many pulls of each kind a round makes; fewer where there are fewer tags.
const PULLS: u32 = 2000;
/// How often a page is asked for.
const PAGES: usize = 50;
/// How many new images a round pulls.
const ADMISSIONS: usize = 30;
/// How many images a round pulls into an organization that is full.
const PLANS: usize = 10;
/// The same, of images for which dozens have to go.
const LARGE_PLANS: usize = 3;
/// A layer for which one image has to go.
const SMALL: u64 = 1_000_000;
/// A layer for which dozens of images have to go.
const LARGE: u64 = 120_000_000;
/// How long a pass may have to wait for a grace.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a grace of a second: who has done nothing for so long has nothing to do.
const QUIET: Duration = Duration::from_millis(2500);
const PAUSE: Duration = Duration::from_millis(20);

/// What one round measured, in the units of the metrics.
pub(super) type Figures = Vec<(Metric, f64)>;

/// A random tag that was not asked for yet, again and again.
struct Tags {
    shape: Shape,
    next: u32,
}

impl Tags {
    fn take(&mut self, count: u32) -> Vec<u32> {
        // An odd stride that 5 does not divide visits all tags of a power of ten, far from each other.
        let tag = |place: u32| u64::from(place).wrapping_mul(48_271) % u64::from(self.shape.tags);
        let first = self.next;
        self.next += count;
        (first..self.next)
            .filter_map(|place| u32::try_from(tag(place)).ok())
            .collect()
    }
}

/// Pulls of what is stored and of what is not, and lists.
pub(super) fn requests(stage: &Stage, running: &Running, shape: Shape) -> anyhow::Result<Figures> {
    let mut figures = vec![(names::IDLE, mebibytes(running.process.memory().resident))];
    let pulls = PULLS.min(shape.tags / 2);
    let mut tags = Tags { shape, next: 0 };
    let by_tag: Vec<String> = tags
        .take(pulls)
        .into_iter()
        .map(|tag| shape.path_of_tag(tag))
        .collect();
    let by_digest: Vec<String> = tags
        .take(pulls)
        .into_iter()
        .map(|tag| shape.path_of_digest(tag))
        .collect();
    let blobs: Vec<String> = (0..pulls.min(shape.tags / 20))
        .map(|blob| shape.path_of_blob(blob))
        .collect();
    for (paths, median, slow) in [
        (&by_tag, names::TAG_FIRST, names::TAG_FIRST_P99),
        (&by_tag, names::TAG_WARM, names::TAG_WARM_P99),
        (&by_digest, names::DIGEST_FIRST, names::DIGEST_FIRST_P99),
        (&by_digest, names::DIGEST_WARM, names::DIGEST_WARM_P99),
        (&blobs, names::BLOB_FIRST, names::BLOB_FIRST_P99),
    ] {
        let took = get(stage, running, paths).with_context(|| median.name)?;
        figures.extend([(median, share(&took, 0.5)), (slow, share(&took, 0.99))]);
    }
    let new = new_images(stage, ADMISSIONS, 1000)?;
    figures.push((names::ADMISSION, share(&get(stage, running, &new)?, 0.5)));
    let tag = shape.tags_of_many() / 2;
    let organization = shape.organizations().len() / 2;
    for (path, metric) in [
        (format!("/v2/{BIG}/{MANY}/tags/list?n=100"), names::TAGS_FIRST),
        (
            format!("/v2/{BIG}/{MANY}/tags/list?n=100&last=v{tag:06}"),
            names::TAGS_MIDDLE,
        ),
        ("/v2/_catalog?n=100".to_owned(), names::CATALOG_FIRST),
        (
            format!("/v2/_catalog?n=40&last=org-{organization:04}/app"),
            names::CATALOG_MIDDLE,
        ),
    ] {
        let took = get(stage, running, &vec![path; PAGES]).with_context(|| metric.name)?;
        figures.push((metric, share(&took, 0.5)));
    }
    figures.push((names::BUSY, mebibytes(running.process.memory().resident)));
    Ok(figures)
}

/// Pulls into an organization whose quota is used up.
pub(super) fn plans(stage: &Stage, running: &Running) -> anyhow::Result<Figures> {
    let small = get(stage, running, &new_images(stage, PLANS, SMALL)?)?;
    let large = get(stage, running, &new_images(stage, LARGE_PLANS, LARGE)?)?;
    Ok(vec![
        (names::PLAN_SMALL, share(&small, 0.5)),
        (names::PLAN_LARGE, share(&large, 0.5)),
    ])
}

/// How many rows are read to plan for such images. Nothing is changed, and no registry may run.
pub(super) async fn rows_of_plans(database: &Path, quota: u64, now: i64) -> anyhow::Result<Figures> {
    let metadata = Metadata::open_sqlite(database)
        .await
        .context("open the database")?;
    let known = metadata
        .known_organizations()
        .await
        .context("read organizations")?;
    let big = known.iter().find(|organization| organization.name == BIG);
    let big = big.context("find the big organization")?.id;
    let mut figures = Figures::new();
    for (metric, bytes) in [(names::ROWS_SMALL, SMALL), (names::ROWS_LARGE, LARGE)] {
        let planner = Arc::new(QuotaPlanner::making_room(quota, bytes));
        let pruning = metadata
            .plan_prune(big, planner, now)
            .await
            .context("plan a prune")?;
        ensure!(
            !pruning.pruned.is_empty(),
            "a plan for {bytes} bytes prunes nothing"
        );
        let rows = u32::try_from(pruning.rows_read).unwrap_or(u32::MAX);
        figures.push((metric, f64::from(rows)));
    }
    metadata.close().await;
    Ok(figures)
}

/// Makes passes until what went before is gone.
pub(super) fn settle(stage: &Stage, running: &Running) -> anyhow::Result<()> {
    let (begun, mut quiet) = (Instant::now(), Instant::now());
    while quiet.elapsed() < QUIET {
        let (answer, _) = running.admin(stage, "POST", "/gc")?;
        let fields = answer.get("report").and_then(Value::as_object);
        let fields = fields.context("read the report of a pass")?;
        if fields.values().any(|done| done.as_u64() != Some(0)) {
            quiet = Instant::now();
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "passes find work without end: {answer}"
        );
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Passes over as many tags that have just died.
pub(super) fn passes(stage: &Stage, running: &Running, dead: u64) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for (metric, field) in [
        (names::GC_RELEASE, "sweptTags"),
        (names::GC_COLLECT, "collectedManifests"),
        (names::GC_DELETE, "deletedKeys"),
    ] {
        let (done, took) = pass_that_does(stage, running, field)?;
        ensure!(done >= dead, "a pass did {field} {done} and not {dead}");
        figures.push((metric, milliseconds(took)));
    }
    let idle: anyhow::Result<Vec<f64>> = (0..10)
        .map(|_| Ok(milliseconds(running.admin(stage, "POST", "/gc")?.1)))
        .collect();
    figures.push((names::GC_IDLE, share(&sorted(idle?), 0.5)));
    Ok(figures)
}

/// Tools, of which `recount` has to find nothing.
pub(super) fn tools(stage: &Stage, running: &Running) -> anyhow::Result<Figures> {
    let (found, recount) = running.admin(stage, "GET", "/recount")?;
    let nothing = found
        .get("found")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty);
    ensure!(nothing, "the recount found something: {found}");
    let (_, dry_run) = running.admin(stage, "GET", "/gc")?;
    Ok(vec![
        (names::RECOUNT, milliseconds(recount)),
        (names::DRY_RUN, milliseconds(dry_run)),
    ])
}

/// The size of the database.
pub(super) fn database(path: &Path) -> (Metric, f64) {
    (names::DATABASE, mebibytes(size(path)))
}

/// Makes passes until one does something of this kind: a grace may have to be over first.
fn pass_that_does(stage: &Stage, running: &Running, field: &str) -> anyhow::Result<(u64, Duration)> {
    let begun = Instant::now();
    loop {
        let (answer, took) = running.admin(stage, "POST", "/gc")?;
        let report = answer.get("report").context("read the report of a pass")?;
        match report.get(field).and_then(Value::as_u64) {
            Some(done) if done > 0 => return Ok((done, took)),
            Some(_) => {}
            None => anyhow::bail!("a pass says nothing of {field}: {answer}"),
        }
        ensure!(begun.elapsed() < PATIENCE, "no pass has done {field}: {answer}");
        std::thread::sleep(PAUSE);
    }
}

/// Paths in the big organization of images that only the origin has.
fn new_images(stage: &Stage, count: usize, layer_bytes: u64) -> anyhow::Result<Vec<String>> {
    let path = |_| {
        let image = stage.cold_image(1, layer_bytes, 0)?;
        Ok(format!("/v2/{BIG}/{}/manifests/{TAG}", image.repository))
    };
    (0..count).map(path).collect()
}

/// Asks for the paths one after the other on one connection; how long each took in ms, sorted.
fn get(stage: &Stage, running: &Running, paths: &[String]) -> anyhow::Result<Vec<f64>> {
    stage.runtime.block_on(async {
        let mut connection = Connection::open(running.address).await?;
        let mut took = Vec::with_capacity(paths.len());
        for path in paths {
            let request = Request::new(Method::Get, running.address, path);
            let begun = Instant::now();
            let head = connection.fetch(&request, |_, _| Ok(())).await?;
            took.push(milliseconds(begun.elapsed()));
            ensure!(head.status == 200, "{path}: {}", head.status);
        }
        Ok(sorted(took))
    })
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value that this share of the sorted values, 0 to 1, does not exceed; NaN of none.
fn share(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list of thousands"
    )]
    let place = (share * last as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "memory is less than 2^53 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_tag_is_asked_for_twice() {
        let mut tags = Tags {
            shape: Shape { tags: 1000 },
            next: 0,
        };
        let taken: BTreeSet<u32> = tags.take(500).into_iter().chain(tags.take(500)).collect();
        assert_eq!(taken.len(), 1000);
        assert_eq!(taken.last(), Some(&999));
    }

    #[test]
    fn a_share_is_a_value_that_was_measured() {
        let values = sorted(vec![3.0, 1.0, 2.0]);
        assert_eq!(share(&values, 0.5).to_bits(), 2.0_f64.to_bits());
        assert_eq!(share(&values, 0.99).to_bits(), 3.0_f64.to_bits());
        assert!(share(&[], 0.5).is_nan());
    }
}
