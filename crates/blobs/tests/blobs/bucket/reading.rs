//! Reading objects: what is asked for, and going on where it broke off.

use quayside_blobs::{OpenError, ReadError};
use quayside_test_servers::s3_door::{Fault, Operation};

use super::depot::{Depot, PREFIX};
use crate::scene::{KIB, MIB, assert_same, content, drain, read, stored, whole, within};

/// B3: a transfer that breaks is resumed from the last byte, as often as there is progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumes_where_an_answer_broke_off() {
    let depot = Depot::new().await;
    let bytes = content(MIB, 1);
    let key = stored(&depot.store, &bytes).await;
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    depot
        .door
        .break_next(8, Operation::GetObject, Fault::Cut(100 * KIB as u64));
    assert_same(&whole(&blob).await, &bytes);
    let ranges: Vec<_> = gets(&depot);
    assert_eq!(ranges.len(), 9, "{ranges:?}");
    assert_eq!(ranges[0], "");
    let begins = |range: &str| -> u64 {
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        assert_eq!(to, (bytes.len() - 1).to_string());
        from.parse().unwrap()
    };
    let begins: Vec<u64> = ranges[1..].iter().map(|range| begins(range)).collect();
    assert!(begins.is_sorted_by(|before, after| before < after), "{begins:?}");
}

/// B5: of a part of a blob only that part is read, however often it breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_for_no_more_than_the_range() {
    let depot = Depot::new().await;
    let bytes = content(MIB, 2);
    let key = stored(&depot.store, &bytes).await;
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    depot.door.break_next(1, Operation::GetObject, Fault::Cut(10));
    assert_same(&read(blob.reader(1000..5000)).await, &bytes[1000..5000]);
    assert_eq!(gets(&depot), ["bytes=1000-4999", "bytes=1010-4999"]);
    assert!(read(blob.reader(77..77)).await.is_empty());
    drop(blob.reader(0..100));
    assert_eq!(depot.door.count(Operation::GetObject), 2);
}

/// B3, O2: five attempts without a byte, then it is a fault of the bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_up_after_five_attempts_without_progress() {
    let depot = Depot::new().await;
    let bytes = content(MIB, 3);
    let key = stored(&depot.store, &bytes).await;
    let blob = depot.store.open(&key, bytes.len() as u64).await.unwrap();
    depot.door.break_next(1, Operation::GetObject, Fault::Cut(10));
    depot.door.break_all(Operation::GetObject, Fault::SlowDown);
    let (begun, error) = within(drain(blob.reader(0..blob.size()))).await;
    assert_same(&begun, &bytes[..10]);
    assert!(matches!(error, Some(ReadError::Storage(_))), "{error:?}");
    assert_eq!(depot.door.count(Operation::GetObject), 1 + 5);
}

/// B8: what is lost or exchanged while it is read ends early, and is looked at anew by who opens it next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_what_is_lost_or_exchanged_while_it_is_read() {
    let depot = Depot::new().await;
    let bytes = content(MIB, 4);
    let key = stored(&depot.store, &bytes).await;
    let name = format!("{PREFIX}/{key}");
    for replacement in [Some(content(MIB, 5)), None] {
        depot.put(&name, &bytes).await;
        let blob = depot.store.open_anew(&key, bytes.len() as u64).await.unwrap();
        let mut reader = blob.reader(0..blob.size());
        depot.door.break_next(1, Operation::GetObject, Fault::Cut(10));
        assert_eq!(reader.next().await.unwrap().unwrap(), bytes[..10]);
        if let Some(other) = replacement {
            depot.put(&name, &other).await;
        } else {
            let delete = depot.client.delete_object().bucket(super::depot::NAME);
            delete.key(&name).send().await.unwrap();
        }
        let (rest, error) = within(drain(reader)).await;
        assert!(rest.is_empty(), "bytes of another object");
        assert!(
            matches!(error, Some(ReadError::Truncated { offset: 10, .. })),
            "{error:?}"
        );
    }
}

/// B8: whether an object is there is asked once in a few seconds, and anew after it was found damaged or deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remembers_for_a_moment_that_an_object_is_there() {
    let depot = Depot::new().await;
    let bytes = content(1000, 6);
    let key = stored(&depot.store, &bytes).await;
    depot.door.forget();
    for _ in 0..3 {
        depot.store.open(&key, 1000).await.unwrap();
    }
    assert_eq!(depot.door.count(Operation::HeadObject), 1);
    depot.store.open_anew(&key, 1000).await.unwrap();
    assert_eq!(depot.door.count(Operation::HeadObject), 2);
    let blob = depot.store.open(&key, 1000).await.unwrap();
    depot.put(&format!("{PREFIX}/{key}"), b"short").await;
    let (_, error) = drain(blob.reader(0..1000)).await;
    assert!(matches!(error, Some(ReadError::Truncated { .. })), "{error:?}");
    let damaged = depot.store.open(&key, 1000).await.unwrap_err();
    assert!(
        matches!(damaged, OpenError::WrongLength { found: 5, .. }),
        "{damaged:?}"
    );
}

/// The ranges that were asked for, in order.
fn gets(depot: &Depot) -> Vec<String> {
    let seen = depot.door.seen().into_iter();
    let gets = seen.filter(|seen| seen.operation == Operation::GetObject);
    gets.map(|seen| seen.range).collect()
}
