//! Servers that know no conditions on writes.

use std::{
    sync::{
        Barrier, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use quayside_blobs::{StorageId, Store};

use super::{
    depot::{settings, soon},
    stub::{Stub, asked, nothing},
};
use crate::scene::{content, stored};

const REFUSED: &str = "<Error><Code>NotImplemented</Code></Error>";

/// G3: every write that a server refuses for its condition is made without it, also if several learn of it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_without_a_condition_where_the_server_knows_none() {
    // Neither is answered before both have come.
    let (both, refused) = (Barrier::new(2), AtomicU32::new(0));
    let server = Stub::hearing(move |request| match asked(request) {
        ("PUT", _) if is_conditional(request) => {
            if refused.fetch_add(1, Ordering::Relaxed) < 2 {
                both.wait();
            }
            (501, REFUSED.to_owned())
        }
        ("PUT", _) => (200, String::new()),
        (method, target) => nothing(method, target),
    });
    let server = server.await;
    let home = tempfile::tempdir().unwrap();
    let store = Store::open_s3(&settings(&home, &server.url)).await.unwrap();
    let (one, other) = (content(10, 1), content(10, 2));
    let both = async { tokio::join!(stored(&store, &one), stored(&store, &other)) };
    soon(Duration::from_secs(20), both).await;
}

/// C4: such a server gets an id all the same, and keeps the one that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_an_id_to_a_server_that_knows_no_conditions() {
    let carried = Mutex::new(None::<String>);
    let server = Stub::hearing(move |request| {
        let mut carried = carried.lock().unwrap();
        match asked(request) {
            ("PUT", _) if is_conditional(request) => (501, REFUSED.to_owned()),
            ("PUT", _) => {
                *carried = request.split("\r\n\r\n").nth(1).map(str::to_owned);
                (200, String::new())
            }
            ("GET", target) if target.contains("quayside-storage-id") => match &*carried {
                Some(id) => (200, id.clone()),
                None => (404, "<Error><Code>NoSuchKey</Code></Error>".to_owned()),
            },
            (method, target) => nothing(method, target),
        }
    });
    let server = server.await;
    let home = tempfile::tempdir().unwrap();
    let store = Store::open_s3(&settings(&home, &server.url)).await.unwrap();
    let (first, second) = (StorageId::random(), StorageId::random());
    for id in [&first, &second] {
        store.claim_id(id).await.unwrap();
        assert_eq!(store.id().await.unwrap(), Some(first.clone()));
    }
}

/// C4: an id that another process wrote after we looked stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_an_id_that_was_not_there_a_moment_ago() {
    let server = Stub::hearing(|request| match asked(request) {
        ("PUT", _) => {
            assert!(is_conditional(request), "it would be overwritten");
            (412, "<Error><Code>PreconditionFailed</Code></Error>".to_owned())
        }
        ("GET", target) if target.contains("quayside-storage-id") => {
            (404, "<Error><Code>NoSuchKey</Code></Error>".to_owned())
        }
        (method, target) => nothing(method, target),
    });
    let server = server.await;
    let home = tempfile::tempdir().unwrap();
    let store = Store::open_s3(&settings(&home, &server.url)).await.unwrap();
    store.claim_id(&StorageId::random()).await.unwrap();
}

fn is_conditional(request: &str) -> bool {
    request.to_lowercase().contains("\r\nif-none-match: *\r\n")
}
