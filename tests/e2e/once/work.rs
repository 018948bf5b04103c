//! One replica works, and another one goes on when it stops or dies.

use std::time::Duration;

use http::Method;
use quayside_tests::eventually::{eventually, never};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{Organization, Pair};
use quayside_tests::images::Image;

const STEP: Duration = Duration::from_millis(500);
/// How many replicas have the lease of the workers.
const LED: &str = "SELECT count(*) FROM lease WHERE name = 'worker'";
/// What every pass gives up: a fill that nobody renews.
const LEAVE_FILL: &str =
    "INSERT INTO fill (token, digest, size, scope, leased, address, storage_key, expires_at)
    VALUES ('left', 'sha256:00', 1, 0, FALSE, '', 'sha256/00/00/left', 1)";
const FILLS: &str = "SELECT count(*) FROM fill";
const FORGET: &str = "DELETE FROM garbage";

/// Of which the first leads.
async fn pair(upstream: &FakeUpstream) -> Pair {
    let pair = Pair::start(|builder, _| builder.organization(Organization::of(upstream).background())).await;
    eventually("one of them leads", || async { pair.number(LED).await == 1 }).await;
    pair
}

async fn works(pair: &Pair) {
    pair.execute(LEAVE_FILL).await;
    let done = || async { pair.number(FILLS).await == 0 };
    pair.second.as_time_passes("a pass is made", STEP, done).await;
    pair.execute(FORGET).await;
}

/// G4: one replica works; when it stops the next one may at once, when it dies once its lease has expired. What an
/// administrator asks for is done whoever leads.
#[tokio::test]
async fn another_replica_works_when_the_leader_stops_or_dies() {
    let upstream = FakeUpstream::start().await;
    let mut pair = pair(&upstream).await;
    works(&pair).await;

    pair.first.stop().await;
    works(&pair).await;

    let dead = "UPDATE lease SET holder = 'dead', expires_at = expires_at + 86400000 WHERE name = 'worker'";
    pair.execute(dead).await;
    // Until then it believes that it leads.
    pair.second.advance_seconds(30);
    pair.execute(LEAVE_FILL).await;
    for _ in 0..50 {
        pair.second.advance_seconds(2);
        tokio::task::yield_now().await;
    }
    never("a pass is made", || async { pair.number(FILLS).await == 0 }).await;
    pair.second.collect().await;
    assert_eq!(pair.number(FILLS).await, 0, "somebody asked for it");
    pair.execute(FORGET).await;

    pair.second.advance_seconds(86_400);
    works(&pair).await;
    pair.second.stop().await;
    assert_eq!(pair.number(LED).await, 0, "it is given back");
}

/// B6: what a pull of a replica wants it fills at once, also if another one leads; each blob once.
#[tokio::test]
async fn each_replica_completes_what_its_pulls_wanted() {
    let upstream = FakeUpstream::start().await;
    let pair = pair(&upstream).await;
    let image = Image::random(1, &[1000, 100_000, 10]);
    upstream.push("app", "1", &image);

    pair.second.manifest("app", "1").await.assert_body(image.body());

    for blob in image.blobs() {
        pair.first.stored(&blob.digest).await;
    }
    assert_eq!(upstream.count_kind(&Method::GET, Kind::Blob), 4);
}

/// B6: what a replica that is gone has wanted the leader fills, a minute later.
#[tokio::test]
async fn the_leader_completes_what_is_left_over() {
    let upstream = FakeUpstream::start().await;
    let mut pair = pair(&upstream).await;
    let image = Image::random(1, &[1000]);
    upstream.push("app", "1", &image);
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::Hold(gate.clone()));
    pair.second.manifest("app", "1").await;
    gate.reached().await;
    pair.second.stop().await;
    upstream.heal();
    upstream.forget_requests();

    let fetched = || upstream.count_kind(&Method::GET, Kind::Blob);
    for _ in 0..50 {
        pair.first.advance_seconds(1);
        tokio::task::yield_now().await;
    }
    never("the leader fills it early", || async { fetched() > 0 }).await;
    let complete = || async { fetched() == 2 };
    pair.first.as_time_passes("it is filled", STEP, complete).await;
    for blob in image.blobs() {
        pair.first.stored(&blob.digest).await;
    }
}
