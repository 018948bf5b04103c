//! SPEC A1, A2: getting tokens, losing rights, and failing to log in.

use http::Method;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Answer, Call, House, Organization, USERS};
use quayside_tests::images::Image;
use serde_json::json;

use crate::scene::{Scene, scene};

const PATH: &str = "/v2/acme/alpine/manifests/1";
const SCOPE: &str = "repository:acme/alpine:pull";
const ROBOT_PASSWORD: &str = "canary-robot-0cc175b9c0f1b6a831c399e269772661";

fn password_of(user: &str) -> &'static str {
    USERS.iter().find(|(name, _, _)| *name == user).unwrap().1
}

async fn ask_for_token(house: &House, user: &str, scope: &str) -> Answer {
    let path = format!("/v2/auth?service=registry.test&account={user}&scope={scope}");
    house.call(Method::GET, &path).user(user).send().await
}

async fn token(house: &House, user: &str, scope: &str) -> String {
    bearer(&ask_for_token(house, user, scope).await)
}

fn bearer(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.summary());
    answer.json()["token"].as_str().unwrap().to_owned()
}

async fn pull_with(house: &House, path: &str, token: &str) -> Answer {
    house.call(Method::GET, path).bearer(token).send().await
}

#[track_caller]
fn assert_narrow(answer: &Answer, scope: &str) {
    answer.assert_error(401, "UNAUTHORIZED");
    let challenge = answer.header("www-authenticate");
    let expected = format!("scope=\"{scope}\",error=\"insufficient_scope\"");
    assert!(challenge.ends_with(&expected), "{challenge}");
}

/// A1: a second image in one session, with the token for the first: 401 that names the right scope, then it works.
#[tokio::test]
async fn a_second_image_gets_a_new_token_and_not_a_refusal() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    let other = Image::random(2, &[100]);
    scene.upstream.push("other", "1", &other);
    let first = token(&scene.house, "alice", SCOPE).await;
    let answer = pull_with(&scene.house, PATH, &first).await;
    answer.assert_body(scene.image.body());
    let path = "/v2/acme/other/manifests/1";
    let before = scene.contacts();
    assert_narrow(
        &pull_with(&scene.house, path, &first).await,
        "repository:acme/other:pull",
    );
    assert_eq!(scene.contacts(), before);
    let second = token(&scene.house, "alice", "repository:acme/other:pull").await;
    pull_with(&scene.house, path, &second)
        .await
        .assert_body(other.body());
    // Several scopes fit into one token, in one parameter or in several.
    for scopes in [
        format!("{SCOPE}%20repository:acme/other:pull"),
        format!("{SCOPE}&scope=repository:acme/other:pull,push"),
        format!("repository:acme/other:pull&scope=repository:acme/alpine:push&scope={SCOPE}"),
    ] {
        let both = token(&scene.house, "alice", &scopes).await;
        for path in [path, PATH] {
            assert_eq!(pull_with(&scene.house, path, &both).await.status, 200, "{scopes}");
        }
    }
}

/// A1, A3: a role that is added counts at once: the token that was refused is told to be replaced.
#[tokio::test]
async fn a_role_that_is_added_counts_at_once() {
    let scene = scene(Organization::private).await;
    let refused = token(&scene.house, "alice", SCOPE).await;
    let answer = pull_with(&scene.house, PATH, &refused).await;
    answer.assert_error(403, "DENIED");
    let acme = Organization::of(&scene.upstream).private().member("alice");
    scene.house.reload(&[acme]).await;
    assert_narrow(&pull_with(&scene.house, PATH, &refused).await, SCOPE);
    let granted = token(&scene.house, "alice", SCOPE).await;
    let answer = pull_with(&scene.house, PATH, &granted).await;
    answer.assert_body(scene.image.body());
    let basic = scene.house.call(Method::GET, PATH).user("alice").send().await;
    basic.assert_body(scene.image.body());
}

/// A1, A3: a role that is removed counts at once too, on content that is cached.
#[tokio::test]
async fn a_role_that_is_removed_counts_at_once() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    let granted = token(&scene.house, "alice", SCOPE).await;
    let answer = pull_with(&scene.house, PATH, &granted).await;
    answer.assert_body(scene.image.body());
    let acme = Organization::of(&scene.upstream).private();
    scene.house.reload(&[acme]).await;
    assert_narrow(&pull_with(&scene.house, PATH, &granted).await, SCOPE);
    let refused = token(&scene.house, "alice", SCOPE).await;
    let answer = pull_with(&scene.house, PATH, &refused).await;
    answer.assert_error(403, "DENIED");
    let basic = scene.house.call(Method::GET, PATH).user("alice").send().await;
    basic.assert_error(403, "DENIED");
}

