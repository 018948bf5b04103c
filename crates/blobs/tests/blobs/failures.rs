//! Fills that go wrong.

use std::{error::Error, io, sync::Arc};

use bytes::Bytes;
use quayside_blobs::{IngestError, Progress, ReadError, SpoolFailure, Store, VerifyError};

use crate::scene::{KIB, MIB, Scene, append, assert_same, content, digest, drain, ingest, until, within};

const TAIL: usize = 64 * KIB;

fn reason(error: Option<ReadError>) -> SpoolFailure {
    match error {
        Some(ReadError::Failed(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// B3: on a mismatch every reader's body is cut before the withheld tail, and nothing is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_every_follower_before_the_tail_when_the_digest_is_wrong() {
    let scene = Scene::new();
    let bytes = content(2 * MIB, 1);
    let mut flipped = bytes.to_vec();
    flipped[MIB] ^= 1;
    let flipped = Bytes::from(flipped);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    let followers: Vec<_> = (0..40)
        .map(|_| tokio::spawn(drain(spool.follow(0..u64::MAX))))
        .collect();
    append(&mut filling, &flipped, 50_000).await;
    let error = filling.verify().await.unwrap_err();
    let VerifyError::DigestMismatch { expected, actual } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((expected, actual), (&digest(&bytes), &digest(&flipped)));
    for follower in followers {
        let (read, error) = within(follower).await.unwrap();
        assert!(
            read.len() <= bytes.len() - TAIL,
            "{} bytes reached a client",
            read.len()
        );
        assert_same(&read, &flipped[..read.len()]);
        assert!(matches!(reason(error), SpoolFailure::DigestMismatch { .. }));
    }
    assert!(matches!(
        spool.settled().await,
        Err(SpoolFailure::DigestMismatch { .. })
    ));
    assert!(matches!(filling.verify().await, Err(VerifyError::Ended)));
    drop(filling);
    scene.is_empty().await;
}

/// B3: after a mismatch nobody gets another byte, not even of the part that was released.
#[tokio::test]
async fn gives_nothing_of_a_blob_that_was_found_wrong() {
    let scene = Scene::new();
    let bytes = content(MIB, 2);
    let mut filling = scene.store.ingest(&digest(b"other"), MIB as u64).await.unwrap();
    let spool = filling.spool();
    append(&mut filling, &bytes, 100 * KIB).await;
    filling.verify().await.unwrap_err();
    let (read, error) = drain(spool.follow(0..u64::MAX)).await;
    assert!(read.is_empty());
    assert!(matches!(reason(error), SpoolFailure::DigestMismatch { .. }));
    assert!(spool.wait_released(1).await.is_err());
}

/// B10: bytes that go on after the declared size fail, even if the declared part is right.
#[tokio::test]
async fn fails_when_more_bytes_come_than_declared() {
    let scene = Scene::new();
    let bytes = content(MIB, 3);
    let mut filling = ingest(&scene.store, &bytes).await;
    let follower = filling.spool().follow(0..u64::MAX);
    append(&mut filling, &bytes, 100 * KIB).await;
    let error = filling.append(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(
        matches!(error, IngestError::TooLong { expected } if expected == MIB as u64),
        "{error:?}"
    );
    assert!(matches!(
        filling.append(Bytes::from_static(b"x")).await,
        Err(IngestError::Ended)
    ));
    assert!(matches!(filling.verify().await, Err(VerifyError::Ended)));
    let (read, error) = drain(follower).await;
    assert!(read.len() <= MIB - TAIL);
    assert!(matches!(reason(error), SpoolFailure::TooLong { .. }));
    drop(filling);
    scene.is_empty().await;
}

/// B10: bytes that end before the declared size fail.
#[tokio::test]
async fn fails_when_bytes_are_missing() {
    let scene = Scene::new();
    let bytes = content(MIB, 4);
    let mut filling = ingest(&scene.store, &bytes).await;
    let follower = filling.spool().follow(0..u64::MAX);
    append(&mut filling, &bytes.slice(1..), 100 * KIB).await;
    let error = filling.verify().await.unwrap_err();
    let (expected, received) = (MIB as u64, MIB as u64 - 1);
    assert!(
        matches!(error, VerifyError::TooShort { expected: e, received: r } if (e, r) == (expected, received)),
        "{error:?}"
    );
    assert!(matches!(
        reason(drain(follower).await.1),
        SpoolFailure::TooShort { .. }
    ));
    drop(filling);
    scene.is_empty().await;
}

/// B2, B3: whoever drives the fill gives up; followers learn why and never wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_followers_why_the_fill_was_given_up() {
    let scene = Scene::new();
    let bytes = content(MIB, 5);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    let followers: Vec<_> = (0..10)
        .map(|_| tokio::spawn(drain(spool.follow(0..u64::MAX))))
        .collect();
    let settled = tokio::spawn({
        let spool = Arc::clone(&spool);
        async move { spool.settled().await }
    });
    append(&mut filling, &bytes.slice(..300_000), 100 * KIB).await;
    filling.fail(Arc::new(io::Error::other("upstream hung up")));
    for follower in followers {
        let (read, error) = within(follower).await.unwrap();
        assert_same(&read, &bytes[..read.len()]);
        let SpoolFailure::Source(source) = reason(error) else {
            panic!()
        };
        assert_eq!(source.to_string(), "upstream hung up");
    }
    let failure = within(settled).await.unwrap().unwrap_err();
    assert_eq!(failure.source().unwrap().to_string(), "upstream hung up");
    scene.is_empty().await;
}

/// B2: a driver that vanishes does not leave its followers hanging.
#[tokio::test]
async fn fails_followers_when_the_ingest_is_dropped_unverified() {
    let scene = Scene::new();
    let bytes = content(MIB, 6);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    append(&mut filling, &bytes, 100 * KIB).await;
    drop(filling);
    assert!(matches!(
        reason(drain(spool.follow(0..u64::MAX)).await.1),
        SpoolFailure::Abandoned
    ));
    assert!(matches!(spool.progress(), Progress::Failed { .. }));
    scene.is_empty().await;
}

/// B3: a fill that was interrupted in the middle of an append is resumed at the byte that was taken last.
#[tokio::test]
async fn counts_what_was_taken_when_an_append_is_cancelled() {
    let scene = Scene::new();
    let bytes = content(8 * MIB, 7);
    let mut filling = ingest(&scene.store, &bytes).await;
    for _ in 0..1000 {
        let from = usize::try_from(filling.received()).unwrap();
        if from == bytes.len() {
            break;
        }
        let append = filling.append(bytes.slice(from..));
        tokio::select! { biased; result = append => result.unwrap(), () = tokio::task::yield_now() => {} }
    }
    let from = usize::try_from(filling.received()).unwrap();
    filling.append(bytes.slice(from..)).await.unwrap();
    filling.verify().await.unwrap();
}

/// B3: "the next request starts afresh".
#[tokio::test]
async fn fills_the_same_blob_again_after_a_failure() {
    let scene = Scene::new();
    let bytes = content(MIB, 8);
    let mut filling = ingest(&scene.store, &bytes).await;
    append(&mut filling, &content(MIB, 9), 100 * KIB).await;
    filling.verify().await.unwrap_err();
    let key = crate::scene::stored(&scene.store, &bytes).await;
    assert_same(
        &crate::scene::whole(&scene.store.open(&key, MIB as u64).await.unwrap()).await,
        &bytes,
    );
}

/// A runtime that shuts down takes running fills with it.
#[test]
fn lets_a_runtime_shut_down_with_a_fill_under_way() {
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let spool = runtime.block_on(async {
        let store = Store::open_filesystem(root.path(), 0).unwrap();
        let bytes = content(MIB, 10);
        let mut filling = ingest(&store, &bytes).await;
        let spool = filling.spool();
        append(&mut filling, &bytes.slice(..1000), 1000).await;
        until("something is written", || spool.written() == 1000).await;
        tokio::spawn(async move {
            let _filling = filling;
            std::future::pending::<()>().await;
        });
        spool
    });
    drop(runtime);
    assert!(matches!(
        spool.progress(),
        Progress::Failed {
            reason: SpoolFailure::Abandoned,
            ..
        }
    ));
    assert!(Store::open_filesystem(root.path(), 0).is_ok());
}
