//! SPEC §7: who may pull what, and how they say who they are.

use http::Method;
use quayside_tests::house::{Answer, House, Organization, START};
use serde_json::json;

use crate::scene::scene;

const PATH: &str = "/v2/acme/alpine/manifests/1";

async fn token(house: &House, query: &str, user: Option<&str>) -> Answer {
    let call = house.call(Method::GET, &format!("/v2/auth{query}"));
    match user {
        Some(user) => call.user(user).send().await,
        None => call.send().await,
    }
}

/// A1: `/v2/` asks for a token and says where to get one.
#[tokio::test]
async fn the_base_asks_for_a_token() {
    let scene = scene(Organization::private).await;
    let answer = scene.house.get("/v2/").await;
    answer.assert_error(401, "UNAUTHORIZED");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"http://registry.test/v2/auth\",service=\"registry.test\""
    );
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
}

/// A1, A4: a refused pull names the scope to ask for.
#[tokio::test]
async fn a_refused_pull_names_its_scope() {
    let scene = scene(Organization::private).await;
    let answer = scene.house.get(PATH).await;
    answer.assert_error(401, "UNAUTHORIZED");
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer realm=\"http://registry.test/v2/auth\""),
        "{challenge}"
    );
    assert!(
        challenge.contains("scope=\"repository:acme/alpine:pull\""),
        "{challenge}"
    );
}

/// A1: without credentials the token endpoint gives an anonymous token, which `/v2/` accepts and A4 does not.
#[tokio::test]
async fn an_anonymous_token_opens_the_base_and_nothing_private() {
    let scene = scene(Organization::private).await;
    for query in [
        "",
        "?service=registry.test",
        "?service=registry.test&scope=repository:acme/alpine:pull",
    ] {
        let answer = token(&scene.house, query, None).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let document = answer.json();
        assert_eq!(document["token"], document["access_token"]);
        assert_eq!(document["expires_in"], 300);
        let bearer = document["token"].as_str().unwrap();
        assert_eq!(
            scene
                .house
                .call(Method::GET, "/v2/")
                .bearer(bearer)
                .send()
                .await
                .status,
            200
        );
        let pull = scene.house.call(Method::GET, PATH).bearer(bearer).send().await;
        pull.assert_error(401, "UNAUTHORIZED");
    }
    assert_eq!(scene.contacts(), 0);
}

/// A1: a token that nobody signed, or that somebody altered, is 401.
#[tokio::test]
async fn a_forged_token_is_refused() {
    let scene = scene(Organization::private).await;
    let good = token(&scene.house, "", None).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let header = rest.split('.').next().unwrap();
    let forged = [
        "nonsense".to_owned(),
        format!("{rest}."),
        format!("{rest}.{}", signature.chars().rev().collect::<String>()),
        format!("{header}.eyJzdWIiOiJhbGljZSJ9.{signature}"),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.".to_owned(),
    ];
    for bearer in forged {
        let answer = scene.house.call(Method::GET, "/v2/").bearer(&bearer).send().await;
        answer.assert_error(401, "UNAUTHORIZED");
    }
}

/// A1: Basic works on every path; a wrong password is 401 everywhere.
#[tokio::test]
async fn basic_credentials_work_everywhere() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    for path in ["/v2/", PATH, "/v2/auth"] {
        let right = scene.house.call(Method::GET, path).user("alice").send().await;
        assert_eq!(right.status, 200, "{path}: {right:?}");
        for (user, password) in [("alice", "wrong"), ("alice", ""), ("nobody", "wrong")] {
            let wrong = scene
                .house
                .call(Method::GET, path)
                .basic(user, password)
                .send()
                .await;
            assert_eq!(wrong.status, 401, "{path} {user}: {wrong:?}");
        }
    }
}

/// A1: methods that the token endpoint does not know are 405.
#[tokio::test]
async fn the_token_endpoint_refuses_other_methods() {
    let scene = scene(Organization::private).await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(scene.house.call(method, "/v2/auth").send().await.status, 405);
    }
}

/// A3: any role in any team may pull, first pull included; nobody else.
#[tokio::test]
async fn any_role_may_pull() {
    for role in ["member", "creator", "admin"] {
        let teams = json!([
            { "name": "others", "role": "admin", "members": [{ "kind": "User", "name": "carol" }] },
            { "name": "team", "role": role, "members": [{ "kind": "User", "name": "alice" }] },
        ]);
        let scene = scene(|acme| acme.private().set("teams", teams)).await;
        scene
            .house
            .call(Method::GET, PATH)
            .user("bob")
            .send()
            .await
            .assert_error(403, "DENIED");
        assert_eq!(scene.contacts(), 0);
        scene
            .house
            .call(Method::GET, PATH)
            .user("alice")
            .send()
            .await
            .assert_body(scene.image.body());
        scene
            .house
            .call(Method::GET, PATH)
            .user("carol")
            .send()
            .await
            .assert_body(scene.image.body());
    }
}

/// A1, A3: a reload takes a right away at once.
#[tokio::test]
async fn a_removed_member_is_refused_from_the_reload_on() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    scene
        .house
        .call(Method::GET, PATH)
        .user("alice")
        .send()
        .await
        .assert_body(scene.image.body());
    scene
        .house
        .reload(&[Organization::of(&scene.upstream).private().member("bob")])
        .await;
    scene
        .house
        .call(Method::GET, PATH)
        .user("alice")
        .send()
        .await
        .assert_error(403, "DENIED");
    scene
        .house
        .call(Method::GET, PATH)
        .user("bob")
        .send()
        .await
        .assert_body(scene.image.body());
}

