//! The other server: what it does differently must not matter.

use std::time::{Duration, SystemTime};

use quayside_blobs::{Found, S3Settings, StorageKey, Store, Stray, StrayKind};
use quayside_oci::{Algorithm, Digest};
use quayside_test_servers::Ceph;
use tempfile::TempDir;

use super::{
    depot::{NAME, client_of, settings},
    presign::get,
};
use crate::{
    contract::every_promise,
    scene::{content, stored},
};

/// C4, B7: radosgw keeps the contract of backends, lists uploads that were cut off, gives them up, and takes signed
/// URLs. In the long form alone: its daemons need packages of their own and take long to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn radosgw_keeps_every_promise() {
    if std::env::var_os("QUAYSIDE_LONG").is_none_or(|value| value != "1") {
        return;
    }
    let server = Ceph::start();
    let client = client_of(&server.url());
    client.create_bucket().bucket(NAME).send().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    every_promise(async |name| open(&home, &server, name).await).await;
    let store = open(&home, &server, "uploads").await;
    let key = StorageKey::new(&Digest::of(Algorithm::Sha256, b"a layer"), "t1").unwrap();
    let begin = client.create_multipart_upload().bucket(NAME);
    begin.key(format!("uploads/{key}")).send().await.unwrap();
    let found = store.list(None, 10).await.unwrap();
    assert!(
        matches!(&found[..], [Found::Stray(Stray { kind: StrayKind::Upload(at), .. })] if *at == key),
        "{found:?}"
    );
    store.delete(&[key]).await.unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), []);
    let bytes = content(5000, 1);
    let key = stored(&store, &bytes).await;
    let lifetime = Duration::from_mins(1);
    let url = store.presign(&key, 5000, lifetime, SystemTime::now()).await;
    let (_, body) = get(&url.unwrap().unwrap(), "range: bytes=7-99\r\n").await;
    assert_eq!(body, bytes[7..100]);
}

/// A store with a prefix of its own.
async fn open(home: &TempDir, server: &Ceph, name: &str) -> Store {
    let settings = S3Settings {
        prefix: name.to_owned(),
        spool: home.path().join(name),
        ..settings(home, &server.url())
    };
    Store::open_s3(&settings).await.unwrap()
}
