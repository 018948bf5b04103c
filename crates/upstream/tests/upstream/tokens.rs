//! SPEC M7: the token flow, as many kinds of token service as there are registries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use base64::Engine;
use quayside_upstream::{Upstream, UpstreamError};

use crate::server::{Seen, Server, local_client, manifest, plain, respond, tag};

/// A registry with a token service on the same server, whose answers the test decides.
///
/// `token` answers requests for tokens; the registry accepts what `accepts` says.
async fn registry(
    token: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    accepts: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Server {
    Server::start(move |seen| {
        if seen.path == "/token" {
            return token(seen);
        }
        if seen.authorization().is_some_and(&accepts) {
            return manifest();
        }
        challenge(seen)
    })
    .await
}

fn challenge(seen: &Seen) -> Response {
    let realm = format!("http://{}/token", seen.header("host").unwrap());
    let header = format!(r#"Bearer realm="{realm}",service="registry, test",scope="whatever""#);
    respond(401, &[("www-authenticate", &header)], "")
}

fn token(text: &str) -> Response {
    respond(200, &[], format!(r#"{{"token":"{text}","expires_in":300}}"#))
}

fn basic(password: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("robot:{password}"))
    )
}

async fn pull(upstream: &Upstream) -> Result<(), UpstreamError> {
    upstream
        .get_manifest("library/nginx", &tag("1"))
        .await
        .map(|_| ())
}

/// M2 ("plus authentication"), M7
#[tokio::test]
async fn gets_an_anonymous_token_and_keeps_it_for_its_scope() {
    let server = registry(|_| token("t1"), |sent| sent == "Bearer t1").await;
    let upstream = server.anonymous();
    pull(&upstream).await.unwrap();
    pull(&upstream).await.unwrap();
    upstream.get_manifest("other", &tag("1")).await.unwrap();
    let tokens: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|one| one.path == "/token")
        .collect();
    assert_eq!(tokens.len(), 2, "one a scope");
    assert_eq!(
        tokens[0].query,
        "service=registry%2C+test&scope=repository%3Alibrary%2Fnginx%3Apull"
    );
    assert_eq!(
        tokens[1].query,
        "service=registry%2C+test&scope=repository%3Aother%3Apull"
    );
    assert!(tokens.iter().all(|one| one.authorization().is_none()));
    assert_eq!(
        server.count("/v2/"),
        4,
        "only the first request went out without a token"
    );
}

/// M7
#[tokio::test]
async fn shows_credentials_to_the_token_service_and_only_the_token_to_the_registry() {
    let server = registry(|_| token("t1"), |sent| sent == "Bearer t1").await;
    pull(&server.with_credentials("canary-password")).await.unwrap();
    for one in server.seen() {
        let expected = if one.path == "/token" {
            Some(basic("canary-password"))
        } else {
            None
        };
        match one.authorization() {
            Some(sent) if one.path == "/token" => assert_eq!(Some(sent.to_owned()), expected),
            Some(sent) => assert_eq!(sent, "Bearer t1"),
            None => assert_ne!(one.path, "/token"),
        }
    }
}

/// M7: `access_token` alone, no `expires_in`, an existing query in the realm.
#[tokio::test]
async fn understands_token_services_that_say_little() {
    let server = Server::start(|seen| {
        if seen.path == "/token" {
            return respond(200, &[], r#"{"access_token":"t1"}"#);
        }
        if seen.authorization() == Some("Bearer t1") {
            return manifest();
        }
        let realm = format!("http://{}/token?a=b", seen.header("host").unwrap());
        respond(401, &[("www-authenticate", &format!("bearer realm={realm}"))], "")
    })
    .await;
    let upstream = server.anonymous();
    pull(&upstream).await.unwrap();
    pull(&upstream).await.unwrap();
    assert_eq!(server.count("/token"), 1, "sixty seconds when it does not say");
    let query = server
        .seen()
        .into_iter()
        .find(|one| one.path == "/token")
        .unwrap()
        .query;
    assert_eq!(query, "a=b&scope=repository%3Alibrary%2Fnginx%3Apull");
}

/// M7: requests that need the same token at once share one, also if the first of them gives up.
#[tokio::test]
async fn asks_once_for_the_token_that_many_wait_for() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let server = Server::start_slow(move |seen| {
        let mut gate = gate.clone();
        async move {
            if seen.path == "/token" {
                gate.wait_for(|open| *open).await.unwrap();
                return token("t1");
            }
            if seen.authorization() == Some("Bearer t1") {
                manifest()
            } else {
                challenge(&seen)
            }
        }
    })
    .await;
    let upstream = server.anonymous();
    let impatient = upstream
        .head_manifest("library/nginx", &tag("1"), Duration::from_millis(300))
        .await;
    assert!(matches!(impatient, Err(UpstreamError::Timeout { .. })));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move { pull(&upstream).await })
        })
        .collect();
    while server.count("/v2/") < 21 {
        tokio::task::yield_now().await;
    }
    open.send(true).unwrap();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(server.count("/token"), 1);
}

