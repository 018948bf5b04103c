//! O1, B2, G3: a stop that harms nobody, of one of two registries on one database and one bucket.

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{Fault, Gate, On};
use quayside_tests::house::{Answer, House, HouseBuilder, Organization};
use quayside_tests::images::Image;
use quayside_tests::torture::is_long;
use serde_json::json;
use tokio::net::TcpStream;

use super::Scene;

/// Above what one request writes: the blob goes into the bucket in parts, which a stop meets in the middle.
const LENGTH: usize = 20 << 20;

/// A second registry beside that of the scene, with the same clock.
async fn another(scene: &Scene) -> House {
    let house = scene
        .ground
        .house()
        .organization(Organization::of(&scene.upstream));
    house.clock_of(&scene.house).start().await
}

async fn refused(address: &str) {
    eventually("new connections are refused", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
}

/// O1, B2: the client of a registry that stops in the middle of a fill, and the one that follows the fill on another,
/// get every byte of one GET; the blob is in the bucket afterwards, and nobody holds anything any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_fill_harms_no_replica() {
    let mut scene = Scene::new(LENGTH, |builder| builder).await;
    let second = another(&scene).await;
    let gate = Gate::closed();
    let held = Fault::HoldAfter(LENGTH / 2, gate.clone());
    scene.upstream.script(On::blob(), held);
    let path = format!("/v2/acme/alpine/blobs/{}", scene.layer.digest);
    let own = tokio::spawn(scene.house.call(Method::GET, &path).send());
    gate.reached_by(1).await;
    let following = second.call(Method::GET, &path).open().await;
    let address = scene.house.authority();
    let while_stopping = async {
        refused(&address).await;
        gate.open();
        Answer::read(following).await
    };
    let ((), followed) = tokio::join!(scene.house.stop(), while_stopping);
    own.await.unwrap().assert_body(&scene.layer.bytes);
    followed.assert_body(&scene.layer.bytes);
    assert_eq!(scene.fetches(), 1);
    for what in ["fill", "lease"] {
        let count = match what {
            "fill" => second.number("SELECT count(*) FROM fill").await,
            _ => {
                second
                    .number("SELECT count(*) FROM lease WHERE note IS NULL")
                    .await
            }
        };
        assert_eq!(count, 0, "{what}");
    }
    scene.upstream.stopped().await;
    let answer = second.blob("alpine", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
}

/// O1, M2: a registry that stops before upstream has answered leaves its turn to fetch a manifest to the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_fetch_gives_its_turn_back() {
    let mut scene = Scene::new(1_000, |builder| builder).await;
    let second = another(&scene).await;
    let image = Image::random(2, &[1_000]);
    scene.upstream.push("alpine", "2", &image);
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::manifest().once(), Fault::Hold(gate.clone()));
    let own = tokio::spawn(
        scene
            .house
            .call(Method::GET, "/v2/acme/alpine/manifests/2")
            .send(),
    );
    gate.reached_by(1).await;
    let held = "SELECT count(*) FROM lease WHERE name LIKE 'm:%' AND note IS NULL";
    assert_eq!(second.number(held).await, 1);
    // The fetch outlives its client.
    own.abort();
    scene.house.stop().await;
    assert_eq!(second.number(held).await, 0);
    second.manifest("alpine", "2").await.assert_body(image.body());
}

/// G3, B2: a registry that starts gives up nothing that another one is filling.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_gives_up_no_fill_of_another() {
    let scene = Scene::new(LENGTH, |builder| builder).await;
    let gate = Gate::closed();
    let held = Fault::HoldAfter(LENGTH / 2, gate.clone());
    scene.upstream.script(On::blob(), held);
    let path = format!("/v2/acme/alpine/blobs/{}", scene.layer.digest);
    let own = tokio::spawn(scene.house.call(Method::GET, &path).send());
    gate.reached_by(1).await;
    let second = another(&scene).await;
    assert_eq!(second.number("SELECT count(*) FROM fill").await, 1);
    gate.open();
    own.await.unwrap().assert_body(&scene.layer.bytes);
    scene.house.stored(&scene.layer.digest).await;
    assert_eq!(second.number("SELECT count(*) FROM garbage").await, 0);
    let answer = second.blob("alpine", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
    assert_eq!(scene.fetches(), 1);
}

/// O1, O2: a bucket that hangs keeps no process for ever, and what it did not take is nobody's loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_bucket_that_hangs() {
    let impatient = |builder: HouseBuilder| builder.config("/shutdownSeconds", json!(1));
    let mut scene = Scene::new(100_000, impatient).await;
    scene.ground.server.stop();
    let answer = scene.house.blob("alpine", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
    scene.house.stop().await;
    scene.ground.server.go_on();
    let second = another(&scene).await;
    eventually("no key is lost", || async {
        second.collect_fully().await;
        second.number("SELECT count(*) FROM fill").await == 0
    })
    .await;
    let found = crate::scrub::scrub(&second, Method::GET, "/scrub").await;
    found.assert_clean();
    let answer = second.blob("alpine", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
}

/// O1, O2: nor does a database that hangs. Of the long form, as all that it takes is time.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_database_that_hangs() {
    if !is_long() {
        return;
    }
    let mut scene = Scene::new(1000, |builder| builder).await;
    scene.fill().await;
    scene.house.advance_seconds(1);
    scene
        .house
        .manifest("alpine", "1")
        .await
        .assert_cache("REVALIDATED");
    scene.ground.wire.hold();
    // Within the patience of every stop of a house.
    scene.house.stop().await;
}

/// O1, M15: a transfer out of the bucket is finished, and the pulls that wait are written for the others to see.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_read_from_the_bucket() {
    let mut scene = Scene::new(LENGTH, |builder| builder).await;
    scene.fill().await;
    let second = another(&scene).await;
    let path = format!("/v2/acme/alpine/blobs/{}", scene.layer.digest);
    let slow = scene.house.call(Method::GET, &path).open().await;
    scene.house.advance_seconds(60);
    scene.house.manifest("alpine", "1").await;
    let pulled = scene.house.now();
    let address = scene.house.authority();
    let while_stopping = async {
        refused(&address).await;
        Answer::read(slow).await
    };
    let ((), answer) = tokio::join!(scene.house.stop(), while_stopping);
    answer.assert_body(&scene.layer.bytes);
    let ends_at = second.number("SELECT max(ends_at) FROM tag").await;
    assert_eq!(ends_at, pulled + 86_400_000);
}

/// O1, G3: what is not finished in time is cut, and nothing is left behind that nobody knows of: no object, no upload.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_what_takes_too_long_and_leaves_no_orphan() {
    let impatient = |builder: HouseBuilder| builder.config("/shutdownSeconds", json!(1));
    let mut scene = Scene::new(LENGTH, impatient).await;
    let gate = Gate::closed();
    let held = Fault::HoldAfter(LENGTH - 1000, gate.clone());
    scene.upstream.script(On::blob(), held);
    let path = format!("/v2/acme/alpine/blobs/{}", scene.layer.digest);
    let own = tokio::spawn(scene.house.call(Method::GET, &path).send());
    gate.reached_by(1).await;
    scene.house.stop().await;
    assert!(!own.await.unwrap().complete);
    gate.open();
    let second = another(&scene).await;
    assert_eq!(second.number("SELECT count(*) FROM fill").await, 0);
    second.collect_fully().await;
    let found = crate::scrub::scrub(&second, Method::GET, "/scrub").await;
    found.assert_clean();
    assert!(second.files().is_empty());
    let answer = second.blob("alpine", &scene.layer.digest).await;
    answer.assert_body(&scene.layer.bytes);
}
