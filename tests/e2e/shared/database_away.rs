//! O2: a database server that is away, hangs, is restarted or takes no writes, and comes back.

use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::Image;
use quayside_tests::torture::is_long;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::Ground;

const DAY: i64 = 86_400_000;

/// How a database can be away.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Refuses,
    Hangs,
    Down,
    TakesNoWrites,
}

async fn begin(ground: &mut Ground, outage: Outage) {
    match outage {
        Outage::Refuses => ground.wire.cut(),
        Outage::Hangs => ground.wire.hold(),
        Outage::Down => ground.postgres.stop(),
        Outage::TakesNoWrites => forbid_writes(ground, "on").await,
    }
}

async fn end(ground: &mut Ground, outage: Outage) {
    match outage {
        Outage::Refuses => ground.wire.mend(),
        Outage::Hangs => ground.wire.release(),
        Outage::Down => ground.postgres.go_on(),
        Outage::TakesNoWrites => forbid_writes(ground, "off").await,
    }
}

/// As a failover to a standby leaves it: whoever was connected is thrown out, and finds it so.
async fn forbid_writes(ground: &Ground, value: &str) {
    let mut connection = PgConnection::connect(&ground.postgres.url("postgres"))
        .await
        .unwrap();
    let setting = match value {
        "on" => "ALTER DATABASE quayside SET default_transaction_read_only = on",
        _ => "ALTER DATABASE quayside SET default_transaction_read_only = off",
    };
    connection.execute(setting).await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'quayside'";
    connection.execute(others).await.unwrap();
    connection.close().await.unwrap();
}

/// Two images upstream, of which the house has pulled one completely.
struct Scene {
    ground: Ground,
    _upstream: FakeUpstream,
    warm: Image,
    cold: Image,
    house: House,
}

async fn scene() -> Scene {
    let (ground, upstream) = (Ground::new(), FakeUpstream::start().await);
    let (warm, cold) = (Image::random(1, &[1000]), Image::random(2, &[1000]));
    upstream.push("warm", "1", &warm);
    upstream.push("cold", "1", &cold);
    let house = ground
        .house()
        .organization(Organization::of(&upstream))
        .start()
        .await;
    let layer = &warm.layers[0];
    for reference in ["1", warm.digest()] {
        house.manifest("warm", reference).await.assert_body(warm.body());
    }
    house.blob("warm", &layer.digest).await.assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    // From storage, and so into memory.
    house.blob("warm", &layer.digest).await.assert_cache("HIT");
    Scene {
        ground,
        _upstream: upstream,
        warm,
        cold,
        house,
    }
}

impl Scene {
    /// What was pulled is pulled again, by tag, by digest and in bytes; the registry is ready and shows its metrics.
    async fn assert_warm(&self) {
        let (house, layer) = (&self.house, &self.warm.layers[0]);
        house.manifest("warm", "1").await.assert_cache("REVALIDATED");
        house
            .manifest("warm", self.warm.digest())
            .await
            .assert_cache("HIT");
        house.blob("warm", &layer.digest).await.assert_body(&layer.bytes);
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(house.admin(path).await.status, 200, "{path}");
        }
    }
}

/// "Come back in five seconds", with a reason, and nothing else.
fn assert_away(answer: &Answer) {
    answer.assert_error(503, "UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "5");
    assert!(answer.message().contains("database"), "{answer:?}");
}

/// What is in memory is served, what is new gets 503; the pulls of the outage are written once it is over, and nobody
/// has to do anything for that.
async fn memory_serves_through(outage: Outage) {
    let mut scene = scene().await;
    begin(&mut scene.ground, outage).await;
    scene.house.advance_seconds(1);
    scene.assert_warm().await;
    assert_away(&scene.house.manifest("cold", "1").await);
    scene.assert_warm().await;
    end(&mut scene.ground, outage).await;
    let (house, cold) = (&scene.house, &scene.cold);
    eventually("what is new is pulled", || async {
        house.manifest("cold", "1").await.status == 200
    })
    .await;
    let layer = &cold.layers[0];
    house.blob("cold", &layer.digest).await.assert_body(&layer.bytes);
    eventually("the renewal is written", || async {
        let ends_at = "SELECT min(ends_at) FROM tag WHERE name = '1'";
        house.number(ends_at).await == house.now() + DAY
    })
    .await;
}

/// O2. Of the long form: it is the server that is down, and slower.
#[tokio::test(flavor = "multi_thread")]
async fn memory_serves_while_the_database_refuses_connections() {
    if !is_long() {
        return;
    }
    memory_serves_through(Outage::Refuses).await;
}

/// O2: in a time that has bounds.
#[tokio::test(flavor = "multi_thread")]
async fn memory_serves_while_the_database_hangs() {
    memory_serves_through(Outage::Hangs).await;
}

/// O2
#[tokio::test(flavor = "multi_thread")]
async fn memory_serves_while_the_database_is_down() {
    memory_serves_through(Outage::Down).await;
}

/// O2: a failover to a server that takes no writes yet.
#[tokio::test(flavor = "multi_thread")]
async fn memory_serves_while_the_database_takes_no_writes() {
    memory_serves_through(Outage::TakesNoWrites).await;
}

/// O2: a restart between two requests is not seen by anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_is_not_seen() {
    let mut scene = scene().await;
    scene.ground.postgres.stop();
    scene.ground.postgres.go_on();
    let (house, cold) = (&scene.house, &scene.cold);
    house.manifest("cold", "1").await.assert_body(cold.body());
    let layer = &cold.layers[0];
    house.blob("cold", &layer.digest).await.assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
}
