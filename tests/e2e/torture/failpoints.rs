//! G3, ENGINE §1.4: the process dies after every statement and at every step of the file system, each once.

mod scene;

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use quayside_tests::eventually::PATIENCE;
use quayside_tests::program::Failpoint;

use scene::{Goods, Scene, points_in};

/// How many processes die side by side: two cores, and most of a case is waiting for the disk.
const AT_ONCE: usize = 4;

/// What must be among the points, or they are not those of the transactions that matter.
const EXPECTED: [&str; 9] = [
    "admit committed",
    "record_fill committed",
    "commit_fill committed",
    "renew committed",
    "forget_bytes committed",
    "sweep committed",
    "collect committed",
    "forget_garbage committed",
    "commit blob: renamed",
];

/// The points that a life without death passes.
async fn points(goods: &Arc<Goods>, http: &reqwest::Client) -> Vec<String> {
    let list = tempfile::NamedTempFile::new().unwrap();
    let mut scene = Scene::new(Arc::clone(goods), http.clone()).await;
    let lived = scene.live(Failpoint::Listed(list.path())).await;
    assert!(
        lived.is_ok(),
        "it died without a reason:\n{}",
        scene.program.log()
    );
    scene.program.kill();
    scene.remains.audit().await;
    scene.remains.assert_nothing_is_left().await;
    points_in(list.path())
}

/// The process dies at the point; then a new one finds everything right, serves everything, and forgets everything.
async fn die_at(point: &str, goods: Arc<Goods>, http: reqwest::Client) {
    let mut scene = Scene::new(goods, http).await;
    let lived = scene.live(Failpoint::At(point)).await;
    assert!(lived.is_err(), "{point}: was not passed");
    scene.confirm_death().await;
    scene.program.kill();
    scene.audit().await;
    scene.program.resume().await;
    assert!(scene.pull().await.is_ok(), "{point}: died again");
    assert_eq!(scene.recount().await, serde_json::json!([]), "{point}");
    assert!(scene.expire().await.is_ok(), "{point}: died again");
    scene.remains.assert_nothing_is_left().await;
}

/// G3, M8, Q2, I1–I4: the process is ended after every single statement of every transaction, after its commit, and
/// after every step that moves bytes, each in a life of its own. What it leaves obeys the invariants; the next process
/// serves everything, counts everything right, and leaves nothing when all has died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_after_any_step_it_loses_and_leaks_nothing() {
    let goods = Arc::new(Goods::new());
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let http = http.timeout(PATIENCE).build().unwrap();
    let points = points(&goods, &http).await;
    for expected in EXPECTED {
        assert!(
            points.iter().any(|point| point == expected),
            "{expected}: {points:#?}"
        );
    }
    eprintln!("{} points", points.len());
    let cases = points.into_iter().map(|point| {
        let (goods, http) = (Arc::clone(&goods), http.clone());
        async move {
            let name = point.clone();
            let case = tokio::spawn(async move { die_at(&name, goods, http).await });
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
