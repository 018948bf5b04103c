//! SPEC A7, U3: what may be dialled, on the way to every kind of place.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quayside_upstream::{AddressPolicy, Client, Environment, Proxies, Upstream, UpstreamError};

use crate::server::{
    LOOPBACK, Server, environment, loopback_allowed, manifest, plain, respond, settings, sha256, tag,
};

async fn pull(upstream: &Upstream) -> Result<(), UpstreamError> {
    upstream.get_manifest("a", &tag("t")).await.map(|_| ())
}

/// A client that may contact `registry.test` by name and otherwise nothing that is inside.
fn only_the_registry() -> Client {
    let allowed = AddressPolicy::new(&["registry.test".to_owned()], &[]);
    Client::with_environment(settings(allowed), environment())
}

fn assert_forbidden(result: Result<(), UpstreamError>) {
    match result {
        Err(error @ UpstreamError::Forbidden(_)) => assert!(!error.is_outage()),
        other => panic!("{other:?}"),
    }
}

/// A7: as a literal, in every spelling, without a byte sent.
#[tokio::test]
async fn dials_no_inside_literal() {
    let server = Server::start(|_| manifest()).await;
    let client = Client::with_environment(settings(AddressPolicy::default()), environment());
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "::ffff:127.0.0.1",
        "[::ffff:7f00:1]",
        "0.0.0.0",
    ] {
        let upstream = client.upstream(plain(host, server.port)).unwrap();
        assert!(
            matches!(upstream.check_address(), Err(UpstreamError::Forbidden(_))),
            "{host}"
        );
        assert_forbidden(pull(&upstream).await);
        assert_forbidden(upstream.ping().await);
    }
    assert_eq!(server.seen().len(), 0);
}

/// A7: by a name that resolves there; the name itself looks harmless.
#[tokio::test]
async fn dials_no_inside_address_behind_a_name() {
    let server = Server::start(|_| manifest()).await;
    let client = Client::with_environment(settings(AddressPolicy::default()), environment());
    for host in ["registry.test", "registry.test.", "localhost"] {
        let upstream = client.upstream(plain(host, server.port)).unwrap();
        upstream.check_address().unwrap();
        assert_forbidden(pull(&upstream).await);
    }
    let upstream = client.upstream(plain("registry.svc", server.port)).unwrap();
    assert!(upstream.check_address().is_err());
    assert_eq!(server.seen().len(), 0);
}

/// A7: DNS rebinding. The answer counts that is dialled, not the one of an earlier check.
#[tokio::test]
async fn checks_the_answer_of_every_dial() {
    // Without keep-alive every request dials anew.
    let server = Server::start(|_| {
        let mut answer = manifest();
        answer
            .headers_mut()
            .insert("connection", "close".parse().unwrap());
        answer
    })
    .await;
    let turned = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&turned);
    let outside: IpAddr = "127.1.1.1".parse().unwrap();
    let resolve = move |_: &str| {
        Some(vec![if now.load(Ordering::SeqCst) {
            LOOPBACK
        } else {
            outside
        }])
    };
    let environment = Environment {
        resolve: Some(Arc::new(resolve)),
        ..Environment::default()
    };
    let allowed = AddressPolicy::new(&[], &["127.1.0.0/16".parse().unwrap()]);
    let client = Client::with_environment(settings(allowed), environment);
    let upstream = client.upstream(plain("rebinding.example", server.port)).unwrap();
    // Nobody listens there, which is not the same as forbidden.
    let error = pull(&upstream).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
    turned.store(true, Ordering::SeqCst);
    assert_forbidden(pull(&upstream).await);
    assert_eq!(server.seen().len(), 0);
}

/// A7: of several answers the good ones are used.
#[tokio::test]
async fn dials_the_permitted_ones_among_several_answers() {
    let server = Server::start(|_| manifest()).await;
    let answers: Vec<IpAddr> = ["10.9.8.7", "169.254.169.254", "127.0.0.1"]
        .map(|ip| ip.parse().unwrap())
        .into();
    let resolve = move |_: &str| Some(answers.clone());
    let environment = Environment {
        resolve: Some(Arc::new(resolve)),
        ..Environment::default()
    };
    let client = Client::with_environment(settings(loopback_allowed()), environment);
    pull(&client.upstream(plain("registry.test", server.port)).unwrap())
        .await
        .unwrap();
}