/// A1: a token is good for five minutes and not a second longer.
#[tokio::test]
async fn a_token_expires_after_five_minutes() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    let token = token(&scene.house, "alice", SCOPE).await;
    scene.house.advance_seconds(299);
    assert_eq!(pull_with(&scene.house, PATH, &token).await.status, 200);
    scene.house.advance_seconds(1);
    let expired = pull_with(&scene.house, PATH, &token).await;
    expired.assert_error(401, "UNAUTHORIZED");
    assert!(
        expired
            .header("www-authenticate")
            .contains("error=\"invalid_token\""),
        "{}",
        expired.summary()
    );
}

fn post(house: &House, form: &str) -> Call {
    house
        .call(Method::POST, "/v2/auth")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned())
}

/// A1: POST in the forms that containerd and helm send, with and without a scope.
#[tokio::test]
async fn the_token_service_takes_forms() {
    let scene = scene(|acme| acme.private().member("alice")).await;
    let password = password_of("alice");
    let who = format!("grant_type=password&username=alice&password={password}&service=registry.test");
    let containerd = format!("client_id=containerd-client&{who}&scope=repository%3Aacme%2Falpine%3Apull");
    let answer = post(&scene.house, &containerd).send().await;
    assert_eq!(answer.json()["expires_in"], 300, "{}", answer.summary());
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = bearer(&answer);
    let pulled = pull_with(&scene.house, PATH, &token).await;
    pulled.assert_body(scene.image.body());
    let helm = post(&scene.house, &format!("client_id=oras-go&{who}"))
        .send()
        .await;
    let token = bearer(&helm);
    assert_eq!(pull_with(&scene.house, "/v2/", &token).await.status, 200);
    assert_narrow(&pull_with(&scene.house, PATH, &token).await, SCOPE);
}

/// A1, O4: a form that says nothing, or too much, or asks for something else.
#[tokio::test]
async fn the_token_service_refuses_other_forms() {
    let scene = scene(Organization::private).await;
    let house = &scene.house;
    let nobody = bearer(&post(house, "grant_type=password").send().await);
    let answer = pull_with(house, PATH, &nobody).await;
    answer.assert_error(401, "UNAUTHORIZED");
    let wrong = "grant_type=password&username=alice&password=wrong";
    post(house, wrong).send().await.assert_error(401, "UNAUTHORIZED");
    let large = format!(
        "grant_type=password&username=alice&password={}",
        "x".repeat(17 << 10)
    );
    for form in ["grant_type=refresh_token&refresh_token=x", "grant_type=", &large] {
        let answer = post(house, form).send().await;
        assert_eq!(answer.status, 400, "{}", answer.summary());
        assert!(!answer.message().is_empty());
    }
    let answer = house.call(Method::HEAD, "/v2/auth").send().await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, POST"));
}

/// A2, A3: a robot pulls from its own organization, and from no other.
#[tokio::test]
async fn a_robot_pulls_from_its_own_organization() {
    let scene = scene(|acme| acme.private().robot("ci", ROBOT_PASSWORD)).await;
    let path = format!("/v2/auth?service=registry.test&scope={SCOPE}");
    let call = scene.house.call(Method::GET, &path);
    let token = bearer(&call.basic("acme+ci", ROBOT_PASSWORD).send().await);
    let answer = pull_with(&scene.house, PATH, &token).await;
    answer.assert_body(scene.image.body());

    let acme = Organization::of(&scene.upstream)
        .private()
        .robot("other", ROBOT_PASSWORD);
    let more = Organization::of(&scene.upstream)
        .named("more")
        .private()
        .robot("ci", ROBOT_PASSWORD);
    scene.house.reload(&[acme, more]).await;
    let gone = pull_with(&scene.house, PATH, &token).await;
    gone.assert_error(401, "UNAUTHORIZED");
    let basic = |login: &str| scene.house.call(Method::GET, PATH).basic(login, ROBOT_PASSWORD);
    basic("acme+ci").send().await.assert_error(401, "UNAUTHORIZED");
    basic("more+ci").send().await.assert_error(403, "DENIED");
    basic("acme+other").send().await.assert_body(scene.image.body());
}

