//! SPEC O1, B2: a stop that harms nobody.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{Call, House, Organization};
use quayside_tests::images::Image;
use quayside_tests::program::Program;
use serde_json::json;
use tokio::net::TcpStream;

const TRANSFERS: usize = 20;
const SIZE: usize = 300_000;

struct Scene {
    upstream: FakeUpstream,
    images: Vec<Image>,
    house: House,
    /// Every blob stops here in the middle.
    gate: Gate,
}

/// Images whose manifests are pulled and whose blobs hang in the middle of their transfer.
async fn halfway(count: usize, organize: impl Fn(Organization) -> Organization, seconds: u64) -> Scene {
    let upstream = FakeUpstream::start().await;
    let images: Vec<_> = (0..count as u64)
        .map(|seed| Image::random(seed, &[SIZE]))
        .collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push("app", &number.to_string(), image);
    }
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(SIZE / 2, gate.clone()));
    let house = House::builder()
        .organization(organize(Organization::of(&upstream)))
        .config("/shutdownSeconds", json!(seconds))
        .start()
        .await;
    for (number, image) in images.iter().enumerate() {
        house
            .manifest("app", &number.to_string())
            .await
            .assert_body(image.body());
    }
    Scene {
        upstream,
        images,
        house,
        gate,
    }
}

impl Scene {
    fn layer(&self, image: &Image) -> Call {
        let path = format!("/v2/acme/app/blobs/{}", image.layers[0].digest);
        self.house.call(Method::GET, &path)
    }

    /// Nothing on its way: neither in the spool nor in the records of fills.
    async fn assert_nothing_half_done(&self) {
        let spool = self.house.blobs_path().join("spool");
        assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0);
        assert_eq!(self.house.number("SELECT count(*) FROM fill").await, 0);
    }
}

/// Waits until nobody new is let in.
async fn refused(address: &str) {
    eventually("new connections are refused", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
}

/// O1, B2: a stop in the middle of 20 transfers: all finish, all are stored, and nobody new is let in.
#[tokio::test]
async fn a_stop_lets_twenty_transfers_finish() {
    let mut scene = halfway(TRANSFERS, |acme| acme, 300).await;
    let transfers: Vec<_> = scene
        .images
        .iter()
        .map(|image| tokio::spawn(scene.layer(image).send()))
        .collect();
    scene.gate.reached_by(TRANSFERS).await;
    let (address, ready, alive) = (
        scene.house.authority(),
        scene.house.admin_call(Method::GET, "/readyz"),
        scene.house.admin_call(Method::GET, "/livez"),
    );
    let gate = scene.gate.clone();
    let while_stopping = async {
        refused(&address).await;
        assert_eq!(ready.send().await.status, 503);
        assert_eq!(alive.send().await.status, 200);
        gate.open();
    };
    tokio::join!(scene.house.stop(), while_stopping);
    for (transfer, image) in transfers.into_iter().zip(&scene.images) {
        transfer.await.unwrap().assert_body(&image.layers[0].bytes);
    }
    scene.assert_nothing_half_done().await;
    scene.upstream.stopped().await;
    scene.house.restart().await;
    for image in &scene.images {
        scene
            .layer(image)
            .send()
            .await
            .assert_body(&image.layers[0].bytes);
    }
}

/// O1: while it drains, the registry is not ready and serves whoever still comes.
#[tokio::test]
async fn a_draining_registry_still_serves() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("app", "1", &image);
    let mut house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/drainSeconds", json!(2))
        .start()
        .await;
    let pull = house.call(Method::GET, "/v2/acme/app/manifests/1");
    let ready = || house.admin_call(Method::GET, "/readyz");
    let probes: Vec<_> = (0..200).map(|_| ready()).collect();
    let while_draining = async {
        for probe in probes {
            if probe.send().await.status == 503 {
                break;
            }
        }
        pull.send().await.assert_body(image.body());
    };
    tokio::join!(house.stop(), while_draining);
}

/// O1, B6: fills that nobody waits for are dropped at once, and go on after the next start.
#[tokio::test]
async fn a_stop_drops_background_fills_and_keeps_them_wanted() {
    let mut scene = halfway(1, Organization::background, 300).await;
    scene.gate.reached().await;
    scene.house.stop().await;
    scene.assert_nothing_half_done().await;
    let layer = scene.images[0].layers[0].digest.clone();
    assert!(scene.house.stored_file(&layer).is_none());
    let wanted = "SELECT count(*) FROM blob WHERE wanted_at IS NOT NULL AND storage_key IS NULL";
    assert!(scene.house.number(wanted).await >= 1);
    scene.gate.open();
    scene.house.restart().await;
    let house = &scene.house;
    house
        .as_time_passes("the image is completed", Duration::from_secs(1), || async {
            house.stored_file(&layer).is_some()
        })
        .await;
}