/// A7: redirects to the inside, by literal and by name.
#[tokio::test]
async fn follows_no_redirect_to_the_inside() {
    let inside = Server::start(|_| respond(200, &[], "secret")).await;
    let inside_port = inside.port;
    for target in [
        "127.0.0.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "elsewhere.test",
        "metadata.internal",
    ] {
        let location = format!("http://{target}:{inside_port}/latest/meta-data?sig=canary");
        let server = Server::start(move |_| respond(307, &[("location", &location)], "")).await;
        let upstream = only_the_registry()
            .upstream(plain("registry.test", server.port))
            .unwrap();
        let error = upstream
            .get_blob("a", &sha256(b"x"), 0)
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert_forbidden(Err(error));
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(inside.seen().len(), 0);
}

/// A7: realms to the inside.
#[tokio::test]
async fn asks_no_token_service_on_the_inside() {
    let inside = Server::start(|_| respond(200, &[], r#"{"token":"t"}"#)).await;
    for name in ["127.0.0.1", "auth.test"] {
        let header = format!(r#"Bearer realm="{}""#, inside.url(name, "/token"));
        let server = Server::start(move |_| respond(401, &[("www-authenticate", &header)], "")).await;
        let upstream = only_the_registry()
            .upstream(plain("registry.test", server.port))
            .unwrap();
        assert_forbidden(pull(&upstream).await);
        assert_forbidden(upstream.ping().await);
    }
    assert_eq!(inside.seen().len(), 0);
}

/// U3: through a proxy; its own address is exempt, the upstream's name and literal are not.
#[tokio::test]
async fn goes_through_the_proxy_and_still_checks_what_is_asked_for() {
    // A plain HTTP proxy sees the whole URL; this one answers by itself.
    let proxy = Server::start(|_| manifest()).await;
    let proxies = Proxies {
        http: Some(format!("http://user:canary-password@proxy.test:{}", proxy.port).into()),
        none: Some("direct.test".to_owned()),
        ..Proxies::default()
    };
    let environment = Environment {
        proxies,
        ..environment()
    };
    let client = Client::with_environment(settings(AddressPolicy::default()), environment.clone());
    pull(&client.upstream(plain("registry.example", 5000)).unwrap())
        .await
        .unwrap();
    let seen = proxy.seen();
    assert_eq!(seen[0].header("host"), Some("registry.example:5000"));
    assert!(seen[0].header("proxy-authorization").is_some());
    for host in [
        "127.0.0.1",
        "169.254.169.254",
        "2130706433",
        "metadata.internal",
        "proxy.test",
    ] {
        assert_forbidden(pull(&client.upstream(plain(host, proxy.port)).unwrap()).await);
    }
    // NO_PROXY: dialled directly, so its address is looked at.
    assert_forbidden(pull(&client.upstream(plain("direct.test", proxy.port)).unwrap()).await);
    assert_eq!(proxy.seen().len(), 1);
    assert!(!format!("{client:?} {environment:?}").contains("canary"));
}

/// A6, U3
#[tokio::test]
async fn refuses_a_malformed_proxy_without_repeating_it() {
    let proxies = Proxies {
        https: Some("http://:canary@".into()),
        ..Proxies::default()
    };
    let client = Client::with_environment(
        settings(loopback_allowed()),
        Environment {
            proxies,
            ..Environment::default()
        },
    );
    let error = client.upstream(plain("registry.test", 1)).unwrap_err();
    assert_eq!(error.to_string(), "read the proxy address in HTTPS_PROXY");
    assert!(!format!("{error:?}").contains("canary"));
}

/// A host that would become something else within a URL.
#[test]
fn makes_no_upstream_of_a_host_that_is_none() {
    let client = Client::with_environment(settings(loopback_allowed()), Environment::default());
    for host in [
        "",
        "a/b",
        "user@host",
        "a?b",
        "a#b",
        "a b",
        "[::1",
        "fe80::1%eth0",
        "a\\b",
        "a:1",
    ] {
        let mut spec = plain(host, 443);
        assert!(client.upstream(spec.clone()).is_err(), "{host:?}");
        spec.port = None;
        assert!(host == "a:1" || client.upstream(spec).is_err(), "{host:?}");
    }
}
