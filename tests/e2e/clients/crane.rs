//! crane re-hashes whatever it is served.

use quayside_tests::crane::Crane;
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Format, Image, Index};

use super::scene::{Scene, two_platforms};

/// Every manifest and every blob, cold and warm.
async fn validates(index: Index) {
    let scene = Scene::of(index).await;
    let crane = Crane::new();
    let cold = crane.validate(&scene.image()).await.ok();
    assert!(cold.starts_with("PASS"), "{cold}");
    scene.recorder.forget();
    let warm = crane.validate(&scene.image()).await.ok();
    assert!(warm.starts_with("PASS"), "{warm}");
    assert_eq!(scene.recorder.gets(), Vec::<String>::new());
}

/// M12, B2: an OCI index.
#[tokio::test(flavor = "multi_thread")]
async fn crane_finds_nothing_wrong_with_an_oci_index() {
    validates(two_platforms(Format::Oci)).await;
}

/// M12, B2: a Docker manifest list.
#[tokio::test(flavor = "multi_thread")]
async fn crane_finds_nothing_wrong_with_a_docker_manifest_list() {
    validates(two_platforms(Format::Docker)).await;
}

/// M12, M13: an index of indexes.
#[tokio::test(flavor = "multi_thread")]
async fn crane_finds_nothing_wrong_with_an_index_of_indexes() {
    validates(Index::builder().index(two_platforms(Format::Oci)).build()).await;
}

/// B2, B3: layers of several megabytes, far more than is withheld.
#[tokio::test(flavor = "multi_thread")]
async fn crane_finds_nothing_wrong_with_large_layers() {
    let image = Image::builder()
        .archive(random_layer(1, 9_000_000))
        .archive(random_layer(2, 5_000_000))
        .build();
    validates(Index::builder().image(image, "amd64").build()).await;
}

/// M11, M14: a HEAD of a tag that is not cached gives the digest, and fills no blob.
#[tokio::test(flavor = "multi_thread")]
async fn crane_asks_for_a_digest_and_no_blob_is_filled() {
    let scene = Scene::new().await;
    assert_eq!(
        Crane::new().digest(&scene.image()).await.ok(),
        scene.index.digest()
    );
    assert_eq!(scene.recorder.gets(), ["1"]);
}

/// M12: the body comes through byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn crane_reads_the_manifest_as_it_was_pushed() {
    let scene = Scene::new().await;
    let printed = Crane::new().manifest(&scene.image()).await.ok();
    assert_eq!(printed.as_bytes(), scene.index.body());
}
