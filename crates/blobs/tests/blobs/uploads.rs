//! Blobs on their way from the spool into a bucket.

mod faults;
mod limits;
mod scene;

use quayside_blobs::StoreError;
use quayside_test_servers::s3_door::Operation;

use self::scene::{PART, begin, key_of};
use crate::bucket::depot::Depot;
use crate::scene::{KIB, MIB, append, assert_same, content, drain, ingest, read, whole, within};

/// B2: parts go to the bucket while bytes still arrive, and nothing is an object before the last one was verified.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_parts_while_bytes_still_arrive() {
    let depot = Depot::new().await;
    let bytes = content(2 * PART + MIB, 1);
    let mut filling = begin(&depot.store, &bytes).await;
    let key = key_of(&filling, &bytes);
    append(&mut filling, &bytes.slice(..=2 * PART), 100 * KIB).await;
    depot.has_parts(&[PART, PART]).await;
    assert!(depot.objects().await.is_empty(), "an object of unverified bytes");
    append(&mut filling, &bytes.slice(2 * PART + 1..), 100 * KIB).await;
    filling.verify().await.unwrap();
    assert!(
        depot.objects().await.is_empty(),
        "an object that nobody committed"
    );
    within(filling.commit(&key)).await.unwrap();
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    assert_same(&whole(&blob).await, &bytes);
    assert!(depot.uploads().await.is_empty());
    assert_eq!(depot.door.count(Operation::UploadPart), 3);
    depot.spool_is_empty().await;
}

/// B3: wrong bytes never become an object, though all of them but the last were in the bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_no_object_and_no_upload_of_wrong_bytes() {
    let depot = Depot::new().await;
    let bytes = content(2 * PART, 2);
    let mut filling = begin(&depot.store, &bytes).await;
    append(&mut filling, &bytes.slice(..2 * PART - 1), 100 * KIB).await;
    depot.has_parts(&[PART]).await;
    append(&mut filling, &bytes.slice(..1), 1).await;
    filling.verify().await.unwrap_err();
    drop(filling);
    depot.has_no_uploads().await;
    assert!(depot.objects().await.is_empty());
    assert_eq!(depot.door.count(Operation::CompleteUpload), 0);
    depot.spool_is_empty().await;
}

/// G3: whoever gives up leaves nothing in the bucket, whether he is dropped or says so, verified or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_what_is_given_up() {
    let depot = Depot::new().await;
    let bytes = content(PART + MIB, 3);
    for round in 0..3 {
        let mut filling = begin(&depot.store, &bytes).await;
        append(&mut filling, &bytes.slice(..=PART), 100 * KIB).await;
        depot.has_parts(&[PART]).await;
        match round {
            0 => drop(filling),
            1 => filling.fail(std::sync::Arc::new(std::io::Error::other("upstream is gone"))),
            _ => {
                append(&mut filling, &bytes.slice(PART + 1..), 100 * KIB).await;
                filling.verify().await.unwrap();
                drop(filling);
            }
        }
        depot.has_no_uploads().await;
    }
    assert!(depot.objects().await.is_empty());
    depot.spool_is_empty().await;
}

/// B7: what is no larger than a part is one request, and everything larger is made of parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_small_blobs_in_one_piece() {
    let depot = Depot::new().await;
    for (length, puts, parts) in [(0, 1, 0), (5 * KIB, 1, 0), (PART, 1, 0), (PART + 1, 0, 2)] {
        depot.door.forget();
        let bytes = content(length, 4);
        let mut filling = begin(&depot.store, &bytes).await;
        let key = key_of(&filling, &bytes);
        append(&mut filling, &bytes, 100 * KIB).await;
        filling.verify().await.unwrap();
        within(filling.commit(&key)).await.unwrap();
        let count = |operation| depot.door.count(operation);
        assert_eq!(
            (count(Operation::PutObject), count(Operation::UploadPart)),
            (puts, parts),
            "{length} bytes"
        );
        let blob = depot.store.open(&key, length as u64).await.unwrap();
        assert_same(&whole(&blob).await, &bytes);
    }
}

/// B2: a blob of which nobody said where it goes is uploaded when it is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_at_the_end_what_was_not_begun_early() {
    let depot = Depot::new().await;
    assert!(depot.store.uploads_early());
    let bytes = content(PART + 5, 5);
    let mut filling = ingest(&depot.store, &bytes).await;
    let key = key_of(&filling, &bytes);
    append(&mut filling, &bytes, 100 * KIB).await;
    filling.verify().await.unwrap();
    assert_eq!(depot.door.count(Operation::CreateUpload), 0);
    within(filling.commit(&key)).await.unwrap();
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    assert_same(&whole(&blob).await, &bytes);
}

/// G3: no key is ever written twice, by parts neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_a_key_that_has_bytes_when_parts_are_put_together() {
    let depot = Depot::new().await;
    let bytes = content(PART + 1, 6);
    let mut key = None;
    for round in 0..2 {
        let mut filling = ingest(&depot.store, &bytes).await;
        let key = key.get_or_insert_with(|| key_of(&filling, &bytes)).clone();
        filling.upload_to(&key);
        append(&mut filling, &bytes, 100 * KIB).await;
        filling.verify().await.unwrap();
        let committed = within(filling.commit(&key)).await;
        match round {
            0 => committed.unwrap(),
            _ => assert!(
                matches!(&committed, Err(StoreError::KeyTaken { key: taken }) if *taken == key),
                "{committed:?}"
            ),
        }
    }
    depot.has_no_uploads().await;
}

/// B2, B3: readers follow the spool to the last byte whatever the bucket does, and the spool takes all bytes though
/// none of them reaches the bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_readers_nor_the_writer_wait_for_the_bucket() {
    let depot = Depot::new().await;
    let bytes = content(3 * PART, 7);
    depot.server.stop();
    let mut filling = begin(&depot.store, &bytes).await;
    let reader = tokio::spawn(drain(filling.spool().follow(0..u64::MAX)));
    append(&mut filling, &bytes, 100 * KIB).await;
    within(filling.verify()).await.unwrap();
    let (received, error) = within(reader).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_same(&received, &bytes);
    assert_same(
        &read(filling.spool().follow(7..PART as u64)).await,
        &bytes[7..PART],
    );
    depot.server.go_on();
    let key = key_of(&filling, &bytes);
    within(filling.commit(&key)).await.unwrap();
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    assert_same(&whole(&blob).await, &bytes);
}
