//! SPEC §7 A7 and §2 M7: logging in to upstreams, redirects, and addresses that are never dialled.

use http::Method;
use quayside_tests::fake::{FakeUpstream, Fault, Kind, Login, On, TokenService, UnknownNames};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;
use serde_json::json;

use crate::blobs::pulled;

const USER: &str = "robot";
const PASSWORD: &str = "canary-upstream-5ca1ab1e";

fn service() -> TokenService {
    TokenService {
        credentials: Some((USER.to_owned(), PASSWORD.to_owned())),
        expires_in: Some(300),
        ..TokenService::default()
    }
}

async fn logged_in(login: Login) -> (FakeUpstream, House, Image) {
    let upstream = FakeUpstream::with_login(login).await;
    let image = Image::random(1, &[1000]);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream).credentials(USER, PASSWORD)).await;
    (upstream, house, image)
}

async fn pull(house: &House, image: &Image) {
    house.manifest("alpine", "1").await.assert_body(image.body());
    house
        .blob("alpine", &image.layers[0].digest)
        .await
        .assert_body(&image.layers[0].bytes);
}

/// A7: Basic upstreams, token services with and without credentials, and answers without `expires_in`.
#[tokio::test]
async fn logs_in_the_way_upstream_wants() {
    let basic = Login::Basic {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let logins = [
        basic,
        Login::Bearer(service()),
        Login::Bearer(TokenService {
            expires_in: None,
            ..service()
        }),
        Login::Bearer(TokenService::default()),
    ];
    for login in logins {
        let (upstream, house, image) = logged_in(login.clone()).await;
        pull(&house, &image).await;
        house.manifest("alpine", "1").await.assert_cache("REVALIDATED");
        let scoped =
            upstream.count_where(|request| request.kind == Kind::Token && !request.repository.is_empty());
        assert!(scoped <= 1, "a token is used until it expires: {login:?}");
    }
}

/// M7: a token that upstream no longer takes is replaced once, unnoticed.
#[tokio::test]
async fn replaces_an_expired_token() {
    let (upstream, house, image) = logged_in(Login::Bearer(service())).await;
    pull(&house, &image).await;
    upstream.expire_tokens();
    house.manifest("alpine", "1").await.assert_cache("REVALIDATED");
    let other = Image::random(2, &[10]);
    upstream.push("alpine", "2", &other);
    upstream.expire_tokens();
    house.manifest("alpine", "2").await.assert_body(other.body());
}

/// M7: credentials that upstream refuses are a 403 that names it, and a live tag is not served.
#[tokio::test]
async fn refused_credentials_are_denied() {
    for login in [
        Login::Bearer(service()),
        Login::Basic {
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
        },
    ] {
        let upstream = FakeUpstream::with_login(login).await;
        upstream.push("alpine", "1", &Image::random(1, &[10]));
        let house = House::with(Organization::of(&upstream).credentials(USER, "canary-wrong-0ddba11")).await;
        let answer = house.manifest("alpine", "1").await;
        answer.assert_error(403, "DENIED");
        assert!(answer.message().contains(&upstream.authority()), "{answer:?}");
        assert_eq!(house.rows().await, 0);
    }
}

/// M7: ghcr.io's token service answers 403 for names that do not exist.
#[tokio::test]
async fn a_token_service_that_refuses_unknown_names_is_denied() {
    let login = Login::Bearer(TokenService {
        unknown_names: UnknownNames::Forbidden,
        ..service()
    });
    let (_upstream, house, image) = logged_in(login).await;
    let answer = house.manifest("nowhere", "1").await;
    answer.assert_error(403, "DENIED");
    assert!(answer.message().contains("not exist"), "{answer:?}");
    pull(&house, &image).await;
}

/// M8: a token service that fails is an upstream that fails.
#[tokio::test]
async fn a_failing_token_service_is_told_as_what_it_is() {
    let cases = [
        (Fault::status(500), 502, "UNAVAILABLE"),
        (Fault::Hangup, 502, "UNAVAILABLE"),
        (Fault::too_many(Some(7)), 429, "TOOMANYREQUESTS"),
    ];
    for (fault, status, code) in cases {
        let (upstream, house, image) = logged_in(Login::Bearer(service())).await;
        upstream.script(On::token(), fault);
        house.manifest("alpine", "1").await.assert_error(status, code);
        upstream.heal();
        pull(&house, &image).await;
    }
}

/// A7: neither credentials nor tokens go to where a blob is redirected to.
#[tokio::test]
async fn sends_nothing_secret_to_a_redirect_target() {
    for login in [
        Login::Bearer(service()),
        Login::Basic {
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
        },
    ] {
        let storage = FakeUpstream::start().await;
        let (upstream, house, image) = logged_in(login).await;
        let layer = &image.layers[0];
        storage.add_file("/bucket/data", layer.bytes.clone());
        upstream.script(
            On::blob(),
            Fault::Redirect(format!("{}/bucket/data?signature=x", storage.origin())),
        );
        house.manifest("alpine", "1").await;
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        let requests = storage.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(
            (requests[0].header("authorization"), requests[0].header("cookie")),
            ("", "")
        );
        assert_eq!(requests[0].query, "signature=x");
    }
}

/// A7: a manifest may be redirected too, on the same terms.
#[tokio::test]
async fn follows_a_redirected_manifest_without_secrets() {
    let storage = FakeUpstream::start().await;
    let (upstream, house, image) = logged_in(Login::Bearer(service())).await;
    storage.add_file("/manifest", image.body().clone());
    upstream.script(
        On::manifest(),
        Fault::Redirect(format!("{}/manifest", storage.origin())),
    );
    house.manifest("alpine", "1").await.assert_body(image.body());
    assert!(
        storage
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_empty())
    );
}

