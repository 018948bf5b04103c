//! The judge of the other tests.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use quayside_tests::replicas::Fleet;

use super::Scene;

/// What the audit says, if it finds something.
async fn finding(fleet: &Fleet) -> Option<String> {
    let found = AssertUnwindSafe(fleet.audit_at_rest())
        .catch_unwind()
        .await
        .err()?;
    Some(found.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// G3, B8: the audit finds objects that nobody knows, and stored blobs without their objects, of another length, and with
/// other bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_what_does_not_agree() {
    let scene = Scene::of(100_000, |plan| plan.count = 1).await;
    let fleet = &scene.fleet;
    scene.begin(fleet.at(0)).await.end(&scene.layer).await;
    fleet.stored(&scene.layer.digest).await;
    assert_eq!(finding(fleet).await, None);

    let (key, (object, _)) = fleet.objects().pop_first().expect("the layer is an object");
    let orphan = object
        .parent()
        .expect("it lies in a folder")
        .with_extension("orphan");
    std::fs::write(&orphan, "x").unwrap();
    assert!(finding(fleet).await.expect("an orphan").contains("nobody knows"));
    std::fs::remove_file(orphan).unwrap();

    let bytes = std::fs::read(&object).unwrap();
    let mut other = bytes.clone();
    other[0] ^= 1;
    std::fs::write(&object, other).unwrap();
    assert!(
        finding(fleet)
            .await
            .expect("other bytes")
            .contains("has other bytes")
    );
    std::fs::write(&object, &bytes[1..]).unwrap();
    assert!(finding(fleet).await.expect("another length").contains(&key));
    std::fs::remove_file(&object).unwrap();
    assert!(finding(fleet).await.expect("no object").contains(&key));
    std::fs::write(&object, bytes).unwrap();
    assert_eq!(finding(fleet).await, None);
}
