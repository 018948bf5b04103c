//! SPEC M6, M8: every way to fail, and what the caller learns of it.

use std::time::Duration;

use quayside_upstream::{Client, Upstream, UpstreamError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{
    Server, cut, environment, local_client, loopback_allowed, plain, respond, settings, tag,
};

async fn pull(upstream: &Upstream) -> UpstreamError {
    upstream.get_manifest("a", &tag("t")).await.unwrap_err()
}

/// M8
#[tokio::test]
async fn tells_an_unknown_repository_from_an_unknown_manifest() {
    let body = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"no\u0007 such"}}]}}"#);
    let (name, manifest) = (body("NAME_UNKNOWN"), body("MANIFEST_UNKNOWN"));
    let server = Server::start(move |_| respond(404, &[], name.clone())).await;
    match pull(&server.anonymous()).await {
        UpstreamError::NotFound {
            name_unknown: true,
            message,
        } => {
            assert_eq!(message.as_deref(), Some("no such"), "without control characters");
        }
        other => panic!("{other:?}"),
    }
    let server = Server::start(move |_| respond(404, &[], manifest.clone())).await;
    let error = pull(&server.anonymous()).await;
    assert!(
        matches!(
            error,
            UpstreamError::NotFound {
                name_unknown: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.is_outage());
}

/// M8: an error page of any size and shape.
#[tokio::test]
async fn ignores_error_bodies_that_are_not_errors() {
    let server = Server::start(|_| respond(404, &[], vec![b'x'; 1 << 20])).await;
    let error = pull(&server.anonymous()).await;
    assert!(
        matches!(
            error,
            UpstreamError::NotFound {
                name_unknown: false,
                message: None
            }
        ),
        "{error:?}"
    );
    let server = Server::start(|_| cut(403, &[("content-length", "100")], vec![])).await;
    let error = pull(&server.anonymous()).await;
    assert!(
        matches!(
            error,
            UpstreamError::Refused {
                status: 403,
                message: None
            }
        ),
        "{error:?}"
    );
}

/// M8
#[tokio::test]
async fn passes_on_how_long_a_rate_limit_lasts() {
    let server = Server::start(|_| respond(429, &[("retry-after", "17")], "")).await;
    let error = pull(&server.anonymous()).await;
    let wait = Some(Duration::from_secs(17));
    assert!(
        matches!(error, UpstreamError::RateLimited { retry_after, .. } if retry_after == wait),
        "{error:?}"
    );
    assert!(error.is_outage());
    let server = Server::start(|_| respond(429, &[], "")).await;
    let error = pull(&server.anonymous()).await;
    assert!(
        matches!(
            error,
            UpstreamError::RateLimited {
                retry_after: None,
                ..
            }
        ),
        "{error:?}"
    );
}

/// M6, M8
#[tokio::test]
async fn reports_other_statuses_as_they_are() {
    for (status, outage) in [
        (500, true),
        (502, true),
        (504, true),
        (400, false),
        (418, false),
        (204, false),
    ] {
        let server = Server::start(move |_| respond(status, &[], "")).await;
        let upstream = server.anonymous();
        match pull(&upstream).await {
            error @ UpstreamError::Status { .. } => {
                assert_eq!(error.is_outage(), outage);
                assert!(
                    error
                        .to_string()
                        .contains(&format!("registry.test:{}", server.port))
                );
                assert!(error.to_string().contains(&status.to_string()));
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

/// M8
#[tokio::test]
async fn reports_a_closed_port_and_an_unknown_name_as_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let client = local_client();
    let error = pull(&client.upstream(plain("registry.test", port)).unwrap()).await;
    match &error {
        UpstreamError::Unreachable { host, reason, .. } => {
            assert_eq!(host, &format!("registry.test:{port}"));
            assert!(reason.contains("refused"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(error.is_outage());
    let error = pull(&client.upstream(plain("no-such-name.invalid", port)).unwrap()).await;
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
}

/// M8: accepts and says nothing.
#[tokio::test]
async fn reports_a_black_hole_as_a_timeout() {
    let server = Server::start_slow(|_| futures::future::pending()).await;
    let mut settings = settings(loopback_allowed());
    settings.connect_timeout = Duration::from_millis(100);
    settings.read_timeout = Duration::from_millis(100);
    let client = Client::with_environment(settings, environment());
    let error = pull(&client.upstream(plain("registry.test", server.port)).unwrap()).await;
    assert!(matches!(error, UpstreamError::Timeout { .. }), "{error:?}");
    assert!(error.is_outage());
}

/// M12: what was cut is no manifest.
#[tokio::test]
async fn reports_a_manifest_that_was_cut() {
    let server = Server::start(|_| cut(200, &[("content-length", "500")], vec!["{".into()])).await;
    let error = pull(&server.anonymous()).await;
    assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
    assert!(error.is_outage());
}

/// A server that reads each request and hangs up, except those that `answers` names.
async fn hanging_up(
    answers: fn(usize) -> bool,
) -> (
    u16,
    tokio::task::JoinHandle<()>,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&count);
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            if answers(counter.fetch_add(1, Ordering::SeqCst)) {
                let _ = stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        }
    });
    (port, task, count)
}

/// M3: a check has one attempt; a fetch has a second one if the connection went before any answer.
#[tokio::test]
async fn tries_a_fetch_once_more_after_a_reset_and_a_check_not() {
    use std::sync::atomic::Ordering;
    let (port, task, count) = hanging_up(|nth| nth == 1).await;
    let upstream = local_client().upstream(plain("registry.test", port)).unwrap();
    let error = pull(&upstream).await;
    assert!(matches!(error, UpstreamError::NotFound { .. }), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
    task.abort();

    let (port, task, count) = hanging_up(|_| false).await;
    let upstream = local_client().upstream(plain("registry.test", port)).unwrap();
    let error = pull(&upstream).await;
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let head = upstream
        .head_manifest("a", &tag("t"), Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(matches!(head, UpstreamError::Unreachable { .. }), "{head:?}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
    task.abort();
}

/// A server that does not speak HTTP.
#[tokio::test]
async fn reports_nonsense_instead_of_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    let error = pull(&local_client().upstream(plain("registry.test", port)).unwrap()).await;
    assert!(error.is_outage(), "{error:?}");
    task.abort();
}
