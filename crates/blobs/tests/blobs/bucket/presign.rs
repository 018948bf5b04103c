//! URLs by which clients read from the bucket themselves.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, SystemTime},
};

use quayside_blobs::{OpenError, StorageKey};
use quayside_test_servers::{S3Door, s3_door::Operation};

use super::depot::{Depot, PREFIX};
use crate::scene::{Scene, content, stored};

const LIFETIME: Duration = Duration::from_mins(5);

const SECOND: Duration = Duration::from_secs(1);

/// Head and body of what a client gets there.
pub(super) async fn get(url: &str, header: &str) -> (String, Vec<u8>) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{header}\r\n");
    let host = host.to_owned();
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    let answer = exchange.await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    (head, answer[end + 4..].to_vec())
}

async fn url(depot: &Depot, key: &StorageKey, size: u64, now: SystemTime) -> String {
    let url = depot.store.presign(key, size, LIFETIME, now).await.unwrap();
    url.expect("a bucket has URLs")
}

/// B7: who has the URL reads the blob, all of it or a part, and after its life nobody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_gives_the_blob_and_its_ranges_until_it_expires() {
    let depot = Depot::new().await;
    let bytes = content(5000, 1);
    let key = stored(&depot.store, &bytes).await;
    let now = SystemTime::now();
    let fresh = url(&depot, &key, 5000, now).await;
    let (head, body) = get(&fresh, "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, bytes);
    let (head, body) = get(&fresh, "range: bytes=100-199\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(body, bytes[100..200]);
    let other = Depot::new().await;
    other.put(&format!("{PREFIX}/{key}"), &bytes).await;
    let expired = url(&other, &key, 5000, now - LIFETIME - SECOND).await;
    let (head, _) = get(&expired, "").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let (head, _) = get(&fresh.replace("X-Amz-Expires=300", "X-Amz-Expires=900"), "").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}

/// B7: clients are sent to the public name of the server, under which its signature holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_leads_to_the_public_endpoint() {
    let inner = Depot::new().await;
    let public = S3Door::in_front_of(inner.server.address());
    let door = public.url();
    let home = tempfile::tempdir().unwrap();
    let mut settings = super::depot::settings(&home, &inner.server.url());
    settings.public_endpoint = Some(door.clone());
    let store = quayside_blobs::Store::open_s3(&settings).await.unwrap();
    let bytes = content(600, 2);
    let key = stored(&store, &bytes).await;
    let url = store.presign(&key, 600, LIFETIME, SystemTime::now()).await;
    let url = url.unwrap().unwrap();
    assert!(url.starts_with(&format!("{door}/")), "it leads elsewhere");
    assert_eq!(get(&url, "").await.1, bytes);
    assert_eq!(public.count(Operation::GetObject), 1);
    assert_eq!(public.count(Operation::HeadObject), 0);
}

/// B7, B8: a URL is used for half its life, and a look at the object for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_is_kept_for_half_its_life_and_a_look_for_a_minute() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(10, 3)).await;
    let start = SystemTime::now();
    depot.door.forget();
    let first = url(&depot, &key, 10, start).await;
    for (seconds, looks) in [(0, 1), (59, 1), (60, 2), (119, 2), (149, 3)] {
        assert_eq!(url(&depot, &key, 10, start + seconds * SECOND).await, first);
        assert_eq!(
            depot.door.count(Operation::HeadObject),
            looks,
            "after {seconds} s"
        );
    }
    assert_ne!(url(&depot, &key, 10, start + 150 * SECOND).await, first);
    assert_eq!(depot.door.count(Operation::HeadObject), 3);
}

/// B8: no URL for an object that is lost or damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_object_has_no_url() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(10, 4)).await;
    let now = SystemTime::now();
    url(&depot, &key, 10, now).await;
    depot.put(&format!("{PREFIX}/{key}"), b"short").await;
    let later = now + 61 * SECOND;
    let damaged = depot.store.presign(&key, 10, LIFETIME, later).await.unwrap_err();
    assert!(
        matches!(damaged, OpenError::WrongLength { found: 5, .. }),
        "{damaged:?}"
    );
}

/// B8: who deletes a blob gives its URL out no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_object_has_no_url() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(10, 6)).await;
    let now = SystemTime::now();
    url(&depot, &key, 10, now).await;
    depot.store.delete(std::slice::from_ref(&key)).await.unwrap();
    let lost = depot.store.presign(&key, 10, LIFETIME, now).await.unwrap_err();
    assert!(matches!(lost, OpenError::Missing { .. }), "{lost:?}");
}

/// B7: a directory has no URLs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_has_no_urls() {
    let scene = Scene::new();
    let key = stored(&scene.store, &content(10, 5)).await;
    let url = scene.store.presign(&key, 10, LIFETIME, SystemTime::now()).await;
    assert_eq!(url.unwrap(), None);
}