/// O1, B2: a fill outlives the client that caused it, also in a registry that stops.
#[tokio::test]
async fn a_stop_waits_for_the_fill_of_a_client_that_left() {
    let mut scene = halfway(1, |acme| acme, 300).await;
    let client = tokio::spawn(scene.layer(&scene.images[0]).open());
    scene.gate.reached().await;
    drop(client.await.unwrap());
    let (gate, address) = (scene.gate.clone(), scene.house.authority());
    let open = async {
        refused(&address).await;
        gate.open();
    };
    tokio::join!(scene.house.stop(), open);
    scene.assert_nothing_half_done().await;
    assert!(
        scene
            .house
            .stored_file(&scene.images[0].layers[0].digest)
            .is_some()
    );
}

/// O1, G3: what is not finished after `shutdownSeconds` is cut: no client takes a part for the whole, and nothing is
/// left behind that nobody knows of.
#[tokio::test]
async fn a_stop_cuts_what_takes_too_long_and_leaves_no_orphan() {
    let mut scene = halfway(3, |acme| acme, 1).await;
    let transfers: Vec<_> = scene
        .images
        .iter()
        .map(|image| tokio::spawn(scene.layer(image).send()))
        .collect();
    scene.gate.reached_by(3).await;
    soon("the registry stops", scene.house.stop()).await;
    for transfer in transfers {
        let answer = transfer.await.unwrap();
        assert!(!answer.complete, "{}", answer.summary());
    }
    scene.assert_nothing_half_done().await;
    assert!(scene.house.files().is_empty());
    scene.gate.open();
    scene.house.restart().await;
    for image in &scene.images {
        scene
            .layer(image)
            .send()
            .await
            .assert_body(&image.layers[0].bytes);
    }
}

/// O1: SIGTERM in the middle of 20 transfers, to the real program: all finish, and it ends with status 0.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_twenty_transfers_finish() {
    let upstream = FakeUpstream::start().await;
    let images: Vec<_> = (0..TRANSFERS as u64)
        .map(|seed| Image::random(seed, &[SIZE]))
        .collect();
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(SIZE / 2, gate.clone()));
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "tls": { "plainHttp": true },
    });
    let mut program = Program::start(&[acme]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/v2/acme/app", program.address());
    let mut transfers = Vec::new();
    for (number, image) in images.iter().enumerate() {
        upstream.push("app", &number.to_string(), image);
        let manifest = client
            .get(format!("{base}/manifests/{number}"))
            .send()
            .await
            .unwrap();
        assert_eq!(manifest.status(), 200);
        let blob = client
            .get(format!("{base}/blobs/{}", image.layers[0].digest))
            .send();
        transfers.push(tokio::spawn(async { blob.await.unwrap().bytes().await.unwrap() }));
    }
    gate.reached_by(TRANSFERS).await;
    let address = program.address().to_string();
    let open = async {
        refused(&address).await;
        gate.open();
    };
    let (status, ()) = tokio::join!(program.stop(), open);
    assert_eq!(status, Some(0));
    for (transfer, image) in transfers.into_iter().zip(&images) {
        assert!(transfer.await.unwrap() == image.layers[0].bytes);
    }
}

/// O1: who asks a second time is in a hurry: the process ends without waiting for transfers.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_it_at_once() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[SIZE]);
    upstream.push("app", "1", &image);
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::HoldAfter(SIZE / 2, gate.clone()));
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "tls": { "plainHttp": true },
    });
    let mut program = Program::start(&[acme]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/v2/acme/app", program.address());
    client.get(format!("{base}/manifests/1")).send().await.unwrap();
    let blob = client
        .get(format!("{base}/blobs/{}", image.layers[0].digest))
        .send();
    let transfer = tokio::spawn(async { blob.await.unwrap().bytes().await });
    gate.reached().await;
    program.terminate();
    refused(&program.address().to_string()).await;
    assert_eq!(program.stop().await, Some(1));
    assert!(transfer.await.unwrap().is_err(), "a part was taken for the whole");
}
