//! G3, ENGINE §1.4: the process dies after every statement and at every step of the file system, each once.

mod full;
mod life;
mod scene;

use std::collections::HashMap;

use futures::{StreamExt as _, stream};
use quayside_failpoints::DIE_AT;
use quayside_tests::eventually::PATIENCE;
use quayside_tests::program::{Edition, Failpoint, Program};
use quayside_tests::tools;
use quayside_tests::torture::is_long;
use serde_json::json;

use full::Full;
use life::Life;
use scene::{Result, Scene, points_in};

/// How many processes die side by side: two cores, and most of a case is waiting for the disk.
const AT_ONCE: usize = 4;

/// What happens to a registry, in the same order every time.
trait Story: Sized + Send + Sync {
    /// What must be among the points, or they are not those of the transactions that matter.
    const EXPECTED: &[&str];

    /// Whether the process is to die at this point of the story.
    fn dies_at(point: &str) -> bool;

    /// Nothing has happened yet.
    fn new(http: reqwest::Client) -> impl Future<Output = Self> + Send;

    fn scene(&mut self) -> &mut Scene;

    /// A start and all that is to happen after it, in one process that may die at the point; in the end, nothing of it
    /// is left.
    fn live(&mut self, failpoint: Failpoint<'_>) -> impl Future<Output = Result> + Send;

    /// What clients do after the next start: all that they want they have.
    fn go_on(&mut self) -> impl Future<Output = Result> + Send;
}

/// The points that a life without death passes.
async fn points<S: Story>(http: &reqwest::Client) -> Vec<String> {
    let list = tempfile::NamedTempFile::new().unwrap();
    let mut story = S::new(http.clone()).await;
    let lived = story.live(Failpoint::Listed(list.path())).await;
    let scene = story.scene();
    assert!(
        lived.is_ok(),
        "it died without a reason:\n{}",
        scene.program.log()
    );
    scene.program.kill();
    scene.remains.audit().await;
    scene.remains.assert_nothing_is_left().await;
    let points = points_in(list.path());
    for expected in S::EXPECTED {
        let passed = points.iter().any(|point| point == expected);
        assert!(passed, "{expected}: {points:#?}");
    }
    points
}

/// The process dies at the point; then a new one finds everything right, serves everything, and forgets everything.
async fn die_at<S: Story>(point: &str, http: reqwest::Client) {
    let mut story = S::new(http).await;
    let lived = story.live(Failpoint::At(point)).await;
    assert!(lived.is_err(), "{point}: was not passed");
    let scene = story.scene();
    scene.confirm_death().await;
    scene.program.kill();
    scene.audit().await;
    scene.program.resume().await;
    assert!(story.go_on().await.is_ok(), "{point}: died again");
    let scene = story.scene();
    assert_eq!(scene.recount().await, json!([]), "{point}");
    assert!(scene.expire().await.is_ok(), "{point}: died again");
    scene.remains.assert_nothing_is_left().await;
}

/// Of the points that are after the same statement of the same transaction, at other places in it, only the last.
fn one_of_each_statement(points: Vec<String>) -> Vec<String> {
    let statement = |point: &String| {
        let words = point.split(' ');
        let words = words.filter(|word| word.parse::<u32>().is_err());
        words.collect::<Vec<_>>().join(" ")
    };
    let last: HashMap<_, _> = points
        .into_iter()
        .map(|point| (statement(&point), point))
        .collect();
    last.into_values().collect()
}

/// One life and one death for every point; in the short form for every statement and step.
async fn die_everywhere<S: Story + 'static>() {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let http = http.timeout(PATIENCE).build().unwrap();
    let mut points = points::<S>(&http).await;
    points.retain(|point| S::dies_at(point));
    let all = points.len();
    if !is_long() {
        points = one_of_each_statement(points);
    }
    eprintln!("{} of {all} points", points.len());
    let cases = points.into_iter().map(|point| {
        let (http, name) = (http.clone(), point.clone());
        async move {
            let case = tokio::spawn(async move { die_at::<S>(&name, http).await });
            (point, case.await)
        }
    });
    let ended: Vec<_> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let failed = ended
        .into_iter()
        .filter_map(|(point, ended)| ended.err().map(|error| (point, error)));
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// G3, M8, Q2, I1–I4: the process is ended after every single statement of every transaction, after its commit, and
/// after every step that moves bytes, each in a life of its own. What it leaves obeys the invariants; the next process
/// serves everything, counts everything right, and leaves nothing when all has died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_after_any_step_it_loses_and_leaks_nothing() {
    die_everywhere::<Life>().await;
}

/// G3, Q5, Q8, Q9, I1–I4: the same inside a prune, of the worker's and of an admission: a plan is carried out whole or
/// not at all, and the quota holds before and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_inside_a_prune_it_keeps_counts_and_quota() {
    die_everywhere::<Full>().await;
}

/// G3: nobody can make the program that is shipped die by a variable.
#[tokio::test]
async fn what_is_shipped_has_no_failpoints() {
    for (edition, found) in [(Edition::Plain, 1), (Edition::Failpoints, 0)] {
        let program = Program::prepare(edition, &[], json!({})).await;
        let mut grep = tools::command(&tools::system("grep"));
        grep.args(["--quiet", "--fixed-strings", "--text", DIE_AT]);
        grep.arg(program.binary());
        assert_eq!(tools::run(grep).await.code, Some(found), "{edition:?}");
    }
}
