//! SPEC §1: which upstream repository a name means.

use std::process::Stdio;

use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;
use tokio::process::Command;

use crate::scene::scene;

/// N1: a narrowed organization adds its namespace, and reaches nothing outside it.
#[tokio::test]
async fn adds_the_namespace_of_a_narrowed_organization() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[100]);
    upstream.push("projectquay/deep/quay", "3", &image);
    upstream.push("secret/quay", "3", &image);
    let house = House::builder()
        .organization(Organization::at(&format!("{}/projectquay", upstream.authority())))
        .organization(Organization::at(&format!("{}/projectquay/deep", upstream.authority())).named("deeper"))
        .start()
        .await;
    house.manifest("deep/quay", "3").await.assert_body(image.body());
    house
        .get("/v2/deeper/quay/manifests/3")
        .await
        .assert_body(image.body());
    house
        .blob("deep/quay", &image.layers[0].digest)
        .await
        .assert_body(&image.layers[0].bytes);
    house
        .manifest("secret/quay", "3")
        .await
        .assert_error(404, "NAME_UNKNOWN");
    assert!(
        upstream.requests().iter().all(|request| {
            request.repository.is_empty() || request.repository.starts_with("projectquay/")
        })
    );
}

/// N1: a name of many components is one repository; one without a repository is none.
#[tokio::test]
async fn takes_names_of_many_components() {
    let scene = scene(|acme| acme).await;
    scene.upstream.push("a/b/c/d_e/f-g/h.i", "1", &scene.image);
    scene
        .house
        .manifest("a/b/c/d_e/f-g/h.i", "1")
        .await
        .assert_body(scene.image.body());
    scene
        .house
        .get("/v2/acme/manifests/1")
        .await
        .assert_error(400, "NAME_INVALID");
}

/// N3: `%3A` is a colon, as some clients send it.
#[tokio::test]
async fn accepts_an_escaped_colon_in_a_digest() {
    let scene = scene(|acme| acme).await;
    scene.house.manifest("alpine", "1").await;
    let escaped = scene.image.digest().replace(':', "%3A");
    scene
        .house
        .manifest("alpine", &escaped)
        .await
        .assert_body(scene.image.body());
    let escaped = scene.image.layers[0].digest.replace(':', "%3a");
    scene
        .house
        .blob("alpine", &escaped)
        .await
        .assert_body(&scene.image.layers[0].bytes);
}

/// N3: an organization that nobody configured is answered like one that one may not read.
#[tokio::test]
async fn does_not_reveal_which_organizations_exist() {
    let scene = scene(Organization::private).await;
    for organization in ["acme", "nobody"] {
        let path = format!("/v2/{organization}/alpine/manifests/1");
        scene.house.get(&path).await.assert_error(401, "UNAUTHORIZED");
        let call = scene.house.call(http::Method::GET, &path).user("alice");
        call.send().await.assert_error(403, "DENIED");
    }
}

const ALIASES: [&str; 4] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];
const INNER: &str = "QUAYSIDE_TEST_INNER";

/// N2, U3: all aliases of Docker Hub are one upstream, `alpine` means `library/alpine` and is the same repository.
/// The proxy of the environment is used for it, and plays Docker Hub here.
#[tokio::test]
async fn treats_every_alias_of_docker_hub_alike() {
    if std::env::var_os(INNER).is_some() {
        return pull_from_every_alias().await;
    }
    let hub = FakeUpstream::start().await;
    hub.push("library/alpine", "1", &Image::random(1, &[100]));
    hub.push("other/alpine", "1", &Image::random(2, &[100]));
    // The proxy is read from the environment of a process, so this test runs itself in one of its own.
    let inner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "names::treats_every_alias_of_docker_hub_alike",
            "--nocapture",
        ])
        .env(INNER, "1")
        .env("HTTP_PROXY", hub.origin())
        .env("http_proxy", hub.origin())
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        inner.status.success(),
        "{}",
        String::from_utf8_lossy(&inner.stdout)
    );
    let asked = hub.requests();
    assert!(
        asked
            .iter()
            .all(|request| request.target.starts_with("http://registry-1.docker.io/v2/")),
        "{asked:?}"
    );
    let gets = |path: &str| hub.count(&http::Method::GET, path);
    assert_eq!(gets("/v2/library/alpine/manifests/1"), ALIASES.len());
    assert_eq!(gets("/v2/other/alpine/manifests/1"), 1);
}

async fn pull_from_every_alias() {
    let mut builder = House::builder().organization(Organization::at("docker.io/other").named("narrow"));
    for (position, alias) in ALIASES.iter().enumerate() {
        builder = builder.organization(Organization::at(alias).named(&format!("hub{position}")));
    }
    let house = builder.start().await;
    let (library, other) = (Image::random(1, &[100]), Image::random(2, &[100]));
    for position in 0..ALIASES.len() {
        for name in ["alpine", "library/alpine"] {
            let answer = house.get(&format!("/v2/hub{position}/{name}/manifests/1")).await;
            answer.assert_body(library.body());
        }
    }
    assert_eq!(house.number("SELECT count(*) FROM repository").await, 4);
    house
        .get("/v2/narrow/alpine/manifests/1")
        .await
        .assert_body(other.body());
}
