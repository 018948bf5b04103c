//! containerd asks for a tag by HEAD and pulls by digest. What that does to the tag, and to the blobs.

use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::eventually::eventually;
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Format, Image, Index};

use super::scene::{REPOSITORY, Scene, two_platforms};

/// A scene whose tags live 100 seconds by a clock that the test moves.
async fn scene_of_short_lives() -> Scene {
    Scene::with(
        two_platforms(Format::Oci),
        |house| house,
        |acme| acme.ttl(100).background(),
    )
    .await
}

/// Renewals are written within a second (M15), and a list shows what is written.
async fn is_listed(scene: &Scene) {
    let listed = || async { scene.house.tags(REPOSITORY).await == ["1"] };
    eventually("the tag is listed", listed).await;
}

/// The GET of the digest renews the tag that the HEAD has asked for.
async fn keeps_a_tag_alive(version: Version) {
    let scene = scene_of_short_lives().await;
    let containerd = Containerd::start(version).await;
    containerd.pull(&scene.image()).await.ok();
    scene.house.advance_seconds(60);
    containerd.forget(&scene.image()).await;
    containerd.pull(&scene.image()).await.ok();
    scene.house.advance_seconds(60);
    is_listed(&scene).await;
}

/// The tag comes back to life, and nothing is downloaded again.
async fn revives_a_dead_tag(version: Version) {
    let scene = scene_of_short_lives().await;
    let containerd = Containerd::start(version).await;
    containerd.pull(&scene.image()).await.ok();
    scene.house.advance_seconds(150);
    assert_eq!(scene.house.tags(REPOSITORY).await, Vec::<String>::new());
    containerd.forget(&scene.image()).await;
    scene.recorder.forget();
    containerd.pull(&scene.image()).await.ok();
    is_listed(&scene).await;
    assert_eq!(scene.recorder.gets(), Vec::<String>::new());
}

/// A client that has everything sends the HEAD alone, and that is not a pull.
async fn lets_a_tag_expire_by_polling(version: Version) {
    let scene = scene_of_short_lives().await;
    let containerd = Containerd::start(version).await;
    containerd.pull(&scene.image()).await.ok();
    for _ in 0..2 {
        scene.house.advance_seconds(60);
        containerd.pull(&scene.image()).await.ok();
    }
    assert_eq!(scene.house.tags(REPOSITORY).await, Vec::<String>::new());
}

/// M9, M11: containerd 1.6.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_keeps_a_tag_alive() {
    keeps_a_tag_alive(Version::One).await;
}

/// M9, M11: containerd 2.4.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_keeps_a_tag_alive() {
    keeps_a_tag_alive(Version::Two).await;
}

/// M5, M9, M11: containerd 1.6.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_revives_a_dead_tag() {
    revives_a_dead_tag(Version::One).await;
}

/// M5, M9, M11: containerd 2.4.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_revives_a_dead_tag() {
    revives_a_dead_tag(Version::Two).await;
}

/// M11, E2: containerd 1.6.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_lets_a_tag_expire_by_polling() {
    lets_a_tag_expire_by_polling(Version::One).await;
}

/// M11, E2: containerd 2.4.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_lets_a_tag_expire_by_polling() {
    lets_a_tag_expire_by_polling(Version::Two).await;
}

/// B6, M13: containerd 2.4 reads the manifests and configs of all platforms; the layers of the others stay where they are.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_does_not_make_the_cache_download_every_platform() {
    let mut scene = Scene::new().await;
    let containerd = Containerd::start(Version::Two).await;
    containerd.pull(&scene.image()).await.ok();
    let [own, other] = scene.index.images.as_slice() else {
        panic!("two platforms")
    };
    for blob in own.blobs().chain([&other.config]) {
        assert!(
            scene.house.stored_file(&blob.digest).is_some(),
            "{} is not stored",
            blob.digest
        );
    }
    // Whatever is still to be filled in the background is marked in the database, for the next start.
    scene.house.stop().await;
    assert_eq!(
        scene
            .house
            .number("SELECT count(*) FROM blob WHERE wanted_at IS NOT NULL AND storage_key IS NULL")
            .await,
        0
    );
    for layer in &other.layers {
        assert!(
            scene.house.stored_file(&layer.digest).is_none(),
            "{} was downloaded",
            layer.digest
        );
    }
}

/// B5, M14: open-ended ranges on everything, several at once on a layer that is not there yet, and one GET upstream.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_pulls_in_parallel_ranges() {
    let image = Image::builder()
        .archive(random_layer(1, 8_000_000))
        .archive(random_layer(2, 50_000))
        .build();
    let index = Index::builder().image(image, "amd64").build();
    let scene = Scene::of(index).await;
    let containerd = Containerd::start_with_parallel_ranges().await;
    containerd.pull(&scene.image()).await.ok();
    let image = &scene.index.images[0];
    let content = containerd.content().await;
    for blob in image.blobs() {
        assert!(
            content.contains(&blob.digest),
            "{} is not in {content:?}",
            blob.digest
        );
        let gets = scene
            .recorder
            .gets()
            .into_iter()
            .filter(|digest| *digest == blob.digest)
            .count();
        assert_eq!(gets, 1, "GETs of {}", blob.digest);
    }
}
