//! Q7: what the person at the other end reads.

use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Image, Index};
use quayside_tests::podman::Podman;
use quayside_tests::reachable;
use quayside_tests::skopeo::Skopeo;
use quayside_tests::tools::Platforms;
use serde_json::json;

use super::{MESSAGE, assert_refused};

/// An image that does not fit, behind a house that says so: by itself, and in an index that does fit.
struct Scene {
    _upstream: FakeUpstream,
    house: House,
}

impl Scene {
    async fn new() -> Self {
        let upstream = FakeUpstream::start().await;
        let image = Image::builder().archive(random_layer(1, 100_000)).build();
        upstream.push("app", "1", &image);
        let index = Index::builder().image(image, "amd64").build();
        upstream.push_index("multi", "1", &index);
        let house = reachable::house()
            .system_clock()
            .config("/FEATURE_QUOTA_MANAGEMENT", json!(true))
            .organization(Organization::of(&upstream).set("storageQuotaBytes", json!(50_000)))
            .start()
            .await;
        Self {
            _upstream: upstream,
            house,
        }
    }

    fn images(&self) -> [String; 2] {
        ["app", "multi"].map(|repository| format!("{}/acme/{repository}:1", self.house.authority()))
    }
}

/// Q7: podman prints the message, of an image and of one that an index names, at once and without trying again.
#[tokio::test(flavor = "multi_thread")]
async fn podman_prints_the_refusal() {
    let scene = Scene::new().await;
    for image in scene.images() {
        let printed = Podman::new().pull(&image).await.failed();
        assert!(printed.contains(&format!("denied: {MESSAGE}")), "{printed}");
    }
    // Both, and the index of one of them.
    let denied = "quayside_pulls_total{organization=\"acme\",result=\"denied\"}";
    assert_eq!(scene.house.metric(denied).await, Some(2));
}

/// Q7: skopeo does.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_prints_the_refusal() {
    let scene = Scene::new().await;
    for image in scene.images() {
        let printed = Skopeo::new().copy(&image, Platforms::Own).await.failed();
        assert!(printed.contains(&format!("denied: {MESSAGE}")), "{printed}");
    }
}

/// Q7: containerd 2 asks by HEAD and then by GET for the text.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_prints_the_refusal() {
    let scene = Scene::new().await;
    let containerd = Containerd::start(Version::Two).await;
    for image in scene.images() {
        let printed = containerd.pull(&image).await.failed();
        assert!(printed.contains(&format!("denied: {MESSAGE}")), "{printed}");
    }
}

/// Q7: containerd 1.6 asks by HEAD alone and can say no more than the status; whoever asks by hand reads why.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_prints_the_status_and_a_get_by_hand_says_why() {
    let scene = Scene::new().await;
    let containerd = Containerd::start(Version::One).await;
    let [image, index] = scene.images();
    let printed = containerd.pull(&image).await.failed();
    assert!(
        printed.contains("403 Forbidden") && !printed.contains(MESSAGE),
        "{printed}"
    );
    assert_refused(&scene.house.manifest("app", "1").await);
    // It reads the manifests that an index names by GET.
    let printed = containerd.pull(&index).await.failed();
    assert!(printed.contains(MESSAGE), "{printed}");
}