/// M7: "after one re-authentication".
#[tokio::test]
async fn replaces_a_remembered_token_that_is_refused_and_a_fresh_one_only_once() {
    let issued = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::new(AtomicUsize::new(1));
    let (counter, good) = (Arc::clone(&issued), Arc::clone(&accepted));
    let server = registry(
        move |_| token(&format!("t{}", counter.fetch_add(1, Ordering::SeqCst) + 1)),
        move |sent| sent == format!("Bearer t{}", good.load(Ordering::SeqCst)),
    )
    .await;
    let upstream = server.anonymous();
    pull(&upstream).await.unwrap();
    accepted.store(2, Ordering::SeqCst);
    pull(&upstream).await.unwrap();
    assert_eq!(issued.load(Ordering::SeqCst), 2);
    accepted.store(99, Ordering::SeqCst);
    let error = pull(&upstream).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(issued.load(Ordering::SeqCst), 3, "one re-authentication");
}

/// M7: a fresh token that is refused is final at once.
#[tokio::test]
async fn does_not_argue_about_a_fresh_token() {
    let server = registry(|_| token("t1"), |_| false).await;
    let error = pull(&server.with_credentials("right")).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(server.count("/token"), 1);
    assert_eq!(server.count("/v2/"), 2);
}

/// M7: ghcr.io refuses tokens for names that do not exist; that says nothing about the credentials.
#[tokio::test]
async fn blames_the_repository_when_only_the_scoped_token_is_refused() {
    let scoped = |seen: &Seen| {
        if seen.query.contains("scope=") {
            respond(
                403,
                &[],
                r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#,
            )
        } else {
            token("t1")
        }
    };
    let server = registry(scoped, |sent| sent == "Bearer t1").await;
    let upstream = server.with_credentials("right");
    let error = pull(&upstream).await.unwrap_err();
    match &error {
        UpstreamError::Refused { status: 403, message } => {
            assert_eq!(message.as_deref(), Some("requested access is denied"));
        }
        other => panic!("{other:?}"),
    }
    let queries: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|one| one.path == "/token")
        .map(|one| one.query)
        .collect();
    assert_eq!(queries.len(), 2);
    assert_eq!(queries[1], "service=registry%2C+test", "the probe has no scope");
    upstream.ping().await.unwrap();
}

/// M7: without credentials there is nothing to probe.
#[tokio::test]
async fn does_not_probe_for_an_anonymous_upstream() {
    let server = registry(|_| respond(403, &[], ""), |_| false).await;
    let error = pull(&server.anonymous()).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 403, .. }),
        "{error:?}"
    );
    assert_eq!(server.count("/token"), 1);
}

/// M7
#[tokio::test]
async fn blames_the_credentials_when_they_are_refused_without_a_scope() {
    for status in [401, 403] {
        let server = registry(move |_| respond(status, &[], ""), |_| false).await;
        let upstream = server.with_credentials("wrong");
        for error in [
            pull(&upstream).await.unwrap_err(),
            upstream.ping().await.unwrap_err(),
        ] {
            match error {
                UpstreamError::CredentialsRefused { status: told, .. } => assert_eq!(told, status),
                other => panic!("{other:?}"),
            }
        }
        let error = server.anonymous().ping().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Refused { .. }), "{error:?}");
    }
}

/// M7: a probe that fails for another reason is no verdict about the credentials.
#[tokio::test]
async fn does_not_blame_the_credentials_when_the_probe_fails() {
    let service = |seen: &Seen| respond(if seen.query.contains("scope=") { 401 } else { 503 }, &[], "");
    let server = registry(service, |_| false).await;
    let error = pull(&server.with_credentials("unknown")).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 401, .. }),
        "{error:?}"
    );
}

/// M3, M6: a token service that fails is an outage of its kind, and is asked again next time.
#[tokio::test]
async fn reports_a_failing_token_service_as_an_outage() {
    let failing = Arc::new(AtomicUsize::new(500));
    let status = Arc::clone(&failing);
    let service = move |_: &Seen| match u16::try_from(status.load(Ordering::SeqCst)).unwrap() {
        200 => token("t1"),
        other => respond(other, &[("retry-after", "7")], ""),
    };
    let server = registry(service, |sent| sent == "Bearer t1").await;
    let upstream = server.anonymous();
    let error = pull(&upstream).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Status { status: 500, .. }),
        "{error:?}"
    );
    assert!(error.is_outage());
    failing.store(429, Ordering::SeqCst);
    let error = pull(&upstream).await.unwrap_err();
    let seven = Some(Duration::from_secs(7));
    assert!(
        matches!(error, UpstreamError::RateLimited { retry_after, .. } if retry_after == seven),
        "{error:?}"
    );
    failing.store(404, Ordering::SeqCst);
    let error = pull(&upstream).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Status { status: 404, .. }),
        "not the repository's: {error:?}"
    );
    failing.store(200, Ordering::SeqCst);
    pull(&upstream).await.unwrap();
}