/// A7: a redirect to an address that is not allowed, to nowhere, or round in circles, is an upstream that fails.
#[tokio::test]
async fn refuses_redirects_to_forbidden_places() {
    let targets = [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/x",
        "http://[::1]:9/x",
        "http://metadata.google.internal/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "::not a url::",
        "",
    ];
    for target in targets {
        let (upstream, house, layer) = pulled(1000).await;
        upstream.script(On::blob(), Fault::Redirect(target.to_owned()));
        let answer = house
            .while_time_passes(
                std::time::Duration::from_secs(1),
                house.blob("alpine", &layer.digest),
            )
            .await;
        answer.assert_error(502, "UNAVAILABLE");
        upstream.heal();
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
    }
    let (upstream, house, layer) = pulled(1000).await;
    let itself = format!("{}/v2/alpine/blobs/{}", upstream.origin(), layer.digest);
    upstream.script(On::blob(), Fault::Redirect(itself));
    let answer = house
        .while_time_passes(
            std::time::Duration::from_secs(1),
            house.blob("alpine", &layer.digest),
        )
        .await;
    answer.assert_error(502, "UNAVAILABLE");
}

/// A7: from https to http is refused.
#[tokio::test]
async fn refuses_a_redirect_from_https_to_http() {
    let storage = FakeUpstream::start().await;
    let upstream = FakeUpstream::with_tls(Login::Open, &[]).await;
    let image = Image::random(1, &[100]);
    upstream.push("alpine", "1", &image);
    let layer = &image.layers[0];
    storage.add_file("/data", layer.bytes.clone());
    upstream.script(On::blob(), Fault::Redirect(format!("{}/data", storage.origin())));
    let house = House::builder()
        .organization(Organization::of(&upstream).ca_bundle(upstream.ca_bundle()))
        .bundle(upstream.ca_bundle())
        .start()
        .await;
    house.manifest("alpine", "1").await.assert_body(image.body());
    let answer = house
        .while_time_passes(
            std::time::Duration::from_secs(1),
            house.blob("alpine", &layer.digest),
        )
        .await;
    answer.assert_error(502, "UNAVAILABLE");
    assert!(storage.requests().is_empty());
}

/// A7: over TLS, credentials go to a realm over TLS only.
#[tokio::test]
async fn sends_no_credentials_to_a_realm_without_tls() {
    let realm = FakeUpstream::with_login(Login::Bearer(TokenService::default())).await;
    let login = Login::Bearer(TokenService {
        realm: Some(realm.origin()),
        ..service()
    });
    let upstream = FakeUpstream::with_tls(login, &[]).await;
    upstream.push("alpine", "1", &Image::random(1, &[100]));
    let house = House::builder()
        .organization(
            Organization::of(&upstream)
                .ca_bundle(upstream.ca_bundle())
                .credentials(USER, PASSWORD),
        )
        .bundle(upstream.ca_bundle())
        .start()
        .await;
    let answer = house.manifest("alpine", "1").await;
    assert!(answer.status >= 400, "{answer:?}");
    assert!(
        realm
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_empty())
    );
}

