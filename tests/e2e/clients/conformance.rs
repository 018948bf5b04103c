//! The OCI distribution specification's own suite, pull workflow.

use quayside_tests::conformance::{self, Part, Verdict};
use quayside_tests::crane::Crane;

use super::scene::{REPOSITORY, Scene};

/// `passes` is what the suite counts against the distribution registry with the same content.
async fn conforms(part: Part, passes: u32) {
    let scene = Scene::new().await;
    // The suite lists the tags first, and a list shows what was pulled.
    Crane::new().pull(&scene.image()).await.ok();
    let repository = format!("acme/{REPOSITORY}");
    let registry = scene.house.authority().parse().unwrap();
    let Verdict {
        result,
        passed,
        failed,
        outcome,
    } = conformance::run(registry, &repository, "1", &scene.index, part).await;
    assert_eq!(
        (result.as_str(), passed, failed),
        ("Pass", passes, 0),
        "{outcome}"
    );
}

/// M2, M9, M11, M14, B4, N3, L1: ping, lists, HEAD and GET, unknown and malformed references.
#[tokio::test(flavor = "multi_thread")]
async fn passes_every_test_of_the_conformance_suite_that_only_reads() {
    conforms(Part::Everything, 20).await;
}

/// M9, M14, B1, B4: HEAD and GET of known content, judged by the suite's own exit status.
#[tokio::test(flavor = "multi_thread")]
async fn passes_the_read_only_part_of_the_conformance_suite() {
    conforms(Part::ReadOnly, 15).await;
}
