//! SPEC M8, A7: TLS, its failures, and what needs it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use quayside_upstream::{BuildError, Spec, Upstream, UpstreamError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::{LOOPBACK, Seen, Server, local_client, manifest, plain, respond, sha256, tag};

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    connections: Arc<AtomicUsize>,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                self.connections.fetch_add(1, Ordering::SeqCst);
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

struct Tls {
    server: Server,
    ca: Arc<str>,
    connections: Arc<AtomicUsize>,
}

impl Tls {
    /// A server with a certificate for `registry.test` from an authority of its own.
    async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["registry.test".to_owned()])
            .unwrap()
            .signed_by(&key, &Issuer::new(params, ca_key))
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let tcp = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TlsListener {
            tcp,
            acceptor,
            connections: Arc::clone(&connections),
        };
        let server = Server::on(listener, port, move |seen| std::future::ready(answer(&seen)));
        Self {
            server,
            ca: ca.into(),
            connections,
        }
    }

    fn spec(&self) -> Spec {
        Spec {
            plain_http: false,
            ca_bundle: Some(Arc::clone(&self.ca)),
            ..plain("registry.test", self.server.port)
        }
    }
}

async fn pull(upstream: &Upstream) -> Result<(), UpstreamError> {
    upstream.get_manifest("a", &tag("t")).await.map(|_| ())
}

fn robot() -> (String, secrecy::SecretString) {
    ("robot".to_owned(), "canary-password".to_owned().into())
}

#[tokio::test]
async fn trusts_the_certificates_of_the_bundle() {
    let tls = Tls::start(|_| manifest()).await;
    pull(&local_client().upstream(tls.spec()).unwrap()).await.unwrap();
}

/// M8: distinguished from unreachable, and an outage all the same.
#[tokio::test]
async fn tells_a_tls_failure_from_an_unreachable_host() {
    let tls = Tls::start(|_| manifest()).await;
    let other = Tls::start(|_| manifest()).await;
    let specs = [
        Spec {
            ca_bundle: None,
            ..tls.spec()
        },
        Spec {
            ca_bundle: Some(Arc::clone(&other.ca)),
            ..tls.spec()
        },
        Spec {
            host: "wrong-name.test".to_owned(),
            ..tls.spec()
        },
    ];
    for spec in specs {
        let error = pull(&local_client().upstream(spec).unwrap()).await.unwrap_err();
        match &error {
            UpstreamError::Tls { reason, .. } => assert!(reason.contains("certificate"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(error.is_outage());
    }
    assert_eq!(tls.server.seen().len(), 0);
}

/// M8: a server without TLS behind an https upstream.
#[tokio::test]
async fn reports_a_server_without_tls_as_a_tls_failure() {
    let server = Server::start(|_| manifest()).await;
    let spec = Spec {
        plain_http: false,
        ..plain("registry.test", server.port)
    };
    let error = pull(&local_client().upstream(spec).unwrap()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn accepts_any_certificate_only_where_that_is_asked_for() {
    let tls = Tls::start(|_| manifest()).await;
    let client = local_client();
    let lax = Spec {
        ca_bundle: None,
        insecure_skip_verify: true,
        ..tls.spec()
    };
    pull(&client.upstream(lax).unwrap()).await.unwrap();
    // The same client, so the same pools: they must not be mixed up.
    let strict = Spec {
        ca_bundle: None,
        ..tls.spec()
    };
    let error = pull(&client.upstream(strict).unwrap()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn shares_connections_between_upstreams_of_the_same_trust() {
    let tls = Tls::start(|_| manifest()).await;
    let client = local_client();
    let (one, two) = (
        client.upstream(tls.spec()).unwrap(),
        client.upstream(tls.spec()).unwrap(),
    );
    pull(&one).await.unwrap();
    pull(&two).await.unwrap();
    assert_eq!(tls.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn refuses_a_bundle_that_holds_no_certificate() {
    for bundle in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydA==\n-----END CERTIFICATE-----\n",
    ] {
        let spec = Spec {
            ca_bundle: Some(bundle.into()),
            ..plain("registry.test", 1)
        };
        let result = local_client().upstream(spec);
        assert!(
            matches!(
                result,
                Err(BuildError::CaBundle { .. } | BuildError::Client { .. })
            ),
            "{bundle:?}: {result:?}"
        );
    }
}

/// A7: "a redirect from https to http is refused", before anything is sent there.
#[tokio::test]
async fn follows_no_redirect_from_https_to_http() {
    let clear = Server::start(|_| respond(200, &[], "bytes")).await;
    let location = clear.url("registry.test", "/blob");
    let tls = Tls::start(move |_| respond(307, &[("location", &location)], "")).await;
    let upstream = local_client().upstream(tls.spec()).unwrap();
    let error = upstream
        .get_blob("a", &sha256(b"x"), 0)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(error, UpstreamError::RedirectRefused { .. }),
        "{error:?}"
    );
    assert_eq!(clear.seen().len(), 0);
}

/// A7: credentials do not go to a realm without TLS; without credentials there is nothing to lose.
#[tokio::test]
async fn sends_no_credentials_to_a_realm_without_tls() {
    let clear = Server::start(|_| respond(200, &[], r#"{"token":"t"}"#)).await;
    let header = format!(r#"Bearer realm="{}""#, clear.url("auth.test", "/token"));
    let tls = Tls::start(move |seen| match seen.authorization() {
        Some("Bearer t") => manifest(),
        _ => respond(401, &[("www-authenticate", &header)], ""),
    })
    .await;
    let client = local_client();
    let upstream = client
        .upstream(Spec {
            credentials: Some(robot()),
            ..tls.spec()
        })
        .unwrap();
    for error in [
        pull(&upstream).await.unwrap_err(),
        upstream.ping().await.unwrap_err(),
    ] {
        assert!(
            matches!(error, UpstreamError::RedirectRefused { .. }),
            "{error:?}"
        );
    }
    assert_eq!(clear.seen().len(), 0);
    pull(&client.upstream(tls.spec()).unwrap()).await.unwrap();
    assert_eq!(clear.seen().len(), 1);
}

/// A7: to a realm with TLS they do.
#[tokio::test]
async fn sends_credentials_to_a_realm_with_tls() {
    let tls = Tls::start(|seen| {
        if seen.path == "/token" {
            let known = seen
                .authorization()
                .is_some_and(|sent| sent.starts_with("Basic "));
            return respond(if known { 200 } else { 401 }, &[], r#"{"token":"t"}"#);
        }
        if seen.authorization() == Some("Bearer t") {
            return manifest();
        }
        let realm = format!("https://{}/token", seen.header("host").unwrap());
        respond(
            401,
            &[("www-authenticate", &format!(r#"Bearer realm="{realm}""#))],
            "",
        )
    })
    .await;
    let upstream = local_client()
        .upstream(Spec {
            credentials: Some(robot()),
            ..tls.spec()
        })
        .unwrap();
    pull(&upstream).await.unwrap();
}
