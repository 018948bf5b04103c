//! The product's heart: the first pull streams, the second comes from the cache, the third needs no upstream.

use quayside_tests::containerd::Version;

use super::puller::Client;
use super::scene::Scene;

/// The first pull reads each manifest and each blob from upstream once.
async fn pulls_what_is_not_cached(client: Client) {
    let scene = Scene::new().await;
    let puller = client.start().await;
    puller.pull(&scene.image()).await.ok();
    let mut gets = scene.recorder.gets();
    gets.sort();
    assert_eq!(gets, client.reads(&scene.index));
    puller.assert_has(&scene.image(), &scene.index).await;
}

/// The second pull reads nothing from upstream; it asks only whether the tag has moved.
async fn pulls_from_the_cache(client: Client) {
    let scene = Scene::new().await;
    let mut puller = client.start().await;
    puller.pull(&scene.image()).await.ok();
    puller.forget(&scene.image()).await;
    scene.recorder.forget();
    puller.pull(&scene.image()).await.ok();
    assert_eq!(scene.recorder.gets(), Vec::<String>::new());
    assert!(
        !scene.recorder.seen().is_empty(),
        "the tag was served without a check"
    );
    puller.assert_has(&scene.image(), &scene.index).await;
}

/// The third pull finds upstream gone.
async fn pulls_with_upstream_switched_off(client: Client) {
    let mut scene = Scene::new().await;
    let mut puller = client.start().await;
    puller.pull(&scene.image()).await.ok();
    puller.forget(&scene.image()).await;
    scene.switch_off_upstream().await;
    puller.pull(&scene.image()).await.ok();
    puller.assert_has(&scene.image(), &scene.index).await;
}

/// M2, M13, B2: podman 4.3.
#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_what_is_not_cached() {
    pulls_what_is_not_cached(Client::Podman).await;
}

/// M3, M9, M14: podman 4.3.
#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_from_the_cache() {
    pulls_from_the_cache(Client::Podman).await;
}

/// M6, M9, B6: podman 4.3.
#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_with_upstream_switched_off() {
    pulls_with_upstream_switched_off(Client::Podman).await;
}

/// M2, M13, B2: skopeo 1.9.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_what_is_not_cached() {
    pulls_what_is_not_cached(Client::Skopeo).await;
}

/// M3, M9, M14: skopeo 1.9.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_from_the_cache() {
    pulls_from_the_cache(Client::Skopeo).await;
}

/// M6, M9, B6: skopeo 1.9.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_with_upstream_switched_off() {
    pulls_with_upstream_switched_off(Client::Skopeo).await;
}

/// M2, M13, B2: today's podman, which asks for config and layers at once.
#[tokio::test(flavor = "multi_thread")]
async fn todays_podman_pulls_what_is_not_cached() {
    pulls_what_is_not_cached(Client::ImageCopy).await;
}

/// M3, M9, M14: today's podman.
#[tokio::test(flavor = "multi_thread")]
async fn todays_podman_pulls_from_the_cache() {
    pulls_from_the_cache(Client::ImageCopy).await;
}

/// M6, M9, B6: today's podman.
#[tokio::test(flavor = "multi_thread")]
async fn todays_podman_pulls_with_upstream_switched_off() {
    pulls_with_upstream_switched_off(Client::ImageCopy).await;
}

/// M2, M11, M13, B2: containerd 1.6, whose first request is a HEAD.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_pulls_what_is_not_cached() {
    pulls_what_is_not_cached(Client::Containerd(Version::One)).await;
}

/// M3, M9, M11: containerd 1.6.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_pulls_from_the_cache() {
    pulls_from_the_cache(Client::Containerd(Version::One)).await;
}

/// M6, M9, M11, B6: containerd 1.6.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_pulls_with_upstream_switched_off() {
    pulls_with_upstream_switched_off(Client::Containerd(Version::One)).await;
}

/// M2, M11, M13, B2, B6: containerd 2.4, which reads the manifests of all platforms.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_pulls_what_is_not_cached() {
    pulls_what_is_not_cached(Client::Containerd(Version::Two)).await;
}

/// M3, M9, M11: containerd 2.4.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_pulls_from_the_cache() {
    pulls_from_the_cache(Client::Containerd(Version::Two)).await;
}

/// M6, M9, M11, B6: containerd 2.4.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_pulls_with_upstream_switched_off() {
    pulls_with_upstream_switched_off(Client::Containerd(Version::Two)).await;
}

/// M2, M13, B2: crane.
#[tokio::test(flavor = "multi_thread")]
async fn crane_pulls_what_is_not_cached() {
    pulls_what_is_not_cached(Client::Crane).await;
}

/// M3, M9, M14: crane.
#[tokio::test(flavor = "multi_thread")]
async fn crane_pulls_from_the_cache() {
    pulls_from_the_cache(Client::Crane).await;
}

/// M6, M9, B6: crane.
#[tokio::test(flavor = "multi_thread")]
async fn crane_pulls_with_upstream_switched_off() {
    pulls_with_upstream_switched_off(Client::Crane).await;
}
