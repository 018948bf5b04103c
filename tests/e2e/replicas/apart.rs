//! Replicas that cannot reach each other.

use std::time::Duration;

use quayside_tests::eventually::soon;
use quayside_tests::namespace::{self, Place};

use super::Scene;

/// B2: where packets to the peer port are lost, the other replica waits two seconds and fetches by itself. Both are
/// right, and one of the two copies is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_packets_do_not_reach_is_not_waited_for() {
    let test = "replicas::apart::a_peer_that_packets_do_not_reach_is_not_waited_for";
    if namespace::enter(test).await == Place::Outside {
        return;
    }
    let (scene, gate) = Scene::half().await;
    namespace::lose_packets_to(scene.fleet.replicas.replica(0).peer());
    let mut filling = scene.begin(scene.fleet.at(0)).await;
    filling.first().await;
    gate.reached().await;
    let mut alone = scene.begin(scene.fleet.at(1)).await;
    let waited = alone.first().await;
    assert!(waited < Duration::from_secs(6), "the first byte took {waited:?}");
    alone.end(&scene.layer).await;
    scene.fleet.stored(&scene.layer.digest).await;
    gate.open();
    filling.end(&scene.layer).await;
    assert_eq!(scene.fetches().len(), 2);
    scene.fleet.audit_at_rest().await;
}

/// B2: where packets begin to be lost in the middle, who follows has the right bytes in the end, for one more fetch at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_cut_off_halfway_goes_on() {
    let test = "replicas::apart::a_follower_that_is_cut_off_halfway_goes_on";
    if namespace::enter(test).await == Place::Outside {
        return;
    }
    let (scene, gate) = Scene::half().await;
    let mut filling = scene.begin(scene.fleet.at(0)).await;
    filling.first().await;
    gate.reached().await;
    let mut following = scene.begin(scene.fleet.at(1)).await;
    following.first().await;
    namespace::lose_packets_to(scene.fleet.replicas.replica(0).peer());
    gate.open();
    filling.end(&scene.layer).await;
    tokio::time::timeout(Duration::from_mins(1), following.end(&scene.layer))
        .await
        .expect("who follows is not left alone");
    assert!(scene.fetches().len() <= 2, "{:#?}", scene.fetches());
    soon("it is stored", scene.fleet.stored(&scene.layer.digest)).await;
    scene.fleet.audit_at_rest().await;
}
