//! SPEC B2, B3, B10, B11: bodies as they arrive, ranges, and every way they end early.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use quayside_upstream::{BlobBody, Client, DripLimit, Environment, UpstreamError};

use crate::server::{Seen, Server, cut, environment, loopback_allowed, plain, respond, settings, sha256};

async fn whole(mut body: BlobBody) -> (Vec<u8>, Option<UpstreamError>) {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => {
                assert!(body.next().await.is_none(), "an error is the end");
                return (bytes, Some(error));
            }
        }
    }
    (bytes, None)
}

/// B2
#[tokio::test]
async fn reads_a_blob_from_the_start_without_a_range() {
    let server = Server::start(|_| respond(200, &[], "0123456789")).await;
    let blob = server
        .anonymous()
        .get_blob("a/b", &sha256(b"0123456789"), 0)
        .await
        .unwrap();
    assert_eq!((blob.start, blob.length), (0, Some(10)));
    assert_eq!(whole(blob.body).await.0, b"0123456789");
    let seen = server.seen();
    assert_eq!(seen[0].path, format!("/v2/a/b/blobs/{}", sha256(b"0123456789")));
    assert_eq!(seen[0].header("range"), None);
    assert_eq!(seen[0].header("accept-encoding"), Some("identity"));
}

/// B2: the first byte does not wait for the last.
#[tokio::test]
async fn hands_bytes_out_while_the_rest_is_still_to_come() {
    let (rest, pieces) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    let pieces = std::sync::Mutex::new(Some(pieces));
    let server = Server::start(move |_| {
        let body = Body::from_stream(pieces.lock().unwrap().take().unwrap());
        respond(200, &[("content-length", "6")], body)
    })
    .await;
    rest.unbounded_send(Ok(Bytes::from_static(b"one"))).unwrap();
    let mut blob = server
        .anonymous()
        .get_blob("a", &sha256(b"onetwo"), 0)
        .await
        .unwrap();
    assert_eq!(blob.body.next().await.unwrap().unwrap(), "one");
    rest.unbounded_send(Ok(Bytes::from_static(b"two"))).unwrap();
    assert_eq!(blob.body.next().await.unwrap().unwrap(), "two");
    assert!(blob.body.next().await.is_none());
}

/// B3
#[tokio::test]
async fn resumes_with_a_range_from_the_byte_that_is_missing() {
    let server = Server::start(|_| respond(206, &[("content-range", "bytes 4-9/10")], "456789")).await;
    let blob = server.anonymous().get_blob("a", &sha256(b"x"), 4).await.unwrap();
    assert_eq!((blob.start, blob.length), (4, Some(6)));
    assert_eq!(whole(blob.body).await.0, b"456789");
    assert_eq!(server.seen()[0].header("range"), Some("bytes=4-"));
}

/// B3: "an upstream that answers 200 is read from the start".
#[tokio::test]
async fn says_that_a_range_was_ignored() {
    let server = Server::start(|_| respond(200, &[], "0123456789")).await;
    let blob = server.anonymous().get_blob("a", &sha256(b"x"), 4).await.unwrap();
    assert_eq!((blob.start, blob.length), (0, Some(10)));
}

/// B3: never a byte at the wrong place.
#[tokio::test]
async fn refuses_a_range_that_was_not_asked_for() {
    let ranges: [&[(&str, &str)]; 5] = [
        &[("content-range", "bytes 3-9/10")],
        &[("content-range", "bytes 5-9/10")],
        &[("content-range", "nonsense")],
        &[],
        &[("content-range", "bytes 4-8/10")],
    ];
    for headers in ranges {
        let server = Server::start(move |_| respond(206, headers, "456789")).await;
        let error = server
            .anonymous()
            .get_blob("a", &sha256(b"x"), 4)
            .await
            .unwrap_err();
        assert!(
            matches!(error, UpstreamError::Invalid { .. }),
            "{headers:?}: {error:?}"
        );
        assert!(!error.is_outage());
    }
    let server = Server::start(|_| respond(416, &[], "")).await;
    let error = server
        .anonymous()
        .get_blob("a", &sha256(b"x"), 4)
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Invalid { .. }), "{error:?}");
}

