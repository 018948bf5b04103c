//! Frames of stored blobs.

use std::fs::File;

use crate::scene::{KIB, MIB, Scene, assert_same, content, read, stored, whole};

/// A blob of a frame's size is one frame.
#[tokio::test]
async fn gives_a_small_blob_as_one_frame() {
    let scene = Scene::new();
    for length in [1, 1000, 64 * KIB] {
        let bytes = content(length, 1);
        let blob = scene
            .store
            .open(&stored(&scene.store, &bytes).await, length as u64)
            .await
            .unwrap();
        let mut frames = blob.reader(0..u64::MAX);
        assert_same(&frames.next().await.unwrap().unwrap(), &bytes);
        assert!(frames.next().await.is_none());
    }
}

/// Bytes that are not in memory are read on the blocking pool, with the same result.
#[tokio::test]
async fn reads_what_is_not_in_memory() {
    let scene = Scene::new();
    let bytes = content(4 * MIB, 2);
    let key = stored(&scene.store, &bytes).await;
    let file = File::open(scene.root.path().join(key.as_str())).unwrap();
    let blob = scene.store.open(&key, bytes.len() as u64).await.unwrap();
    for resident in [0, MIB, 3 * MIB + 5] {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        read(blob.reader(0..resident as u64)).await;
        assert_same(&whole(&blob).await, &bytes);
    }
}

/// No frame is larger than 256 KiB, however fast the reader.
#[tokio::test]
async fn bounds_what_a_reader_holds() {
    let scene = Scene::new();
    let bytes = content(40 * MIB, 3);
    let blob = scene
        .store
        .open(&stored(&scene.store, &bytes).await, bytes.len() as u64)
        .await
        .unwrap();
    let mut frames = blob.reader(0..u64::MAX);
    let (mut largest, mut at) = (0, 0);
    while let Some(frame) = frames.next().await {
        let frame = frame.unwrap();
        assert_same(&frame, &bytes[at..at + frame.len()]);
        at += frame.len();
        largest = largest.max(frame.len());
    }
    assert_eq!(at, bytes.len());
    assert!((64 * KIB..=256 * KIB).contains(&largest), "{largest}");
}

/// Many readers at once from one runtime thread.
#[tokio::test]
async fn shares_one_thread_among_many_readers() {
    let scene = Scene::new();
    let bytes = content(3 * MIB, 4);
    let blob = scene
        .store
        .open(&stored(&scene.store, &bytes).await, bytes.len() as u64)
        .await
        .unwrap();
    let readers = (0..30).map(|from| {
        let blob = blob.clone();
        async move { (from, read(blob.reader(from..u64::MAX)).await) }
    });
    for (from, read) in futures::future::join_all(readers).await {
        assert_same(&read, &bytes[usize::try_from(from).unwrap()..]);
    }
}
