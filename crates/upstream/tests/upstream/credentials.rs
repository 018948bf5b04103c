//! SPEC A6, A7: where credentials and tokens go, and where they never do.

use std::sync::Arc;

use quayside_upstream::{Upstream, UpstreamError};

use crate::server::{Server, manifest, respond, sha256, tag};

const PASSWORD: &str = "canary-password";

async fn blob(upstream: &Upstream) -> Result<Vec<u8>, UpstreamError> {
    let mut answer = upstream.get_blob("a", &sha256(b"x"), 0).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// Asks for Basic, then redirects.
async fn basic_then(location: String) -> Server {
    Server::start(move |seen| match seen.authorization() {
        None => respond(401, &[("www-authenticate", "Basic realm=r")], ""),
        Some(_) => respond(307, &[("location", &location)], ""),
    })
    .await
}

/// A7: nothing is sent to a redirect target, not by another name, not by another port.
#[tokio::test]
async fn sends_no_credentials_to_a_redirect_target() {
    let target = Server::start(|_| respond(200, &[], "bytes")).await;
    for name in ["registry.test", "cdn.test"] {
        let server = basic_then(target.url(name, "/blob?sig=1")).await;
        assert_eq!(blob(&server.with_credentials(PASSWORD)).await.unwrap(), b"bytes");
    }
    let seen = target.seen();
    assert_eq!(seen.len(), 2);
    for one in &seen {
        assert_eq!(one.query, "sig=1");
        assert_eq!(one.authorization(), None);
        assert!(!format!("{:?}", one.headers).contains("canary"));
        assert_eq!(one.header("referer"), None);
        assert_eq!(one.header("cookie"), None);
        assert_eq!(one.header("accept-encoding"), Some("identity"));
    }
}

/// A7: a token is as good as a password.
#[tokio::test]
async fn sends_no_token_to_a_redirect_target() {
    let target = Server::start(|_| respond(200, &[], "bytes")).await;
    let location = target.url("cdn.test", "/blob");
    let server = Server::start(move |seen| {
        if seen.path == "/token" {
            return respond(200, &[], r#"{"token":"canary-token"}"#);
        }
        if seen.authorization() == Some("Bearer canary-token") {
            return respond(302, &[("location", &location)], "");
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        respond(
            401,
            &[("www-authenticate", &format!(r#"Bearer realm="{realm}""#))],
            "",
        )
    })
    .await;
    assert_eq!(blob(&server.with_credentials(PASSWORD)).await.unwrap(), b"bytes");
    assert_eq!(target.seen().len(), 1);
    assert!(!format!("{:?}", target.seen()[0].headers).contains("canary"));
}

/// A7: the range travels, so that a resumed blob resumes at the target too.
#[tokio::test]
async fn takes_the_range_along_to_a_redirect_target() {
    let target = Server::start(|_| respond(206, &[("content-range", "bytes 4-9/10")], "456789")).await;
    let location = target.url("cdn.test", "/blob");
    let server = Server::start(move |_| respond(307, &[("location", &location)], "")).await;
    let answer = server.anonymous().get_blob("a", &sha256(b"x"), 4).await.unwrap();
    assert_eq!(answer.start, 4);
    assert_eq!(target.seen()[0].header("range"), Some("bytes=4-"));
}

/// A7: within the upstream's own scheme, host and port credentials stay.
#[tokio::test]
async fn keeps_credentials_for_a_redirect_to_the_same_place() {
    let server = Server::start(|seen| match seen.authorization() {
        None => respond(401, &[("www-authenticate", "Basic realm=r")], ""),
        Some(_) if seen.path.starts_with("/v2/a/") => respond(308, &[("location", "/v2/b/moved")], ""),
        Some(_) => respond(200, &[], "bytes"),
    })
    .await;
    assert_eq!(blob(&server.with_credentials(PASSWORD)).await.unwrap(), b"bytes");
}

/// A7: what was dropped on the way out does not come back with the way back.
#[tokio::test]
async fn does_not_pick_credentials_up_again_after_a_detour() {
    let back = Arc::new(std::sync::Mutex::new(String::new()));
    let location = Arc::clone(&back);
    let detour = Server::start(move |_| respond(307, &[("location", &location.lock().unwrap())], "")).await;
    let away = detour.url("cdn.test", "/x");
    let server = Server::start(move |seen| match (seen.path.as_str(), seen.authorization()) {
        ("/v2/attacker/chosen", sent) => respond(if sent.is_some() { 200 } else { 403 }, &[], ""),
        (_, None) => respond(401, &[("www-authenticate", "Basic realm=r")], ""),
        (_, Some(_)) => respond(307, &[("location", &away)], ""),
    })
    .await;
    *back.lock().unwrap() = server.url("registry.test", "/v2/attacker/chosen");
    let error = blob(&server.with_credentials(PASSWORD)).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 403, .. }),
        "{error:?}"
    );
}

/// A7: a redirect target that asks for credentials gets none, and names no token service for us.
#[tokio::test]
async fn answers_no_challenge_of_a_redirect_target() {
    let phisher = Server::start(|_| respond(200, &[], r#"{"token":"t"}"#)).await;
    let realm = phisher.url("evil.test", "/token");
    for challenge in ["Basic realm=r".to_owned(), format!(r#"Bearer realm="{realm}""#)] {
        let target = Server::start(move |_| respond(401, &[("www-authenticate", &challenge)], "")).await;
        let server = basic_then(target.url("cdn.test", "/blob")).await;
        let upstream = server.with_credentials(PASSWORD);
        for _ in 0..2 {
            let error = blob(&upstream).await.unwrap_err();
            assert!(
                matches!(error, UpstreamError::Refused { status: 401, .. }),
                "{error:?}"
            );
        }
        assert!(target.seen().iter().all(|one| one.authorization().is_none()));
    }
    assert_eq!(phisher.seen().len(), 0);
}

/// A7: a token service that redirects elsewhere takes no credentials along.
#[tokio::test]
async fn sends_no_credentials_to_where_a_token_service_redirects() {
    let other = Server::start(|_| respond(200, &[], r#"{"token":"t"}"#)).await;
    let location = other.url("other.test", "/token");
    let server = Server::start(move |seen| {
        if seen.path == "/token" {
            return respond(307, &[("location", &location)], "");
        }
        if seen.authorization() == Some("Bearer t") {
            return manifest();
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        respond(
            401,
            &[("www-authenticate", &format!(r#"Bearer realm="{realm}""#))],
            "",
        )
    })
    .await;
    server
        .with_credentials(PASSWORD)
        .get_manifest("a", &tag("t"))
        .await
        .unwrap();
    assert_eq!(other.seen().len(), 1);
    assert_eq!(other.seen()[0].authorization(), None);
}

/// A7
#[tokio::test]
async fn gives_up_after_five_redirects_and_on_senseless_ones() {
    let server = Server::start(|seen| {
        let hop: u32 = seen.query.parse().unwrap_or(0);
        let limit = if seen.path.contains("/five/") { 5 } else { 6 };
        if hop == limit {
            return respond(200, &[], "bytes");
        }
        respond(307, &[("location", &format!("{}?{}", seen.path, hop + 1))], "")
    })
    .await;
    let upstream = server.anonymous();
    assert!(upstream.get_blob("five", &sha256(b"x"), 0).await.is_ok());
    let error = upstream
        .get_blob("six", &sha256(b"x"), 0)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(error, UpstreamError::RedirectRefused { .. }),
        "{error:?}"
    );
    for headers in [
        vec![],
        vec![("location", "ftp://a/")],
        vec![("location", "http://[")],
    ] {
        let server = Server::start(move |_| respond(302, &headers, "")).await;
        let error = blob(&server.anonymous()).await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::RedirectRefused { .. }),
            "{error:?}"
        );
    }
}

/// A6: whatever fails, the password is not in what is printed, nor is a presigned query.
#[tokio::test]
async fn prints_no_secret_in_any_error() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let location = format!("http://cdn.test:{closed}/canary-path?X-Amz-Signature=canary");
    let server = basic_then(location).await;
    let upstream = server.with_credentials(PASSWORD);
    let error = blob(&upstream).await.unwrap_err();
    let mut text = format!("{upstream:?} {error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(next) = source {
        text.extend([next.to_string(), format!("{next:?}")]);
        source = next.source();
    }
    assert!(!text.contains("canary"), "{text}");
    assert!(text.contains(&format!("cdn.test:{closed}")));
}
