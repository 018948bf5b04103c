//! SPEC C6: TLS on the public port.

use std::sync::Arc;
use std::time::Duration;

use quayside_tests::certificates::{Authority, Files};
use quayside_tests::eventually::{eventually, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Scene {
    upstream: FakeUpstream,
    image: Image,
    house: House,
    files: Files,
    authority: Authority,
}

/// `alpine:1` behind a registry that speaks TLS with a certificate of `authority`.
async fn secured() -> Scene {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[200_000]);
    upstream.push("alpine", "1", &image);
    let (authority, files) = (Authority::new("first"), Files::new());
    files.write(&authority);
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .config(
            "/tls",
            json!({ "certificateFile": files.certificate(), "keyFile": files.key() }),
        )
        .start()
        .await;
    Scene {
        upstream,
        image,
        house,
        files,
        authority,
    }
}

impl Scene {
    async fn get(&self, trusted: &Authority, path: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("https://{}{path}", self.house.authority());
        soon(
            "the registry answers or refuses",
            trusted.client().get(url).send(),
        )
        .await
    }

    async fn trusts(&self, trusted: &Authority) -> bool {
        self.get(trusted, "/v2/acme/alpine/manifests/1").await.is_ok()
    }

    async fn connect(&self, protocols: &[&str]) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        let mut config = self.authority.client_config();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = self.house.connect().await;
        soon(
            "the handshake ends",
            TlsConnector::from(Arc::new(config)).connect(name, stream),
        )
        .await
    }
}

/// C6: a client that trusts the certificate's authority pulls; plain HTTP is not understood, the admin port is.
#[tokio::test]
async fn pulls_over_tls() {
    let scene = secured().await;
    let answer = scene
        .get(&scene.authority, "/v2/acme/alpine/manifests/1")
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.version(), http::Version::HTTP_11);
    assert!(answer.bytes().await.unwrap() == scene.image.body());
    let layer = &scene.image.layers[0];
    let path = format!("/v2/acme/alpine/blobs/{}", layer.digest);
    let answer = scene.get(&scene.authority, &path).await.unwrap();
    assert!(answer.bytes().await.unwrap() == layer.bytes);
    assert!(!scene.trusts(&Authority::new("stranger")).await);
    let plain = scene.house.raw(b"GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(plain.status, 0, "{plain:?}");
    assert_eq!(scene.house.admin("/readyz").await.status, 200);
}

/// C6: HTTP/1.1 only, whatever else the client offers.
#[tokio::test]
async fn speaks_http_1_1_only() {
    let scene = secured().await;
    let stream = scene.connect(&["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(scene.connect(&["h2"]).await.is_err());
    let mut stream = scene.connect(&[]).await.unwrap();
    stream
        .write_all(b"GET /v2/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    soon("the answer ends", stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 401 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

/// C6: a renewed certificate is presented within a minute, without a restart and without a cut transfer; a pair that
/// does not fit together is not taken.
#[tokio::test]
async fn a_renewed_certificate_is_picked_up_while_transfers_go_on() {
    let scene = secured().await;
    let (first, second) = (&scene.authority, Authority::new("second"));
    assert!(scene.trusts(first).await && !scene.trusts(&second).await);
    let gate = Gate::closed();
    scene
        .upstream
        .script(On::blob(), Fault::HoldAfter(1000, gate.clone()));
    let path = format!("/v2/acme/alpine/blobs/{}", scene.image.layers[0].digest);
    let transfer = async { scene.get(first, &path).await.unwrap().bytes().await };
    let renewal = async {
        gate.reached().await;
        scene.files.write_certificate(&second);
        scene.house.advance(Duration::from_mins(1));
        assert!(scene.trusts(first).await, "half a renewal changes nothing");
        scene.files.write(&second);
        scene.house.advance(Duration::from_mins(1));
        eventually("the new certificate is presented", || scene.trusts(&second)).await;
        assert!(!scene.trusts(first).await);
        gate.open();
    };
    let (transfer, ()) = tokio::join!(transfer, renewal);
    assert!(transfer.unwrap() == scene.image.layers[0].bytes);
}

/// C6, O4: who does not finish the handshake is cut off after 10 s.
#[tokio::test]
async fn an_unfinished_handshake_is_cut_off() {
    let scene = secured().await;
    let mut stream = scene.house.connect().await;
    // The beginning of a record whose rest never comes.
    stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
    let mut received = Vec::new();
    let ended = soon("the registry closes", stream.read_to_end(&mut received)).await;
    assert!(ended.is_err() || received.is_empty());
}