/// B3: cut at any byte, everything before the cut arrives and the cut is told.
#[tokio::test]
async fn tells_a_cut_body_from_a_complete_one() {
    let server = Server::start(|seen: &Seen| {
        let length = seen
            .path
            .split('/')
            .nth(2)
            .and_then(|name| name.strip_prefix('n'))
            .unwrap();
        let length: usize = length.parse().unwrap();
        let pieces = if length == 0 {
            vec![]
        } else {
            vec![Bytes::from(vec![7; length])]
        };
        cut(200, &[("content-length", "100000")], pieces)
    })
    .await;
    let upstream = server.anonymous();
    for length in [0, 1, 99_999] {
        let blob = upstream
            .get_blob(&format!("n{length}"), &sha256(b"x"), 0)
            .await
            .unwrap();
        assert_eq!(blob.length, Some(100_000));
        let (bytes, error) = whole(blob.body).await;
        let error = error.expect("the body was cut");
        assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
        assert!(error.is_outage());
        assert!(bytes.len() <= length);
    }
}

/// B3: also where no length was announced.
#[tokio::test]
async fn tells_a_cut_chunked_body_from_a_complete_one() {
    let server = Server::start(|_| cut(200, &[], vec![Bytes::from_static(b"half")])).await;
    let blob = server.anonymous().get_blob("a", &sha256(b"x"), 0).await.unwrap();
    assert_eq!(blob.length, None);
    assert!(matches!(
        whole(blob.body).await.1,
        Some(UpstreamError::Broken { .. })
    ));
}

/// B11
#[tokio::test]
async fn maps_refusals_of_a_blob_like_those_of_a_manifest() {
    let server = Server::start(|_| respond(404, &[], "")).await;
    let error = server
        .anonymous()
        .get_blob("a", &sha256(b"x"), 0)
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::NotFound { .. }), "{error:?}");
    let server = Server::start(|_| respond(502, &[], "")).await;
    let error = server
        .anonymous()
        .get_blob("a", &sha256(b"x"), 0)
        .await
        .unwrap_err();
    assert!(
        matches!(error, UpstreamError::Status { status: 502, .. }),
        "{error:?}"
    );
}

/// ENGINE 3.3: so long without a byte.
#[tokio::test]
async fn gives_up_a_body_that_stands_still() {
    let server = Server::start(|_| {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"first"))]);
        let body = Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()));
        respond(200, &[("content-length", "10")], body)
    })
    .await;
    let mut settings = settings(loopback_allowed());
    settings.read_timeout = Duration::from_millis(200);
    let client = Client::with_environment(settings, environment());
    let upstream = client.upstream(plain("registry.test", server.port)).unwrap();
    let blob = upstream.get_blob("a", &sha256(b"x"), 0).await.unwrap();
    let (bytes, error) = whole(blob.body).await;
    assert_eq!(bytes, b"first");
    assert!(matches!(error, Some(UpstreamError::Timeout { .. })), "{error:?}");
}

/// ENGINE 3.3: a byte now and then does not count as progress.
#[tokio::test]
async fn gives_up_a_body_that_drips() {
    let server = Server::start(|_| {
        let drops = futures::stream::unfold((), async |()| {
            tokio::task::yield_now().await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b".")), ()))
        });
        respond(200, &[], Body::from_stream(drops))
    })
    .await;
    let drip = DripLimit {
        // Faster than any machine.
        bytes_per_second: u64::MAX,
        window: Duration::from_millis(50),
    };
    let environment = Environment {
        drip,
        ..environment()
    };
    let client = Client::with_environment(settings(loopback_allowed()), environment);
    let upstream = client.upstream(plain("registry.test", server.port)).unwrap();
    let blob = upstream.get_blob("a", &sha256(b"x"), 0).await.unwrap();
    let (bytes, error) = whole(blob.body).await;
    assert!(!bytes.is_empty());
    assert!(matches!(error, Some(UpstreamError::Timeout { .. })), "{error:?}");
}

/// Compression that nobody asked for is not undone: the digest is of what is on the wire.
#[tokio::test]
async fn never_decompresses() {
    let server = Server::start(|_| respond(200, &[("content-encoding", "gzip")], "not gzip")).await;
    let blob = server.anonymous().get_blob("a", &sha256(b"x"), 0).await.unwrap();
    assert_eq!(whole(blob.body).await.0, b"not gzip");
}
