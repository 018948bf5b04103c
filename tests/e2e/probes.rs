//! SPEC §11, O1: what a kubelet asks.

use crate::scene::scene;

/// O1: alive and ready are told on the admin port, and only there.
#[tokio::test]
async fn tells_that_it_is_alive_and_ready_on_the_admin_port() {
    let scene = scene(|acme| acme).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(scene.house.admin(path).await.status, 200, "{path}");
        assert_eq!(
            scene.house.get(path).await.status,
            404,
            "{path} on the public port"
        );
    }
}

/// O1, O2: an upstream that is down does not make the registry less ready.
#[tokio::test]
async fn is_ready_without_an_upstream() {
    let scene = scene(|acme| acme).await;
    scene.upstream.stopped().await;
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_error(502, "UNAVAILABLE");
    assert_eq!(scene.house.admin("/readyz").await.status, 200);
}
