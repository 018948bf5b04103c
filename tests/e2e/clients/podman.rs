//! What podman prints, and what it takes.

use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::house::Organization;
use quayside_tests::image_copy::ImageCopy;
use quayside_tests::images::Format;
use quayside_tests::podman::Podman;
use quayside_tests::reachable;
use quayside_tests::tokenserver::{Account, TokenServer};

use super::scene::{REPOSITORY, Scene, two_platforms};

/// M6: today's podman shows the warning of a response that upstream could not confirm. Debian's drops the header.
#[tokio::test(flavor = "multi_thread")]
async fn podman_warns_about_a_tag_that_upstream_did_not_confirm() {
    let mut scene = Scene::new().await;
    let confirmed = ImageCopy::new().copy(&scene.image()).await;
    assert!(
        confirmed.success && !confirmed.stderr.contains("Warning from registry"),
        "{confirmed}"
    );
    let upstream = scene.recorder.address().to_string();
    scene.switch_off_upstream().await;
    let stale = ImageCopy::new().copy(&scene.image()).await;
    assert!(
        stale.success && stale.stderr.contains("Warning from registry"),
        "{stale}"
    );
    assert!(
        stale.stderr.contains(&upstream),
        "the warning does not name the upstream: {stale}"
    );
}

/// M8: the message of a tag that is nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn podman_shows_that_a_tag_is_unknown() {
    let scene = Scene::new().await;
    let image = format!("{}/acme/{REPOSITORY}:2", scene.house.authority());
    let printed = Podman::new().pull(&image).await.failed();
    assert!(printed.contains("manifest unknown: "), "{printed}");
}

/// M8: a repository that is nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn podman_shows_that_a_repository_is_unknown() {
    let scene = Scene::new().await;
    let image = format!("{}/acme/lib/nowhere:1", scene.house.authority());
    let printed = Podman::new().pull(&image).await.failed();
    assert!(printed.contains("unknown: "), "{printed}");
    assert_eq!(
        scene.house.rows().await,
        0,
        "a pull that failed left something behind"
    );
}

/// M7: an upstream that refuses the repository is named in what podman prints.
#[tokio::test(flavor = "multi_thread")]
async fn podman_shows_which_upstream_refused() {
    let tokens = TokenServer::start(Account::new("robot", "canary-robot")).await;
    let upstream = Distribution::start(Edition::Three, Access::Tokens(&tokens)).await;
    let index = two_platforms(Format::Oci);
    upstream
        .repository_with(REPOSITORY, &tokens)
        .index("1", &index)
        .await;
    let address = upstream.address().to_string();
    let house = reachable::house()
        .system_clock()
        .organization(Organization::at(&address))
        .start()
        .await;
    let image = format!("{}/acme/{REPOSITORY}:1", house.authority());
    let printed = Podman::new().pull(&image).await.failed();
    assert!(printed.contains("denied: "), "{printed}");
    assert!(printed.contains(&address), "{printed}");
    assert!(printed.contains("may not exist"), "{printed}");
}

/// M8: an upstream that is down ends a pull of something that is not cached at once, with a status.
#[tokio::test(flavor = "multi_thread")]
async fn podman_fails_at_once_on_what_is_not_cached_while_upstream_is_down() {
    let mut scene = Scene::new().await;
    scene.switch_off_upstream().await;
    let printed = Podman::new().pull(&scene.image()).await.failed();
    assert!(printed.contains("502 Bad Gateway"), "{printed}");
    assert_eq!(
        scene.house.rows().await,
        0,
        "a pull that failed left something behind"
    );
}

/// A3, M8: an organization that does not exist is a clear refusal.
#[tokio::test(flavor = "multi_thread")]
async fn podman_is_refused_an_unknown_organization() {
    let scene = Scene::new().await;
    let image = format!("{}/nobody/{REPOSITORY}:1", scene.house.authority());
    Podman::new().pull(&image).await.failed();
    assert_eq!(scene.recorder.gets(), Vec::<String>::new());
}

/// M12: Docker's own formats, list and manifest, keep their bytes and their types.
#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_a_docker_manifest_list() {
    let index = two_platforms(Format::Docker);
    let scene = Scene::of(index).await;
    let podman = Podman::new();
    podman.pull(&scene.image()).await.ok();
    let mut digests = podman.digests(&scene.image()).await;
    digests.sort();
    let mut expected = [scene.index.digest(), scene.index.images[0].digest()].map(str::to_owned);
    expected.sort();
    assert_eq!(digests, expected);
}

/// M9, M10: by digest, cold, and again with upstream gone.
#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_by_digest() {
    let mut scene = Scene::new().await;
    let digest = scene.index.images[0].digest().to_owned();
    let image = format!("{}/acme/{REPOSITORY}@{digest}", scene.house.authority());
    Podman::new().pull(&image).await.ok();
    scene.switch_off_upstream().await;
    let podman = Podman::new();
    podman.pull(&image).await.ok();
    assert_eq!(podman.digests(&image).await, [digest]);
}