/// A7: forbidden addresses fail their own organization with the reason, by literal and by name, and are never dialled.
#[tokio::test]
async fn never_dials_a_forbidden_address() {
    let upstream = FakeUpstream::start().await;
    upstream.push("alpine", "1", &Image::random(1, &[100]));
    let allowed = FakeUpstream::start().await;
    let image = Image::random(2, &[100]);
    allowed.push("alpine", "1", &image);
    let port = upstream.port();
    let forbidden = [
        format!("127.0.0.2:{port}"),
        "10.1.2.3:5000".to_owned(),
        "172.16.0.1".to_owned(),
        "192.168.1.1".to_owned(),
        "169.254.169.254".to_owned(),
        "100.64.1.1".to_owned(),
        format!("0.0.0.0:{port}"),
        "224.0.0.1".to_owned(),
        "registry.internal".to_owned(),
        "registry.local:5000".to_owned(),
        "registry.default.svc:5000".to_owned(),
        "registry.default.svc.cluster.local:5000".to_owned(),
    ];
    let mut builder = House::builder()
        .config("/upstream/allowedHosts", json!(["127.0.0.1"]))
        .organization(Organization::of(&allowed).named("good"));
    for (position, remote) in (0..).zip(&forbidden) {
        builder = builder.organization(Organization::at(remote).named(&format!("bad{position}")));
    }
    let house = builder.start().await;
    for (position, remote) in (0..).zip(&forbidden) {
        let answer = house.get(&format!("/v2/bad{position}/alpine/manifests/1")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "UNAVAILABLE"),
            "{remote}: {answer:?}"
        );
        let host = remote.split(':').next().unwrap();
        assert!(answer.message().contains(host), "{remote}: {answer:?}");
    }
    house
        .get("/v2/good/alpine/manifests/1")
        .await
        .assert_body(image.body());
    assert_eq!(upstream.connections(), 0);
}

/// A7: other spellings of a forbidden address, which URL libraries understand, are no way in.
#[tokio::test]
async fn never_dials_a_forbidden_address_by_another_spelling() {
    let upstream = FakeUpstream::start().await;
    upstream.push("alpine", "1", &Image::random(1, &[100]));
    let port = upstream.port();
    let spellings = [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "LOCALHOST",
    ];
    let mut builder = House::builder().config("/upstream/allowedHosts", json!([]));
    for (position, spelling) in spellings.iter().enumerate() {
        let remote = format!("{spelling}:{port}");
        builder = builder.organization(Organization::at(&remote).named(&format!("bad{position}")));
    }
    let house = builder.start().await;
    for (position, spelling) in spellings.iter().enumerate() {
        // Either the entry is refused or the address is; both fail.
        let answer = house.get(&format!("/v2/bad{position}/alpine/manifests/1")).await;
        assert!([401, 502].contains(&answer.status), "{spelling}: {answer:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

/// A7: a name is judged by every address that it resolves to; an allow-listed network covers such names.
#[tokio::test]
async fn a_network_on_the_list_covers_names_that_resolve_into_it() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[100]);
    upstream.push("alpine", "1", &image);
    let remote = format!("localhost:{}", upstream.port());
    for (list, allowed) in [
        (json!(["127.0.0.0/8", "::1/128"]), true),
        (json!(["localhost"]), true),
        (json!(["10.0.0.0/8"]), false),
    ] {
        let house = House::builder()
            .config("/upstream/allowedHosts", list.clone())
            .organization(Organization::at(&remote))
            .start()
            .await;
        let answer = house.manifest("alpine", "1").await;
        if allowed {
            answer.assert_body(image.body());
        } else {
            answer.assert_error(502, "UNAVAILABLE");
        }
    }
}

/// A6: what goes wrong with credentials is told without them, and nothing of the client's goes upstream.
#[tokio::test]
async fn the_clients_own_headers_never_go_upstream() {
    let (upstream, house, image) = logged_in(Login::Open).await;
    let call = house
        .call(Method::GET, "/v2/acme/alpine/manifests/1")
        .user("alice");
    let answer = call
        .header("cookie", "session=1")
        .header("x-forwarded-for", "203.0.113.1")
        .send()
        .await;
    answer.assert_body(image.body());
    for request in upstream.requests() {
        assert_eq!(
            (request.header("cookie"), request.header("x-forwarded-for")),
            ("", "")
        );
        assert!(
            !request.header("authorization").contains("YWxpY2U"),
            "alice's password went upstream"
        );
    }
}
