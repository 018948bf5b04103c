//! O2: a bucket that is away, hangs, refuses or is full, and comes back.

use quayside_test_servers::Versitygw;
use quayside_test_servers::s3_door::{Fault, Operation};
use quayside_test_servers::versitygw::Disk;
use quayside_tests::eventually::eventually;
use quayside_tests::house::HouseBuilder;
use quayside_tests::images::Image;

use super::{Ground, Scene};

/// How a bucket can be away.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Refuses,
    Hangs,
    Answers(Fault),
}

fn begin(ground: &mut Ground, outage: Outage) {
    match outage {
        Outage::Refuses => ground.door.close(),
        Outage::Hangs => ground.server.stop(),
        Outage::Answers(fault) => ground.door.break_everything(fault),
    }
}

fn end(ground: &mut Ground, outage: Outage) {
    match outage {
        Outage::Refuses => ground.door.open(),
        Outage::Hangs => ground.server.go_on(),
        Outage::Answers(_) => ground.door.heal(),
    }
}

/// Everything is served while the bucket is away, one GET a client; nothing is lost by it, and it heals by itself.
async fn everything_is_served_through(outage: Outage) {
    let mut scene = Scene::new(300_000, |builder| builder).await;
    scene.fill().await;
    // Of what is stored the new process has seen nothing.
    scene.house.restart().await;
    let fresh = Image::random(2, &[200_000]);
    scene.upstream.push("fresh", "1", &fresh);
    begin(&mut scene.ground, outage);
    let (house, layer) = (&scene.house, &scene.layer);
    for count in 2..=3 {
        let answer = house.blob("alpine", &layer.digest).await;
        answer.assert_body(&layer.bytes);
        assert_eq!(answer.header("x-cache"), "MISS");
        assert_eq!(scene.fetches(), count, "one GET a client");
    }
    house.manifest("fresh", "1").await.assert_body(fresh.body());
    let answer = house.blob("fresh", &fresh.layers[0].digest).await;
    answer.assert_body(&fresh.layers[0].bytes);
    assert_eq!(house.admin("/readyz").await.status, 200);
    end(&mut scene.ground, outage);

    eventually("the stored blob is read again", || async {
        let answer = scene.house.blob("alpine", &layer.digest).await;
        answer.assert_body(&layer.bytes);
        answer.header("x-cache") == "HIT"
    })
    .await;
    eventually("what is new is stored", || async {
        let answer = scene.house.blob("fresh", &fresh.layers[0].digest).await;
        answer.assert_body(&fresh.layers[0].bytes);
        answer.header("x-cache") == "HIT"
    })
    .await;
    scene.house.audit().await;
}

/// O2
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_served_while_the_bucket_refuses_connections() {
    everything_is_served_through(Outage::Refuses).await;
}

/// O2: in a time that has bounds.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_served_while_the_bucket_hangs() {
    everything_is_served_through(Outage::Hangs).await;
}

/// O2
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_served_while_the_bucket_is_too_busy() {
    everything_is_served_through(Outage::Answers(Fault::SlowDown)).await;
}

/// O2: credentials that ran out are an outage too, and say nothing about what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_served_while_the_bucket_denies_access() {
    everything_is_served_through(Outage::Answers(Fault::Denied)).await;
}

/// O2, B7: a transfer that the bucket breaks off for good goes on from upstream, in the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_when_the_bucket_breaks_off() {
    let scene = Scene::new(1_000_000, |builder| builder).await;
    scene.fill().await;
    let (house, layer, door) = (&scene.house, &scene.layer, &scene.ground.door);
    door.break_next(1, Operation::GetObject, Fault::Cut(400_000));
    door.break_all(Operation::GetObject, Fault::Denied);
    let range = "bytes=1000-899999";
    let answer = house.blob_range("alpine", &layer.digest, range).await;
    let expected = &layer.bytes[1000..900_000];
    assert!(answer.complete && answer.body == expected, "{}", answer.summary());
    assert_eq!(scene.fetches(), 2);
    door.heal();
    let before = scene.fetches();
    door.break_next(1, Operation::GetObject, Fault::Cut(400_000));
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    assert_eq!(scene.fetches(), before, "the bucket itself goes on");
}

/// O2: what does not fit into the spool passes through, one GET a client, and metadata goes on.
#[tokio::test]
async fn what_does_not_fit_into_the_spool_passes_through() {
    let bound = |builder: HouseBuilder| builder.config("/storage/s3/spool/maxBytes", 50_000.into());
    let scene = Scene::new(100_000, bound).await;
    let (house, layer) = (&scene.house, &scene.layer);
    for count in 1..=2 {
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        assert_eq!(scene.fetches(), count);
    }
    let small = Image::random(2, &[1000]);
    scene.upstream.push("small", "1", &small);
    house.manifest("small", "1").await.assert_body(small.body());
    let layer = &small.layers[0];
    house.blob("small", &layer.digest).await.assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
}

/// O2: a bucket without room takes nothing, harms no client, and all is well once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_passes_blobs_through() {
    let ground = Ground::with(Versitygw::start_on(Disk::Small(24 << 20)));
    let ballast = ground.bucket.root().join("ballast");
    std::fs::write(&ballast, vec![1; 22 << 20]).unwrap();
    let mut scene = Scene::on(ground, 10 << 20, |builder| builder).await;
    let fresh = Image::random(2, &[1000]);
    scene.upstream.push("fresh", "1", &fresh);
    let (house, layer) = (&scene.house, &scene.layer);
    for _ in 0..2 {
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
    }
    house.manifest("fresh", "1").await.assert_body(fresh.body());
    assert!(house.stored_file(&layer.digest).is_none());
    std::fs::remove_file(&ballast).unwrap();
    eventually("it is stored", || async {
        let answer = scene.house.blob("alpine", &layer.digest).await;
        answer.assert_body(&layer.bytes);
        answer.header("x-cache") == "HIT"
    })
    .await;
    scene.house.audit().await;
}
