//! Who may read from the peer port.

use std::net::SocketAddr;

use http::Method;
use quayside_test_servers::ports;
use quayside_tests::eventually::soon;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{Organization, Pair, Which};
use quayside_tests::images::Image;
use serde_json::json;

use super::{HALF, LENGTH};

/// A1: the peer port tells who comes without a token of ours nothing, and others only of the blob that it is for.
#[tokio::test]
async fn the_peer_port_wants_a_signed_request() {
    let key = "5c".repeat(32);
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("key");
    std::fs::write(&path, &key).unwrap();
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[LENGTH]);
    upstream.push("app", "1", &image);
    let port = ports::free();
    let pair = Pair::start(|builder, which| {
        let builder = builder
            .organization(Organization::of(&upstream))
            .config("/auth/signingKeyFile", json!(path));
        match which {
            Which::First => builder.config("/peer/listen", json!(port)),
            Which::Second => builder,
        }
    })
    .await;
    let digest = &image.layers[0].digest;
    let gate = Gate::closed();
    upstream.script(On::blob().at(digest).once(), Fault::HoldAfter(HALF, gate.clone()));
    pair.first.manifest("app", "1").await.assert_body(image.body());
    let client = pair
        .first
        .call(Method::GET, &format!("/v2/acme/app/blobs/{digest}"))
        .open()
        .await;
    gate.reached().await;
    let token = pair.first.text("SELECT token FROM fill").await;
    let ask = Asking {
        port,
        token,
        key,
        now: pair.first.now(),
    };
    let user = pair.first.get("/v2/auth?service=registry.test").await.json()["token"].clone();
    let ours = ask.token(digest, 59);
    for (credentials, status) in [
        (None, 401),
        (Some("nonsense"), 401),
        (user.as_str(), 401),
        (Some(ask.token(digest, -1).as_str()), 401),
        (Some(ask.token(&image.config.digest, 59).as_str()), 404),
        (Some(ours.as_str()), 200),
    ] {
        let answer = ask.send(Method::GET, &ask.path(), credentials).await;
        assert_eq!(answer.status(), status, "{credentials:?}");
    }
    let unknown = format!("/peer/fills/{}?from=0", "0".repeat(32));
    let other = [
        (Method::GET, unknown, 404),
        (Method::GET, "/v2/".to_owned(), 404),
        (Method::POST, ask.path(), 405),
    ];
    for (method, path, status) in other {
        assert_eq!(
            ask.send(method, &path, Some(&ours)).await.status(),
            status,
            "{path}"
        );
    }
    gate.open();
    assert_eq!(client.bytes().await.unwrap(), image.layers[0].bytes);
}

/// Somebody who knows the address of a peer port and a fill's token.
struct Asking {
    port: SocketAddr,
    token: String,
    key: String,
    /// Milliseconds since the epoch.
    now: i64,
}

impl Asking {
    fn path(&self) -> String {
        format!("/peer/fills/{}?from=0", self.token)
    }

    /// A request's token for a blob, as a replica makes it, that expires in so many seconds.
    fn token(&self, digest: &str, seconds: i64) -> String {
        let bytes = (0..self.key.len()).step_by(2);
        let key: Vec<u8> = bytes
            .map(|index| u8::from_str_radix(&self.key[index..index + 2], 16).unwrap())
            .collect();
        let claims = json!({
            "iss": "quayside", "aud": "peer", "sub": digest, "exp": self.now / 1_000 + seconds,
        });
        let key = jsonwebtoken::EncodingKey::from_secret(&key);
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    }

    async fn send(&self, method: Method, path: &str, credentials: Option<&str>) -> reqwest::Response {
        let url = format!("http://{}{path}", self.port);
        let mut request = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .request(method, url);
        if let Some(credentials) = credentials {
            request = request.bearer_auth(credentials);
        }
        soon("the peer port answers", request.send()).await.unwrap()
    }
}
