//! What every [`Backend`](quayside_blobs::Backend) has to do. A backend is tested by naming it at the end of this
//! file together with how to make a fresh store on it.

use quayside_blobs::{Found, Listed, OpenError, StorageId, StorageKey, Store, StoreError};
use quayside_oci::{Algorithm, Digest};

use crate::bucket::Depot;
use crate::scene::{
    KIB, MIB, Scene, append, assert_same, content, ingest, read, stored, stored_as, whole, within,
};

async fn gives_back_what_was_committed(store: &Store) {
    for length in [0, 1, 64 * KIB, 64 * KIB + 1, 3 * MIB + 17, 9 * MIB + 17] {
        let bytes = content(length, 1);
        let key = stored(store, &bytes).await;
        let blob = store.open(&key, length as u64).await.unwrap();
        assert_eq!(blob.size(), length as u64);
        assert_same(&whole(&blob).await, &bytes);
    }
}

async fn takes_sha512_digests(store: &Store) {
    let bytes = content(1000, 2);
    let key = stored_as(store, &bytes, Digest::of(Algorithm::Sha512, &bytes)).await;
    assert_same(&whole(&store.open(&key, 1000).await.unwrap()).await, &bytes);
}

/// B5: any range of a stored blob.
async fn reads_ranges(store: &Store) {
    let bytes = content(MIB, 3);
    let blob = store
        .open(&stored(store, &bytes).await, MIB as u64)
        .await
        .unwrap();
    for range in [0..1, 5..5, 100..70_000, MIB - 1..MIB, 1000..MIB] {
        let (start, end) = (range.start as u64, range.end as u64);
        assert_same(&read(blob.reader(start..end)).await, &bytes[range]);
    }
    assert_same(&read(blob.reader(1000..u64::MAX)).await, &bytes[1000..]);
    assert!(read(blob.reader(u64::MAX - 1..u64::MAX)).await.is_empty());
}

/// B8: lost bytes are told from bytes of a wrong length.
async fn tells_a_missing_blob_from_a_damaged_one(store: &Store) {
    let bytes = content(5000, 4);
    let key = stored(store, &bytes).await;
    let other = StorageKey::new(&Digest::of(Algorithm::Sha256, &bytes), "neverused").unwrap();
    let missing = store.open(&other, 5000).await.unwrap_err();
    assert!(
        matches!(&missing, OpenError::Missing { key } if *key == other),
        "{missing:?}"
    );
    for size in [4999, 5001, 0] {
        let damaged = store.open(&key, size).await.unwrap_err();
        assert!(
            matches!(&damaged, OpenError::WrongLength { expected, found: 5000, .. } if *expected == size),
            "{damaged:?}"
        );
    }
}

async fn deletes_again_and_again(store: &Store) {
    let (first, second) = (content(100, 5), content(200, 6));
    let keys = [stored(store, &first).await, stored(store, &second).await];
    assert!(store.open(&keys[0], 100).await.is_ok());
    store.delete(&keys[..1]).await.unwrap();
    assert!(matches!(
        store.open(&keys[0], 100).await,
        Err(OpenError::Missing { .. })
    ));
    assert!(store.open(&keys[1], 200).await.is_ok());
    store.delete(&keys).await.unwrap();
    store.delete(&keys).await.unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), []);
}

/// G3: a transfer is not cut off by a deletion.
async fn lets_readers_finish_after_a_deletion(store: &Store) {
    let bytes = content(2 * MIB, 7);
    let key = stored(store, &bytes).await;
    let blob = store.open(&key, bytes.len() as u64).await.unwrap();
    let mut reader = blob.reader(0..blob.size());
    let first = reader.next().await.unwrap().unwrap();
    store.delete(&[key]).await.unwrap();
    assert_same(&[first.to_vec(), read(reader).await].concat(), &bytes);
}

/// G3: no key is ever written twice.
async fn never_writes_a_key_twice(store: &Store) {
    let bytes = content(300, 8);
    let key = stored(store, &bytes).await;
    let mut again = ingest(store, &bytes).await;
    append(&mut again, &bytes, 300).await;
    again.verify().await.unwrap();
    let refused = again.commit(&key).await.unwrap_err();
    assert!(matches!(refused, StoreError::KeyTaken { .. }), "{refused:?}");
    assert_same(&whole(&store.open(&key, 300).await.unwrap()).await, &bytes);
}

/// Two fills of one digest do not get in each other's way.
async fn keeps_fills_of_one_digest_apart(store: &Store) {
    let bytes = content(400, 9);
    let (first, second) = (stored(store, &bytes).await, stored(store, &bytes).await);
    assert_ne!(first, second);
    store.delete(&[first]).await.unwrap();
    assert_same(&whole(&store.open(&second, 400).await.unwrap()).await, &bytes);
}