/// A5: whatever would write is 405, before anybody is asked who they are.
#[tokio::test]
async fn is_read_only() {
    let scene = scene(Organization::private).await;
    let digest = &scene.image.layers[0].digest;
    let writes = [
        (Method::PUT, "/v2/acme/alpine/manifests/1".to_owned()),
        (Method::DELETE, "/v2/acme/alpine/manifests/1".to_owned()),
        (Method::POST, "/v2/acme/alpine/blobs/uploads/".to_owned()),
        (
            Method::POST,
            format!("/v2/acme/alpine/blobs/uploads/?mount={digest}&from=acme/other"),
        ),
        (Method::PATCH, "/v2/acme/alpine/blobs/uploads/some-id".to_owned()),
        (
            Method::PUT,
            format!("/v2/acme/alpine/blobs/uploads/some-id?digest={digest}"),
        ),
        (Method::DELETE, format!("/v2/acme/alpine/blobs/{digest}")),
        (Method::PUT, "/v2/nobody/alpine/manifests/1".to_owned()),
    ];
    for (method, path) in writes {
        let answer = scene.house.call(method.clone(), &path).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (405, "UNSUPPORTED"),
            "{method} {path}: {answer:?}"
        );
    }
    assert_eq!(scene.contacts(), 0);
    assert_eq!(scene.house.rows().await, 0);
}

async fn behind(networks: &[&str], proxies: &[&str]) -> House {
    let upstream = quayside_tests::fake::FakeUpstream::start().await;
    let acme = Organization::of(&upstream);
    // Nothing is upstream: a request that is let in is answered 404, one that is not 401.
    House::builder()
        .organization(acme)
        .config("/trustedNetworks", json!(networks))
        .config("/trustedProxies", json!(proxies))
        .start()
        .await
}

/// A8, A2: an internal organization lets in the trusted networks, by the address of the client and no other.
#[tokio::test]
async fn internal_organizations_let_in_trusted_networks() {
    let cases: [(&[&str], &[&str], &str, bool); 9] = [
        (&["127.0.0.0/8"], &[], "", true),
        (&[], &[], "", false),
        (&["10.0.0.0/8"], &[], "", false),
        (&["10.0.0.0/8"], &[], "10.1.2.3", false),
        (&["10.0.0.0/8"], &["127.0.0.0/8"], "10.1.2.3", true),
        (&["10.0.0.0/8"], &["127.0.0.0/8"], "203.0.113.9", false),
        (&["10.0.0.0/8"], &["127.0.0.0/8"], "10.1.2.3, 203.0.113.9", false),
        (
            &["10.0.0.0/8"],
            &["127.0.0.0/8", "192.0.2.0/24"],
            "203.0.113.9, 10.1.2.3, 192.0.2.7",
            true,
        ),
        (&["127.0.0.0/8"], &["127.0.0.0/8"], "203.0.113.9", false),
    ];
    for (networks, proxies, forwarded, allowed) in cases {
        let house = behind(networks, proxies).await;
        let mut call = house.call(Method::GET, PATH);
        if !forwarded.is_empty() {
            call = call.header("x-forwarded-for", forwarded);
        }
        let status = call.send().await.status;
        assert_eq!(
            status != 401,
            allowed,
            "{networks:?} {proxies:?} {forwarded}: {status}"
        );
    }
}

/// A8: a client of a trusted network that asks for a token first gets an anonymous one that works.
#[tokio::test]
async fn an_anonymous_token_works_in_a_trusted_network() {
    let scene = scene(|acme| acme).await;
    let answer = token(
        &scene.house,
        "?service=registry.test&scope=repository:acme/alpine:pull",
        None,
    )
    .await;
    let bearer = answer.json()["token"].as_str().unwrap().to_owned();
    scene
        .house
        .call(Method::GET, PATH)
        .bearer(&bearer)
        .send()
        .await
        .assert_body(scene.image.body());
}

/// A4, A8: wrong credentials are 401 also where none would have been needed.
#[tokio::test]
async fn wrong_credentials_are_refused_where_none_are_needed() {
    let scene = scene(|acme| acme).await;
    let call = scene.house.call(Method::GET, PATH).basic("alice", "wrong");
    call.send().await.assert_error(401, "UNAUTHORIZED");
}

/// A3: a public organization needs no token for what is cached, and a public pull renews nothing.
#[tokio::test]
async fn a_public_pull_needs_no_token_and_renews_nothing() {
    let mut scene = scene(|acme| acme.public().member("alice").ttl(60)).await;
    scene
        .house
        .call(Method::GET, PATH)
        .user("alice")
        .send()
        .await
        .assert_body(scene.image.body());
    let before = scene.contacts();
    scene.house.advance_seconds(30);
    scene.house.get(PATH).await.assert_body(scene.image.body());
    scene.house.advance_seconds(29);
    scene.house.get(PATH).await.assert_body(scene.image.body());
    assert_eq!(scene.contacts(), before);
    scene.house.advance_seconds(2);
    scene.house.get(PATH).await.assert_error(401, "UNAUTHORIZED");
    assert_eq!(scene.final_end().await, START + 60_000);
}

/// E2, A3: tag lists are for those who may pull.
#[tokio::test]
async fn a_tag_list_is_for_those_who_may_pull() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    scene
        .house
        .call(Method::GET, PATH)
        .user("alice")
        .send()
        .await
        .assert_body(scene.image.body());
    let list = "/v2/acme/alpine/tags/list";
    scene.house.get(list).await.assert_error(401, "UNAUTHORIZED");
    scene
        .house
        .call(Method::GET, list)
        .user("bob")
        .send()
        .await
        .assert_error(403, "DENIED");
    let answer = scene.house.call(Method::GET, list).user("alice").send().await;
    assert_eq!(answer.json(), json!({ "name": "acme/alpine", "tags": ["1"] }));
}
