//! Beside pulls, collections, and other comparisons.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, soon};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{GRACE, House, Organization};
use quayside_tests::images::Image;
use quayside_tests::torture::is_long;
use sqlx::Executor as _;

use super::{hold_the_writer, scene, scrub};

/// How often everything is pulled and dies.
fn rounds() -> u64 {
    if is_long() { 60 } else { 6 }
}

/// O5, G2: while blobs come, die and are deleted, comparisons without end find nothing, and repair nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_false_alarm_while_everything_comes_and_goes() {
    let upstream = FakeUpstream::start().await;
    let images: Vec<_> = (0..8)
        .map(|seed| Image::random(seed, &[1000, 300_000, 40]))
        .collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push(&format!("app{number}"), "1", image);
    }
    let acme = Organization::of(&upstream).ttl(60).window(0);
    let mut house = House::with(acme).await;
    let compared = AtomicU64::new(0);
    let life = async {
        let mut round = 0;
        while round < rounds() || compared.load(Ordering::Relaxed) == 0 {
            round += 1;
            let pulls = images.iter().enumerate().map(async |(number, image)| {
                let name = format!("app{number}");
                house.manifest(&name, "1").await.assert_body(image.body());
                for blob in image.blobs() {
                    house.blob(&name, &blob.digest).await.assert_body(&blob.bytes);
                }
            });
            futures::future::join_all(pulls).await;
            // They die, are released, collected and deleted.
            for _ in 0..3 {
                house.advance(GRACE + Duration::from_mins(1));
                house.collect().await;
            }
        }
    };
    let watch = async {
        loop {
            for path in ["/scrub", "/scrub/verify"] {
                let scrubbed = scrub(&house, Method::POST, path).await;
                scrubbed.assert_clean();
                let blobs = scrubbed.report["blobs"].as_u64().unwrap();
                compared.fetch_add(blobs, Ordering::Relaxed);
            }
        }
    };
    tokio::select! {
        () = life => {}
        () = watch => {}
    }
    house.audit().await;
}

/// O5: one comparison at a time; a second one is told so, and who goes away makes room.
#[tokio::test]
async fn a_second_comparison_is_sent_away() {
    let scene = scene(&[1000]).await;
    let house = &scene.house;
    std::fs::remove_file(scene.file(&scene.image.layers[0])).unwrap();
    let token = house.admin_token();
    let call = |method, path| house.admin_call(method, path).bearer(&token);
    // The repair waits for the writer.
    let mut writer = hold_the_writer(house).await;
    let first = call(Method::POST, "/scrub").open().await;
    assert_eq!(first.status(), 200);
    for (method, path) in [(Method::GET, "/scrub"), (Method::POST, "/scrub/verify")] {
        let second = call(method, path).send().await;
        assert_eq!(second.status, 409, "{}", second.summary());
        assert!(
            second.json()["error"]
                .as_str()
                .unwrap()
                .contains("running already")
        );
    }
    drop(first);
    eventually("there is room", || async {
        call(Method::GET, "/scrub").open().await.status() == 200
    })
    .await;
    writer.execute("ROLLBACK").await.unwrap();
}

/// O5, C3: a server that stops does not wait for a comparison.
#[tokio::test]
async fn a_comparison_does_not_keep_the_server_from_stopping() {
    let mut scene = scene(&[1000]).await;
    std::fs::remove_file(scene.file(&scene.image.layers[0])).unwrap();
    let writer = hold_the_writer(&scene.house).await;
    let token = scene.house.admin_token();
    let open = scene
        .house
        .admin_call(Method::POST, "/scrub")
        .bearer(&token)
        .open()
        .await;
    assert_eq!(open.status(), 200);
    drop(writer);
    soon("the registry stops and starts", scene.house.restart()).await;
    scene.pull().await;
    drop(open);
}
