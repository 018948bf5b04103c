//! Everything of an index, and what skopeo reads besides.

use quayside_tests::images::Format;
use quayside_tests::skopeo::Skopeo;
use quayside_tests::tools::Platforms;

use super::scene::{Scene, two_platforms};

/// M12, M13: every platform of an index, each manifest and blob once from upstream, all bytes right.
async fn copies_every_platform(format: Format) {
    let scene = Scene::of(two_platforms(format)).await;
    let skopeo = Skopeo::new();
    skopeo.copy(&scene.image(), Platforms::All).await.ok();
    let copied = skopeo.copied();
    let mut gets = scene.recorder.gets();
    gets.sort();
    let mut expected = vec!["1".to_owned()];
    for image in &scene.index.images {
        for blob in image.blobs().chain([&image.manifest]) {
            assert!(
                copied.contains(&blob.digest),
                "{} is not in {copied:?}",
                blob.digest
            );
            expected.push(blob.digest.clone());
        }
    }
    expected.sort();
    assert_eq!(gets, expected);
    assert!(
        copied.contains(scene.index.digest()),
        "the index is not in {copied:?}"
    );
}

/// M12, M13: OCI.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_every_platform_of_an_oci_index() {
    copies_every_platform(Format::Oci).await;
}

/// M12, M13: Docker.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_every_platform_of_a_docker_manifest_list() {
    copies_every_platform(Format::Docker).await;
}

/// E2, L1: `skopeo inspect` also reads the list of tags.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_inspects_a_tag() {
    let scene = Scene::new().await;
    let printed = Skopeo::new().inspect(&scene.image()).await.ok();
    let document: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(document["Digest"], scene.index.digest());
    assert_eq!(document["RepoTags"], serde_json::json!(["1"]));
}