/// M3: unreachable, with the name of who is.
#[tokio::test]
async fn names_the_token_service_that_cannot_be_reached() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let header = format!(r#"Bearer realm="http://auth.test:{closed}/token""#);
    let server = Server::start(move |_| respond(401, &[("www-authenticate", &header)], "")).await;
    match pull(&server.anonymous()).await.unwrap_err() {
        UpstreamError::Unreachable { host, .. } => assert_eq!(host, format!("auth.test:{closed}")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refuses_an_answer_that_holds_no_token() {
    for body in ["", "{}", "not json", r#"{"token":"a\nb"}"#] {
        let server = registry(move |_| respond(200, &[], body), |_| false).await;
        let error = pull(&server.anonymous()).await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::Invalid { .. }),
            "{body}: {error:?}"
        );
    }
    let server = registry(|_| respond(200, &[], vec![b' '; (1 << 20) + 1]), |_| false).await;
    let error = pull(&server.anonymous()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TooLarge { .. }), "{error:?}");
}

/// M7: Basic upstreams; credentials go out only after they were asked for, then with every request.
#[tokio::test]
async fn uses_basic_where_it_is_asked_for() {
    let right = basic("right");
    let server = Server::start(move |seen| {
        if seen.authorization() == Some(&right) {
            return manifest();
        }
        respond(
            401,
            &[(
                "www-authenticate",
                r#"Basic realm="r, Bearer realm=http://evil.test/""#,
            )],
            "",
        )
    })
    .await;
    let upstream = server.with_credentials("right");
    pull(&upstream).await.unwrap();
    pull(&upstream).await.unwrap();
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|one| one.authorization().is_some())
        .collect();
    assert_eq!(sent, [false, true, true]);
    upstream.ping().await.unwrap();
}

/// M7: "a Basic upstream answers 401 to /v2/ with them".
#[tokio::test]
async fn tells_refused_basic_credentials_from_a_refused_repository() {
    let right = basic("right");
    let server = Server::start(move |seen| {
        if seen.path == "/v2/" && seen.authorization() == Some(&right) {
            return respond(200, &[], "{}");
        }
        respond(401, &[("www-authenticate", "Basic realm=r")], "")
    })
    .await;
    let error = pull(&server.with_credentials("wrong")).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::CredentialsRefused { status: 401, .. }),
        "{error:?}"
    );
    let error = server.with_credentials("wrong").ping().await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::CredentialsRefused { status: 401, .. }),
        "{error:?}"
    );
    let upstream = server.with_credentials("right");
    for _ in 0..2 {
        let error = pull(&upstream).await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::Refused { status: 401, .. }),
            "{error:?}"
        );
    }
    let error = pull(&server.anonymous()).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 401, .. }),
        "{error:?}"
    );
}

/// M7: offered both, a token is the better way.
#[tokio::test]
async fn prefers_a_token_when_basic_is_offered_too() {
    let server = Server::start(|seen| {
        if seen.path == "/token" {
            return token("t1");
        }
        if seen.authorization() == Some("Bearer t1") {
            return manifest();
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        respond(
            401,
            &[(
                "www-authenticate",
                &format!(r#"Basic realm="x", Bearer realm="{realm}""#),
            )],
            "",
        )
    })
    .await;
    pull(&server.with_credentials("right")).await.unwrap();
    assert_eq!(server.count("/token"), 1);
}

/// M7: a 401 without a challenge that we understand, and a realm that is no URL.
#[tokio::test]
async fn refuses_challenges_that_lead_nowhere() {
    let server = Server::start(|_| respond(401, &[("www-authenticate", "Negotiate")], "")).await;
    let error = pull(&server.with_credentials("x")).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Refused { status: 401, .. }),
        "{error:?}"
    );
    for realm in ["nonsense", "ftp://auth.test/token", "file:///etc/passwd"] {
        let header = format!(r#"Bearer realm="{realm}""#);
        let server = Server::start(move |_| respond(401, &[("www-authenticate", &header)], "")).await;
        let error = pull(&server.with_credentials("x")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Invalid { .. }), "{error:?}");
    }
}

/// DESIGN: the probe of an organization.
#[tokio::test]
async fn pings_without_scope_and_reports_what_it_meets() {
    let server = Server::start(|_| respond(200, &[], "{}")).await;
    server.anonymous().ping().await.unwrap();
    assert_eq!(server.seen()[0].path, "/v2/");
    let server = registry(|_| token("t1"), |_| false).await;
    server.with_credentials("right").ping().await.unwrap();
    let query = server
        .seen()
        .into_iter()
        .find(|one| one.path == "/token")
        .unwrap()
        .query;
    assert!(!query.contains("scope"));
    let server = Server::start(|_| respond(503, &[], "")).await;
    assert!(server.anonymous().ping().await.unwrap_err().is_outage());
}

/// Two upstreams of one client do not share tokens: they may have different credentials.
#[tokio::test]
async fn keeps_tokens_of_different_upstreams_apart() {
    let server = registry(|_| token("t1"), |sent| sent == "Bearer t1").await;
    let client = local_client();
    for _ in 0..2 {
        pull(&client.upstream(plain("registry.test", server.port)).unwrap())
            .await
            .unwrap();
    }
    assert_eq!(server.count("/token"), 2);
}
