//! SPEC O2: the database is away, and comes back.

use std::path::PathBuf;
use std::time::Duration;

use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::Image;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use crate::storage::SmallDisk;

/// Two images upstream, of which the house has pulled one completely.
struct Scene {
    upstream: FakeUpstream,
    warm: Image,
    cold: Image,
    house: House,
}

async fn scene() -> Scene {
    let upstream = FakeUpstream::start().await;
    let (warm, cold) = (Image::random(1, &[1000]), Image::random(2, &[1000]));
    upstream.push("warm", "1", &warm);
    upstream.push("cold", "1", &cold);
    let house = House::with(Organization::of(&upstream)).await;
    let scene = Scene {
        upstream,
        warm,
        cold,
        house,
    };
    scene.warm_up().await;
    scene
}

impl Scene {
    async fn warm_up(&self) {
        let (house, layer) = (&self.house, &self.warm.layers[0]);
        house.manifest("warm", "1").await.assert_body(self.warm.body());
        house
            .manifest("warm", self.warm.digest())
            .await
            .assert_body(self.warm.body());
        house.blob("warm", &layer.digest).await.assert_body(&layer.bytes);
        eventually("the blob is stored", || async {
            house
                .number("SELECT count(*) FROM blob WHERE storage_key IS NOT NULL")
                .await
                > 0
        })
        .await;
        // From storage, and so into memory.
        house.blob("warm", &layer.digest).await.assert_cache("HIT");
    }

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

/// "Come back in five seconds", with a reason and a request id, and nothing else.
fn assert_away(answer: &Answer) {
    answer.assert_error(503, "UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "5");
    assert!(answer.message().contains("database"), "{answer:?}");
    let id = answer.json()["errors"][0]["detail"]["requestId"].clone();
    assert_eq!(id.as_str(), Some(answer.header("x-request-id")));
}

/// O2: a database that takes no writes, because somebody locks it: what is in memory is served, new things get 503,
/// and what pulls moved meanwhile is written once it is back.
#[tokio::test]
async fn serves_from_memory_while_the_database_is_locked() {
    let scene = scene().await;
    let house = &scene.house;
    let options = SqliteConnectOptions::new().filename(house.database_path());
    let mut intruder = SqliteConnection::connect_with(&options).await.unwrap();
    intruder.execute("BEGIN IMMEDIATE").await.unwrap();
    house.advance(Duration::from_secs(1));
    scene.assert_warm().await;
    assert_away(&house.manifest("cold", "1").await);
    scene.assert_warm().await;
    intruder.execute("ROLLBACK").await.unwrap();
    intruder.close().await.unwrap();
    house.manifest("cold", "1").await.assert_body(scene.cold.body());
    let day = 86_400_000;
    eventually("the renewal is written", || async {
        let ends_at = house
            .number("SELECT max(ends_at) FROM tag WHERE name = '1'")
            .await;
        ends_at == house.now() + day
    })
    .await;
}

/// O2: a disk without room for the database.
#[tokio::test]
async fn serves_from_memory_while_the_database_has_no_room() {
    let mut scene = scene().await;
    scene.house.stop().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(directory.path().join("database"), "size=1m");
    let place = disk.path().join("quayside.db");
    std::fs::copy(scene.house.database_path(), &place).unwrap();
    std::fs::remove_file(scene.house.database_path()).unwrap();
    std::os::unix::fs::symlink(&place, scene.house.database_path()).unwrap();
    scene.house.restart().await;
    scene.warm_up().await;
    let ballast = fill(&disk);
    let mut refused = None;
    // What fits into the pages that the log has already is still written.
    for number in 0..50 {
        scene.upstream.push(
            "other",
            &number.to_string(),
            &Image::random(100 + number, &[1000]),
        );
        let answer = scene.house.manifest("other", &number.to_string()).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    assert_away(&refused.expect("the disk is full"));
    scene.assert_warm().await;
    std::fs::remove_file(ballast).unwrap();
    scene
        .house
        .manifest("cold", "1")
        .await
        .assert_body(scene.cold.body());
    scene.house.stop().await;
}

/// Leaves no room on a disk.
fn fill(disk: &SmallDisk) -> PathBuf {
    use std::io::Write as _;

    let path = disk.path().join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}

/// O2: a database file that cannot be read any more: garbage in place of its pages.
#[tokio::test]
async fn serves_from_memory_while_the_database_is_garbage() {
    let mut scene = scene().await;
    // The log is folded into the file, and no page is in anybody's memory.
    scene.house.restart().await;
    let house = &scene.house;
    house.manifest("warm", "1").await.assert_body(scene.warm.body());
    house
        .manifest("warm", scene.warm.digest())
        .await
        .assert_body(scene.warm.body());
    let good = std::fs::read(house.database_path()).unwrap();
    overwrite(house, &vec![0xA5; good.len()]);
    let blob = || house.blob("warm", &scene.warm.layers[0].digest);
    assert_away(&blob().await);
    house.manifest("warm", "1").await.assert_cache("REVALIDATED");
    house
        .manifest("warm", scene.warm.digest())
        .await
        .assert_cache("HIT");
    assert_eq!(house.admin("/readyz").await.status, 200);
    overwrite(house, &good);
    eventually("the database is read again", || async {
        // A pull is written, and what is written makes everybody look again.
        house.manifest("warm", "1").await;
        blob().await.status == 200
    })
    .await;
}

/// The same file with other bytes.
fn overwrite(house: &House, bytes: &[u8]) {
    use std::io::Write as _;

    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(house.database_path())
        .unwrap();
    file.write_all(bytes).unwrap();
}
