//! Readers of a blob that is still arriving.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake},
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use proptest::prelude::*;
use quayside_blobs::{Frames, Progress, StorageKey, WITHHELD_TAIL};

use crate::scene::{
    KIB, MIB, Scene, append, assert_same, content, digest, ingest, read, until, whole, within,
};

const TAIL: usize = 64 * KIB;

/// B2: forty readers of one fill, each byte for byte, and each with its first byte before the last was received.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_forty_followers_every_byte() {
    let scene = Scene::new();
    let bytes = content(5 * MIB + 321, 1);
    let mut filling = ingest(&scene.store, &bytes).await;
    let started = Arc::new(AtomicUsize::new(0));
    let followers: Vec<_> = (0..40)
        .map(|_| {
            let mut frames = filling.spool().follow(0..u64::MAX);
            let started = Arc::clone(&started);
            tokio::spawn(async move {
                let first = frames.next().await.unwrap().unwrap();
                started.fetch_add(1, Ordering::SeqCst);
                [first.to_vec(), read(frames).await].concat()
            })
        })
        .collect();
    let half = bytes.len() / 2;
    append(&mut filling, &bytes.slice(..half), 37_123).await;
    until("every follower has its first byte", || {
        started.load(Ordering::SeqCst) == 40
    })
    .await;
    append(&mut filling, &bytes.slice(half..), 37_123).await;
    filling.verify().await.unwrap();
    let key = StorageKey::new(&digest(&bytes), filling.token()).unwrap();
    filling.commit(&key).await.unwrap();
    for follower in followers {
        assert_same(&within(follower).await.unwrap(), &bytes);
    }
    assert_same(
        &whole(&scene.store.open(&key, bytes.len() as u64).await.unwrap()).await,
        &bytes,
    );
}

/// B3: the last 64 KiB wait for the verification, however long all bytes have been on disk.
#[tokio::test]
async fn withholds_the_tail_until_verified() {
    let scene = Scene::new();
    let bytes = content(200 * KIB, 2);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    append(&mut filling, &bytes, 10_000).await;
    until("all is written", || spool.written() == bytes.len() as u64).await;
    assert_eq!(WITHHELD_TAIL, TAIL as u64);
    assert_eq!(spool.released(), (bytes.len() - TAIL) as u64);
    let mut follower = spool.follow(0..u64::MAX);
    let mut got = Vec::new();
    while got.len() < bytes.len() - TAIL {
        got.extend_from_slice(&within(follower.next()).await.unwrap().unwrap());
    }
    assert_eq!(got.len(), bytes.len() - TAIL);
    assert!(follower.next().now_or_never().is_none());
    filling.verify().await.unwrap();
    got.extend(read(follower).await);
    assert_same(&got, &bytes);
}

/// B3: a blob that is not larger than the withheld tail is withheld whole.
#[tokio::test]
async fn withholds_a_small_blob_whole() {
    let scene = Scene::new();
    let bytes = content(TAIL, 3);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    append(&mut filling, &bytes, TAIL).await;
    until("all is written", || spool.written() == TAIL as u64).await;
    assert!(spool.follow(0..1).next().now_or_never().is_none());
    assert!(spool.settled().now_or_never().is_none());
    filling.verify().await.unwrap();
    spool.settled().await.unwrap();
    assert_same(&read(spool.follow(0..u64::MAX)).await, &bytes);
}

/// B5: ranges of a running fill, each as soon as its own bytes are there.
#[tokio::test]
async fn gives_a_range_as_soon_as_it_is_there() {
    let scene = Scene::new();
    let bytes = content(MIB, 4);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    let (early, late) = (spool.follow(1000..5000), spool.follow(900_000..900_100));
    let (open, empty) = (spool.follow(500_000..u64::MAX), spool.follow(2_000_000..u64::MAX));
    assert!(spool.wait_released(5000).now_or_never().is_none());
    append(&mut filling, &bytes.slice(..6000), 6000).await;
    within(spool.wait_released(5000)).await.unwrap();
    assert_same(&read(early).await, &bytes[1000..5000]);
    assert_eq!(late.remaining(), 100);
    append(&mut filling, &bytes.slice(6000..950_000), 50_000).await;
    assert_same(&read(late).await, &bytes[900_000..900_100]);
    append(&mut filling, &bytes.slice(950_000..), 50_000).await;
    filling.verify().await.unwrap();
    assert_same(&read(open).await, &bytes[500_000..]);
    assert!(read(empty).await.is_empty());
}

/// B5: readers that leave early cost nothing and disturb nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_when_followers_leave() {
    let scene = Scene::new();
    let bytes = content(3 * MIB, 5);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    for chunk in 0..30_usize {
        let start = chunk * bytes.len() / 30;
        let mut leaving: Vec<Frames> = (0..50).map(|_| spool.follow(start as u64..u64::MAX)).collect();
        for frames in &mut leaving {
            frames.next().now_or_never();
        }
        append(
            &mut filling,
            &bytes.slice(start..(chunk + 1) * bytes.len() / 30),
            30_000,
        )
        .await;
        for frames in &mut leaving {
            frames.next().now_or_never();
        }
    }
    filling.verify().await.unwrap();
    assert_same(&read(spool.follow(0..u64::MAX)).await, &bytes);
}

