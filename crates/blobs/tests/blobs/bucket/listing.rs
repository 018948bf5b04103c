//! Listing and deleting: ours, and nobody else's.

use quayside_blobs::{Found, Listed, StorageKey, Store, Stray, StrayKind};
use quayside_oci::{Algorithm, Digest};
use quayside_test_servers::s3_door::{Fault, Operation};

use super::{
    depot::{Depot, PREFIX, settings},
    stub::{Stub, nothing},
};
use crate::scene::{content, stored};

/// What lies beside our own things: under other prefixes, and beside the folders of blobs.
const FOREIGN: [&str; 5] = [
    "cache-2/sha256/aa",
    "cache/notes",
    "cache/sha1/x",
    "other",
    "sha256/bb",
];

/// A key that nobody has used.
fn key(token: &str) -> StorageKey {
    StorageKey::new(&Digest::of(Algorithm::Sha256, b"a layer"), token).unwrap()
}

fn name(key: &StorageKey) -> String {
    format!("{PREFIX}/{key}")
}

async fn listed(store: &Store, limit: usize) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    loop {
        let page = store.list(found.last(), limit).await.unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

/// G2, O5: objects and uploads where blobs belong are listed, whatever is foreign there as such, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_objects_and_uploads_below_the_prefix() {
    let depot = Depot::new().await;
    let (first, second, third) = (key("t1"), key("t2"), key("t3"));
    depot.put(&name(&first), b"12345").await;
    for upload in [&first, &second, &second] {
        depot.begin_upload(&name(upload)).await;
    }
    depot.put(&name(&third), b"123").await;
    depot.put("cache/sha512/somebody's", b"x").await;
    depot.begin_upload("cache/sha512/somebody's-too").await;
    for foreign in FOREIGN {
        depot.put(foreign, b"x").await;
        depot.begin_upload(&format!("{foreign}-upload")).await;
    }
    let blob = |key: &StorageKey, size| {
        Found::Blob(Listed {
            key: key.clone(),
            size,
        })
    };
    let stray = |path: String, kind| {
        Found::Stray(Stray {
            path: path.into(),
            kind,
        })
    };
    let upload = |key: &StorageKey| stray(format!("{key}/(upload)"), StrayKind::Upload(key.clone()));
    let expected = [
        blob(&first, 5),
        upload(&first),
        upload(&second),
        blob(&third, 3),
        stray("sha512/somebody's".to_owned(), StrayKind::Foreign),
        stray("sha512/somebody's-too/(upload)".to_owned(), StrayKind::Foreign),
    ];
    for limit in [1, 2, 100] {
        assert_eq!(listed(&depot.store, limit).await, expected, "pages of {limit}");
    }
    for found in &expected {
        assert!(depot.store.is_there(found).await.unwrap(), "{found:?}");
    }
    depot.store.abort(&[first.clone(), second.clone()]).await.unwrap();
    for gone in [&expected[1], &expected[2]] {
        assert!(!depot.store.is_there(gone).await.unwrap(), "{gone:?}");
    }
    assert!(depot.store.is_there(&expected[0]).await.unwrap());
}

/// G3: a deleted key has neither bytes nor an upload that could still become bytes; other keys and other people's
/// things stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_objects_and_uploads_of_the_keys_alone() {
    let depot = Depot::new().await;
    for foreign in FOREIGN {
        depot.put(foreign, b"x").await;
        depot.begin_upload(&format!("{foreign}-upload")).await;
    }
    let kept = key("kept");
    depot.put(&name(&kept), b"x").await;
    depot.begin_upload(&name(&kept)).await;
    let before = depot.everything().await;
    let keys = [key("t1"), key("t2"), key("t3")];
    depot.put(&name(&keys[0]), b"x").await;
    depot.begin_upload(&name(&keys[0])).await;
    depot.begin_upload(&name(&keys[1])).await;
    depot.begin_upload(&name(&keys[1])).await;
    depot.store.delete(&keys).await.unwrap();
    assert_eq!(depot.everything().await, before);
    depot.store.delete(&keys).await.unwrap();
}

/// G3: in batches of a thousand, with one look for uploads each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_in_batches() {
    let depot = Depot::new().await;
    let last = stored(&depot.store, &content(10, 1)).await;
    depot.door.forget();
    let mut keys: Vec<_> = (0..1000).map(|number| key(&format!("t{number}"))).collect();
    keys.push(last);
    depot.store.delete(&keys).await.unwrap();
    assert_eq!(depot.everything().await, Vec::<String>::new());
    assert_eq!(depot.door.count(Operation::DeleteObjects), 2);
    assert!(depot.door.count(Operation::ListUploads) <= 4);
}

/// G3: what may still hold bytes is named, and is gone after the next try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_what_could_not_be_deleted() {
    let depot = Depot::new().await;
    let keys = [key("t1"), key("t2")];
    for operation in [
        Operation::DeleteObjects,
        Operation::ListUploads,
        Operation::AbortUpload,
    ] {
        depot.put(&name(&keys[0]), b"x").await;
        depot.begin_upload(&name(&keys[1])).await;
        depot.door.break_all(operation, Fault::Denied);
        let failed = depot.store.delete(&keys).await.unwrap_err().failed;
        let failed: Vec<_> = failed.into_iter().map(|(key, _)| key).collect();
        match operation {
            Operation::AbortUpload => assert_eq!(failed, keys[1..]),
            _ => assert_eq!(failed, keys),
        }
        depot.door.heal();
        depot.store.delete(&keys).await.unwrap();
        assert_eq!(depot.everything().await, Vec::<String>::new());
    }
}

/// G3: a server may delete some keys of a batch and refuse others, in one answer that says 200.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_which_key_of_a_batch_was_refused() {
    let [refused, lost, deleted] = ["t1", "t2", "t3"].map(key);
    let (no, gone) = (name(&refused), name(&lost));
    let server = Stub::answering(move |method, target| {
        let error =
            |key, code| format!("<Error><Key>{key}</Key><Code>{code}</Code><Message>no</Message></Error>");
        match method {
            "POST" => {
                let (no, gone) = (error(&no, "AccessDenied"), error(&gone, "NoSuchKey"));
                (200, format!("<DeleteResult>{no}{gone}</DeleteResult>"))
            }
            _ => nothing(method, target),
        }
    });
    let server = server.await;
    let home = tempfile::tempdir().unwrap();
    let store = Store::open_s3(&settings(&home, &server.url)).await.unwrap();
    let failed = store.delete(&[refused.clone(), lost, deleted]).await;
    let failed = failed.unwrap_err().failed;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, refused);
    assert!(format!("{:?}", failed[0].1).contains("AccessDenied"));
}

/// G2: servers that know neither versions nor a list of uploads are used all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_without_what_a_server_lacks() {
    let server = Stub::answering(|method, target| {
        if method == "GET" && (target.contains("versioning") || target.contains("uploads")) {
            return (501, "<Error><Code>NotImplemented</Code></Error>".to_owned());
        }
        nothing(method, target)
    });
    let server = server.await;
    let home = tempfile::tempdir().unwrap();
    let store = Store::open_s3(&settings(&home, &server.url)).await.unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), []);
    store.delete(&[key("t1")]).await.unwrap();
}
