//! `make run-replicas`, as somebody tries it.

use std::path::Path;

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::image_copy::ImageCopy;
use quayside_tests::images::Image;
use quayside_tests::images::archive::random_layer;
use quayside_tests::podman::Podman;
use quayside_tests::program::MakeRun;
use quayside_tests::replicas::acme;
use serde_json::json;

const LENGTH: usize = 4 << 20;

/// Which replica is receiving a blob, from 1.
fn filler(data: &Path) -> Option<usize> {
    (1..=2).find(|number| {
        let spool = data.join(format!("replica-{number}/spool"));
        let files = std::fs::read_dir(spool).into_iter().flatten().flatten();
        let mut lengths = files.map(|file| file.metadata().map_or(0, |metadata| metadata.len()));
        lengths.any(|length| length > 0)
    })
}

/// B2, C4: the replica that receives a layer is killed: today's podman goes on, Debian's finds all of it afterwards, the
/// replica comes back, and Ctrl-C ends everything and leaves what is stored for the next time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn make_run_replicas_survives_what_people_try() {
    let upstream = FakeUpstream::start().await;
    let image = Image::builder().archive(random_layer(1, LENGTH)).build();
    upstream.push("app", "1", &image);
    let (gate, layer) = (Gate::closed(), &image.layers[0].digest);
    let first = On::blob().get().at(layer).once();
    upstream.script(first, Fault::HoldAfter(LENGTH / 2, gate.clone()));
    let home = tempfile::tempdir().unwrap();
    let (data, organizations) = (home.path().join("data"), home.path().join("organizations.yaml"));
    let document = json!({ "organizations": [acme(&upstream.authority(), &json!({}))] });
    std::fs::write(&organizations, document.to_string()).unwrap();
    let quayside = MakeRun::replicas(&data, &organizations).await;
    let advice = format!("podman pull --tls-verify=false {}/", quayside.address());
    assert!(
        quayside.log().contains(&advice),
        "no {advice:?} in:\n{}",
        quayside.log()
    );

    let reference = format!("{}/acme/app:1", quayside.address());
    let copier = ImageCopy::new();
    let kill = async {
        gate.reached().await;
        eventually("half of the layer is there", || {
            std::future::ready(filler(&data).is_some())
        })
        .await;
        let number = filler(&data).unwrap();
        quayside.signal("KILL", &format!("replica-{number}/config.yaml"));
    };
    let (outcome, ()) = futures::join!(copier.copy(&reference), kill);
    outcome.ok();
    gate.open();
    assert!(copier.copied().contains(layer));
    Podman::new().pull(&reference).await.ok();
    eventually("the replica comes back", || {
        std::future::ready(quayside.log().contains("serves again"))
    })
    .await;
    assert_eq!(upstream.count(&Method::GET, layer), 2);

    quayside.signal("INT", "/run-replicas");
    assert_eq!(quayside.ended().await, Some(0));
    let again = MakeRun::replicas(&data, &organizations).await;
    Podman::new()
        .pull(&format!("{}/acme/app:1", again.address()))
        .await
        .ok();
    assert_eq!(upstream.count(&Method::GET, layer), 2);
}