/// B2: the fill is as fast as upstream and disk; a reader that stalls does not slow it.
#[tokio::test]
async fn is_not_slowed_by_a_follower_that_stalls() {
    let scene = Scene::new();
    let bytes = content(8 * MIB, 6);
    let mut filling = ingest(&scene.store, &bytes).await;
    let mut stalled = filling.spool().follow(0..u64::MAX);
    append(&mut filling, &bytes.slice(..MIB), 100 * KIB).await;
    let first = within(stalled.next()).await.unwrap().unwrap();
    within(append(&mut filling, &bytes.slice(MIB..), 100 * KIB)).await;
    filling.verify().await.unwrap();
    assert_same(&[first.to_vec(), read(stalled).await].concat(), &bytes);
}

/// B2: a fill outlives whoever caused it; who comes late starts from the first byte all the same.
#[tokio::test]
async fn lets_followers_join_at_any_time() {
    let scene = Scene::new();
    let bytes = content(MIB, 7);
    let mut filling = ingest(&scene.store, &bytes).await;
    let spool = filling.spool();
    append(&mut filling, &bytes, 100 * KIB).await;
    let before = spool.follow(0..u64::MAX);
    filling.verify().await.unwrap();
    let after = spool.follow(0..u64::MAX);
    let key = StorageKey::new(&digest(&bytes), filling.token()).unwrap();
    filling.commit(&key).await.unwrap();
    let committed = spool.follow(0..u64::MAX);
    scene.store.delete(&[key]).await.unwrap();
    for follower in [before, after, committed, spool.follow(0..u64::MAX)] {
        assert_same(&read(follower).await, &bytes);
    }
}

/// B9: bytes that were only fetched as a proof are verified, given out and dropped.
#[tokio::test]
async fn lets_followers_finish_when_a_verified_ingest_is_dropped() {
    let scene = Scene::new();
    let bytes = content(MIB, 8);
    let mut filling = ingest(&scene.store, &bytes).await;
    let follower = filling.spool().follow(0..u64::MAX);
    append(&mut filling, &bytes, 100 * KIB).await;
    assert_eq!(filling.verify().await.unwrap(), MIB as u64);
    filling.fail(Arc::new(std::io::Error::other("too late to matter")));
    scene.is_empty().await;
    assert_same(&read(follower).await, &bytes);
}

#[tokio::test]
async fn receives_an_empty_blob() {
    let scene = Scene::new();
    let mut filling = ingest(&scene.store, b"").await;
    let spool = filling.spool();
    assert!(spool.settled().now_or_never().is_none());
    filling.append(Bytes::new()).await.unwrap();
    assert_eq!(filling.verify().await.unwrap(), 0);
    spool.settled().await.unwrap();
    assert!(read(spool.follow(0..u64::MAX)).await.is_empty());
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waiting reader is woken by progress, once for each, and by no clock.
#[tokio::test]
async fn wakes_a_waiting_follower_when_bytes_arrive() {
    let scene = Scene::new();
    let bytes = content(300 * KIB, 9);
    let mut filling = ingest(&scene.store, &bytes).await;
    let mut follower = filling.spool().follow(50_000..u64::MAX);
    let wakes = Arc::new(Wakes::default());
    let counter = Arc::clone(&wakes).into();
    let mut context = Context::from_waker(&counter);
    let mut poll = |follower: &mut Frames| std::pin::pin!(follower.next()).poll(&mut context);
    assert!(poll(&mut follower).is_pending());
    append(&mut filling, &bytes.slice(..50_000), 50_000).await;
    until("the first part is announced", || {
        wakes.0.load(Ordering::SeqCst) == 1
    })
    .await;
    assert!(poll(&mut follower).is_pending(), "there is nothing for it yet");
    append(&mut filling, &bytes.slice(50_000..60_000), 10_000).await;
    until("the second part is announced", || {
        wakes.0.load(Ordering::SeqCst) == 2
    })
    .await;
    let Poll::Ready(Some(Ok(frame))) = poll(&mut follower) else {
        panic!("its bytes are there")
    };
    assert_same(&frame, &bytes[50_000..60_000]);
}

#[tokio::test]
async fn is_a_stream_and_tells_how_much_is_to_come() {
    fn assert_stream<S: Stream + Send + Unpin>(_: &S) {}
    let scene = Scene::new();
    let bytes = content(MIB, 10);
    let mut filling = ingest(&scene.store, &bytes).await;
    append(&mut filling, &bytes, 100 * KIB).await;
    assert_eq!(filling.received(), MIB as u64);
    filling.verify().await.unwrap();
    assert!(matches!(filling.spool().progress(), Progress::Verified));
    let mut frames = filling.spool().follow(10..u64::MAX);
    assert_stream(&frames);
    assert_eq!((frames.position(), frames.remaining()), (10, MIB as u64 - 10));
    let first = StreamExt::next(&mut frames).await.unwrap().unwrap();
    assert_eq!(frames.position(), 10 + first.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// B2, B5: whatever the chunks and the range, a follower gets exactly its bytes.
    #[test]
    fn gives_exactly_the_range_whatever_the_chunks(
        length in 0_usize..600_000,
        chunks in proptest::collection::vec(1_usize..200_000, 1..12),
        start in 0_usize..700_000,
        wanted in 0_usize..700_000,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new();
            let bytes = content(length, 11);
            let mut filling = ingest(&scene.store, &bytes).await;
            let follower = tokio::spawn(read(filling.spool().follow(start as u64..(start + wanted) as u64)));
            let mut rest = bytes.clone();
            for chunk in chunks.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                filling.append(rest.split_to(chunk.min(rest.len()))).await.unwrap();
            }
            filling.verify().await.unwrap();
            let from = start.min(length);
            let to = (start + wanted).min(length);
            assert_same(&within(follower).await.unwrap(), &bytes[from..to]);
        });
    }
}