/// G3: deletions and commits of one digest at the same time.
async fn commits_while_the_same_digest_is_deleted(store: &Store) {
    let bytes = content(500, 10);
    let rounds = (0..8).map(|_| async {
        for _ in 0..20 {
            let key = stored(store, &bytes).await;
            assert!(store.open(&key, 500).await.is_ok());
            store.delete(&[key]).await.unwrap();
        }
    });
    within(futures::future::join_all(rounds)).await;
    assert_eq!(store.list(None, 10).await.unwrap(), []);
}

async fn lists_in_order_and_by_pages(store: &Store) {
    let mut expected = Vec::new();
    for number in 0..20 {
        let bytes = content(10 + number / 2, number as u64 / 2);
        expected.push((stored(store, &bytes).await, bytes.len() as u64));
    }
    let bytes = content(7, 99);
    expected.push((
        stored_as(store, &bytes, Digest::of(Algorithm::Sha512, &bytes)).await,
        7,
    ));
    expected.sort();
    let expected = expected
        .into_iter()
        .map(|(key, size)| Found::Blob(Listed { key, size }));
    let expected: Vec<_> = expected.collect();
    for limit in [1, 3, 100] {
        let mut found = Vec::new();
        loop {
            let page = store.list(found.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let done = page.is_empty();
            found.extend(page);
            if done {
                break;
            }
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
}

/// O5: a second look tells what is still as it was listed from what went meanwhile.
async fn says_whether_something_is_there_still(store: &Store) {
    let bytes = content(700, 11);
    let key = stored(store, &bytes).await;
    let found = store.list(None, 10).await.unwrap().remove(0);
    assert!(store.is_there(&found).await.unwrap());
    let longer = Found::Blob(Listed {
        key: key.clone(),
        size: 701,
    });
    assert!(!store.is_there(&longer).await.unwrap());
    store.delete(&[key]).await.unwrap();
    assert!(!store.is_there(&found).await.unwrap());
}

/// C4: an id stays until it is replaced, and lies beside the blobs, not among them.
async fn carries_an_id_once_it_has_one(store: &Store) {
    assert_eq!(store.id().await.unwrap(), None);
    let (first, second) = (StorageId::random(), StorageId::random());
    assert_ne!(first, second);
    for id in [first, second] {
        store.set_id(&id).await.unwrap();
        assert_eq!(store.id().await.unwrap(), Some(id));
    }
    assert_eq!(store.list(None, 10).await.unwrap(), []);
}

/// C4: an id that is there is not overwritten by who thinks that there is none.
async fn keeps_the_id_that_claimed_it_first(store: &Store) {
    let (first, second) = (StorageId::random(), StorageId::random());
    for id in [&first, &second, &first] {
        store.claim_id(id).await.unwrap();
        assert_eq!(store.id().await.unwrap(), Some(first.clone()));
    }
}

/// Hands the list of promises to another macro.
macro_rules! promises {
    ($to:ident!($($argument:tt)*)) => {
        $to!($($argument)* [
            gives_back_what_was_committed,
            takes_sha512_digests,
            reads_ranges,
            tells_a_missing_blob_from_a_damaged_one,
            deletes_again_and_again,
            lets_readers_finish_after_a_deletion,
            never_writes_a_key_twice,
            keeps_fills_of_one_digest_apart,
            commits_while_the_same_digest_is_deleted,
            lists_in_order_and_by_pages,
            says_whether_something_is_there_still,
            carries_an_id_once_it_has_one,
            keeps_the_id_that_claimed_it_first,
        ]);
    };
}

/// A test for each.
macro_rules! contract {
    ($backend:ident, $scene:expr, [$($promise:ident),* $(,)?]) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let scene = $scene;
                    super::$promise(&scene.store).await;
                }
            )*
        }
    };
}

/// One after the other, where a server is too slow to be started for each.
macro_rules! in_turn {
    ([$($promise:ident),* $(,)?]) => {
        /// Holds stores to every promise, each to one: `open` makes a fresh store with this name.
        pub(crate) async fn every_promise(open: impl AsyncFn(&'static str) -> Store) {
            $(
                eprintln!("{}", stringify!($promise));
                $promise(&open(stringify!($promise)).await).await;
            )*
        }
    };
}

promises!(contract!(filesystem, Scene::new(),));
promises!(contract!(bucket, Depot::new().await,));
promises!(in_turn!());
