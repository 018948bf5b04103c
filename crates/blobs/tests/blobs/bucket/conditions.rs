//! Servers that know no conditions on writes.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use quayside_blobs::Store;

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

fn is_conditional(request: &str) -> bool {
    request.to_lowercase().contains("\r\nif-none-match: *\r\n")
}
