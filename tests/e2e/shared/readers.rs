//! G3: what somebody reads in a bucket is not deleted under him.

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::house::{Answer, GRACE};

use super::Scene;

/// More than what lies between a client that reads nothing and the bucket.
const LENGTH: usize = 24 << 20;

/// G3: a transfer that takes many graces is never cut off; the bytes go once it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_slowly_is_not_deleted_meanwhile() {
    let scene = Scene::new(LENGTH, |builder| builder).await;
    scene.fill().await;
    let (house, layer) = (&scene.house, &scene.layer);
    let object = house.stored_file(&layer.digest).unwrap();
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let slow = house.call(Method::GET, &path).open().await;
    assert_eq!(slow.headers()["x-cache"], "HIT");
    // The image is given up.
    house
        .reload_file(r#"{ "organizations": [], "allowEmpty": true }"#)
        .await;
    house.advance_seconds(15 * 86_400);
    house.collect().await;
    house.advance(GRACE);
    house.collect().await;
    assert_eq!(house.number("SELECT count(*) FROM blob").await, 0);
    let due = || house.number("SELECT min(not_before) FROM garbage WHERE size > 1000000");
    let half = i64::try_from(GRACE.as_millis()).unwrap() / 2;
    for _ in 0..12 {
        eventually("the deletion is put off", || async {
            due().await > house.now() + half
        })
        .await;
        house.advance(GRACE / 3);
        house.collect().await;
        assert!(object.exists(), "deleted while it is read");
    }
    let answer = Answer::read(slow).await;
    assert!(
        answer.complete && answer.body == layer.bytes,
        "{}",
        answer.body.len()
    );
    house.advance(GRACE * 2);
    eventually("the bytes go", || async {
        house.advance(GRACE);
        house.collect().await;
        !object.exists()
    })
    .await;
}
