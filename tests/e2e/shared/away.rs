//! O2, C4: what is away while a registry starts.

use std::future::ready;

use quayside_tests::eventually::{eventually, never, soon};

use super::Ground;

/// O2: a bucket that is away at the start is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_bucket_that_is_away() {
    let mut ground = Ground::new();
    ground.door.close();
    let starting = tokio::spawn(ground.house().start());
    never("the start ends", || ready(starting.is_finished())).await;
    ground.door.open();
    let house = soon("the registry starts", starting).await.unwrap();
    assert_eq!(house.admin("/readyz").await.status, 200);
}

/// O2: a database that is away at the start is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_database_that_is_away() {
    let mut ground = Ground::new();
    ground.postgres.stop();
    let starting = tokio::spawn(ground.house().start());
    never("the start ends", || ready(starting.is_finished())).await;
    ground.postgres.go_on();
    let house = soon("the registry starts", starting).await.unwrap();
    eventually("it is ready", || async {
        house.admin("/readyz").await.status == 200
    })
    .await;
}
