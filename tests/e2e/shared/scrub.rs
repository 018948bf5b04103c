//! O5, G2: bucket and database compared, and both repaired.

use std::path::{Path, PathBuf};

use http::Method;
use quayside_test_servers::s3_door::{Fault as Broken, Operation};
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{Fault, On};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::Scene;
use crate::scrub::scrub;

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A key as of a blob, that nobody has ever recorded.
fn unknown_key(object: &Path, below: &Path) -> PathBuf {
    let key = object.strip_prefix(below).unwrap().to_str().unwrap();
    let digest = key.split('/').nth(2).unwrap();
    let other = "0123456789abcdef".repeat(4);
    PathBuf::from(key.replace(digest, &other).replacen(&digest[..2], "01", 1))
}

/// O5, G2: objects that are recorded nowhere go, rows whose objects are lost are filled again, and nothing that is not
/// ours is touched: neither under other prefixes nor beside the blobs.
#[tokio::test(flavor = "multi_thread")]
async fn repairs_both_and_touches_nothing_else() {
    let scene = Scene::new(100_000, |builder| builder).await;
    scene.fill().await;
    let (house, layer, bucket) = (&scene.house, &scene.layer, &scene.ground.bucket);
    scrub(house, Method::GET, "/scrub").await.assert_clean();
    let object = house.stored_file(&layer.digest).unwrap();
    let key = unknown_key(&object, &bucket.directory());
    let orphan = bucket.directory().join(&key);
    let others = [
        bucket.root().join(&key),
        bucket.root().join("team/cached").join(&key),
        bucket.directory().join("notes/readme"),
        bucket.directory().join("sha256/notes"),
    ];
    write(&orphan, b"orphaned");
    for path in &others {
        write(path, b"somebody's");
    }
    std::fs::remove_file(&object).unwrap();
    let looked = scrub(house, Method::GET, "/scrub").await;
    assert_eq!(looked.kinds(), ["leftover", "lost", "orphan"], "{looked:#?}");
    assert!(orphan.exists());
    let repaired = scrub(house, Method::POST, "/scrub").await;
    assert_eq!(repaired.kinds(), ["leftover", "lost", "orphan"]);
    house.collect_fully().await;
    assert!(!orphan.exists());
    for path in &others {
        assert!(path.exists(), "{}", path.display());
    }
    scene.fill().await;
    assert_eq!(scene.fetches(), 2);
    assert_eq!(scrub(house, Method::GET, "/scrub").await.kinds(), ["leftover"]);
}

/// O5, B8: bytes that are not the blob's are found by reading them.
#[tokio::test(flavor = "multi_thread")]
async fn verifies_what_is_in_the_bucket() {
    let scene = Scene::new(100_000, |builder| builder).await;
    scene.fill().await;
    let (house, layer) = (&scene.house, &scene.layer);
    scrub(house, Method::GET, "/scrub/verify").await.assert_clean();
    let mut bytes = layer.bytes.to_vec();
    bytes[5] ^= 1;
    std::fs::write(house.stored_file(&layer.digest).unwrap(), &bytes).unwrap();
    scrub(house, Method::GET, "/scrub").await.assert_clean();
    let found = scrub(house, Method::POST, "/scrub/verify").await;
    assert_eq!(found.kinds(), ["wrongContent"]);
    found.assert_repaired();
    scene.fill().await;
    scrub(house, Method::GET, "/scrub/verify").await.assert_clean();
}

/// O5, G2: an upload that nobody goes on with takes room that no listing of objects shows; it is aborted, and one that
/// a fill names is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn aborts_uploads_that_no_fill_names() {
    let scene = Scene::new(20 << 20, |builder| builder).await;
    let (house, layer, door) = (&scene.house, &scene.layer, &scene.ground.door);
    door.break_all(Operation::AbortUpload, Broken::Denied);
    scene.upstream.script(On::blob(), Fault::Flip(19 << 20));
    let answer = house.blob("alpine", &layer.digest).await;
    assert!(!answer.complete);
    eventually("the upload is left behind as garbage", || async {
        door.count(Operation::AbortUpload) > 0 && house.number("SELECT count(*) FROM garbage").await == 1
    })
    .await;
    door.heal();
    // What is garbage is seen to, and no business of a scrub.
    scrub(house, Method::GET, "/scrub").await.assert_clean();
    // A database that was restored from a backup knows nothing of it.
    let mut connection = PgConnection::connect(&scene.ground.url).await.unwrap();
    connection.execute("DELETE FROM garbage").await.unwrap();
    let found = scrub(house, Method::GET, "/scrub").await;
    assert_eq!(found.kinds(), ["abandonedUpload"], "{found:#?}");
    let found = scrub(house, Method::POST, "/scrub").await;
    assert_eq!(found.kinds(), ["abandonedUpload"]);
    found.assert_repaired();
    scrub(house, Method::GET, "/scrub").await.assert_clean();
}