/// A2: of two passwords the older one lapses at its `notAfter`, although it was just used.
#[tokio::test]
async fn a_robots_old_password_lapses() {
    let hash = |password: &str| {
        let digest = quayside_tests::images::sha256(password.as_bytes());
        digest.replace("sha256:", "$sha256$")
    };
    // Ten minutes after the house's clock starts.
    let hashes = json!([
        { "hash": hash("canary-old"), "notAfter": "2027-01-15T08:10:00Z" },
        { "hash": hash("canary-new") },
    ]);
    let robots = json!([{ "name": "ci", "passwordHashes": hashes }]);
    let scene = scene(|acme| acme.private().set("robots", robots)).await;
    let pull = async |password: &str| {
        let call = scene.house.call(Method::GET, PATH);
        call.basic("acme+ci", password).send().await.status
    };
    scene.house.advance_seconds(599);
    assert_eq!((pull("canary-old").await, pull("canary-new").await), (200, 200));
    scene.house.advance_seconds(1);
    assert_eq!((pull("canary-old").await, pull("canary-new").await), (401, 200));
}

/// `acme` with the member `alice`, behind a proxy that says from where requests come.
async fn behind_proxy() -> (Scene, impl Fn(&Scene, &str, &str, &str) -> Call) {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[100]);
    upstream.push("alpine", "1", &image);
    let house = House::builder()
        .organization(
            Organization::of(&upstream)
                .private()
                .member("alice")
                .member("bob"),
        )
        .config("/trustedProxies", json!(["127.0.0.0/8"]))
        .start()
        .await;
    let call = |scene: &Scene, address: &str, user: &str, password: &str| {
        scene
            .house
            .call(Method::GET, "/v2/")
            .header("x-forwarded-for", address)
            .basic(user, password)
    };
    let scene = Scene {
        upstream,
        image,
        house,
    };
    (scene, call)
}

/// A2: ten failures within a minute, and the door is shut for this user at this address, wherever it is knocked on.
#[tokio::test]
async fn ten_failures_a_minute_are_answered_429() {
    let (scene, call) = behind_proxy().await;
    let (right, here, there) = (password_of("alice"), "203.0.113.9", "203.0.113.10");
    for attempt in 0..10 {
        let password = format!("wrong {}", attempt / 2);
        let answer = call(&scene, here, "alice", &password).send().await;
        answer.assert_error(401, "UNAUTHORIZED");
    }
    let shut = call(&scene, here, "alice", right).send().await;
    shut.assert_error(429, "TOOMANYREQUESTS");
    assert_eq!(shut.header("retry-after"), "60");
    let form = format!("grant_type=password&username=alice&password={right}");
    let post = post(&scene.house, &form).header("x-forwarded-for", here);
    post.send().await.assert_error(429, "TOOMANYREQUESTS");
    for path in ["/v2/auth", PATH, "/v2/_catalog"] {
        let get = scene
            .house
            .call(Method::GET, path)
            .header("x-forwarded-for", here);
        let answer = get.basic("alice", right).send().await;
        answer.assert_error(429, "TOOMANYREQUESTS");
    }
    // Another user, another address, and no credentials at all are not concerned.
    assert_eq!(
        call(&scene, here, "bob", password_of("bob")).send().await.status,
        200
    );
    let anonymous = scene
        .house
        .call(Method::GET, "/v2/auth")
        .header("x-forwarded-for", here);
    assert_eq!(anonymous.send().await.status, 200);
    assert_eq!(call(&scene, there, "alice", right).send().await.status, 200);
    // What was good a moment ago is never refused.
    assert_eq!(call(&scene, here, "alice", right).send().await.status, 200);
    scene.house.advance_seconds(60);
    assert_eq!(call(&scene, here, "alice", "wrong").send().await.status, 401);
    assert_eq!(call(&scene, here, "alice", right).send().await.status, 200);
}

/// A2, A6: who fails is not told apart by whether the user exists, and a password is never repeated.
#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    let (scene, call) = behind_proxy().await;
    let mut answers = Vec::new();
    for (user, address) in [
        ("alice", "203.0.113.1"),
        ("nobody", "203.0.113.2"),
        ("acme+ci", "203.0.113.3"),
    ] {
        let answer = call(&scene, address, user, "canary-wrong").send().await;
        answers.push((
            answer.status,
            answer.body.clone(),
            answer.header("www-authenticate").to_owned(),
        ));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}
