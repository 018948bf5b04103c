//! `make run`: what the README's first command starts.

use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::images::Format;
use quayside_tests::podman::Podman;
use quayside_tests::program::MakeRun;
use quayside_tests::recorder::Recorder;
use serde_json::json;

use super::scene::two_platforms;

/// C1, C3, M2, M3, M6, A8: podman and containerd pull cold, warm and with upstream switched off, without a login.
#[tokio::test(flavor = "multi_thread")]
async fn make_run_serves_podman_and_containerd_cold_warm_and_offline() {
    let mut upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let index = two_platforms(Format::Oci);
    for repository in ["library/one", "library/two"] {
        upstream.repository(repository).index("1", &index).await;
    }
    let mut recorder = Recorder::start(upstream.address()).await;
    let home = tempfile::tempdir().unwrap();
    let organizations = home.path().join("organizations.yaml");
    let docker = json!({
        "name": "docker",
        "remoteRegistry": recorder.address().to_string(),
        "visibility": "Internal",
        "tls": { "plainHttp": true },
    });
    std::fs::write(&organizations, json!({ "organizations": [docker] }).to_string()).unwrap();
    let quayside = MakeRun::start(&home.path().join("data"), &organizations).await;
    let advice = format!("podman pull --tls-verify=false {}/docker/", quayside.address());
    assert!(
        quayside.log().contains(&advice),
        "no {advice:?} in:\n{}",
        quayside.log()
    );

    let for_podman = format!("{}/docker/library/one:1", quayside.address());
    let for_containerd = format!("{}/docker/library/two:1", quayside.address());
    let containerd = Containerd::start(Version::Two).await;
    Podman::new().pull(&for_podman).await.ok();
    containerd.pull(&for_containerd).await.ok();

    recorder.forget();
    Podman::new().pull(&for_podman).await.ok();
    containerd.forget(&for_containerd).await;
    containerd.pull(&for_containerd).await.ok();
    assert_eq!(recorder.gets(), Vec::<String>::new());

    recorder.switch_off().await;
    upstream.switch_off();
    let podman = Podman::new();
    podman.pull(&for_podman).await.ok();
    assert!(
        podman
            .digests(&for_podman)
            .await
            .contains(&index.digest().to_owned())
    );
    containerd.forget(&for_containerd).await;
    containerd.pull(&for_containerd).await.ok();
    assert_eq!(containerd.digest(&for_containerd).await, index.digest());
}
