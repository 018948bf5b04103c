//! A4: what is private does not reveal whether it exists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use quayside_tests::house::Answer;
use serde_json::Value;

use super::callers::{CALLERS, Caller, Standing};
use super::world::{Visibility, World};

/// As long as the name of the private organization, so that lengths can be compared too.
const ABSENT: &str = "absent";

/// Everything of an answer that a client can see, but for what is different each time.
fn seen(answer: &Answer, name: &str) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(header, _)| !["date", "x-request-id"].contains(&header.as_str()))
        .map(|(header, value)| format!("{header}: {value:?}"))
        .collect();
    headers.sort();
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    format!("{} {headers:#?} {body}", answer.status).replace(name, "<organization>")
}

async fn ask(world: &World, caller: Caller, method: &Method, name: &str, rest: &str) -> String {
    let call = world.call(method.clone(), &format!("/v2/{name}/{rest}"));
    let repository = format!("{name}/{}", rest.split('/').next().unwrap());
    let answer = caller.dress(world, call, &repository).await.send().await;
    assert!(
        [401, 403].contains(&answer.status),
        "{caller:?}: {}",
        answer.summary()
    );
    seen(&answer, name)
}

/// A4, M1: cached, not cached, nowhere, malformed or not there at all: all the same to who has no role.
#[tokio::test]
async fn an_unknown_organization_is_answered_like_one_without_the_role() {
    let world = World::start().await;
    let closed = Visibility::Private.organization();
    assert_eq!(closed.len(), ABSENT.len());
    let digest = format!("sha256:{}", "0".repeat(64));
    let rests = [
        "warm/manifests/1".to_owned(),
        "warm/manifests/nowhere".to_owned(),
        "nowhere/manifests/1".to_owned(),
        format!("warm/manifests/{digest}"),
        format!("warm/blobs/{digest}"),
        "warm/tags/list".to_owned(),
        format!("warm/referrers/{digest}"),
    ];
    let without_role = CALLERS.into_iter().filter(|caller| {
        // A robot of an organization that does not exist has no password to be right.
        let robot = matches!(caller, Caller::Robot | Caller::RobotWithToken);
        caller.standing(Visibility::Private) != Standing::Member && !robot
    });
    for caller in without_role {
        for (rest, method) in rests
            .iter()
            .flat_map(|rest| [(rest, Method::GET), (rest, Method::HEAD)])
        {
            let private = ask(&world, caller, &method, closed, rest).await;
            let absent = ask(&world, caller, &method, ABSENT, rest).await;
            assert_eq!(private, absent, "{caller:?} {method} {rest}");
        }
    }
}

/// A4, A1: nor does the token service, to who asks for a scope.
#[tokio::test]
async fn the_token_service_answers_for_an_unknown_organization_like_for_a_private_one() {
    let world = World::start().await;
    for login in [None, Some("bob")] {
        let mut answers = Vec::new();
        for name in [Visibility::Private.organization(), ABSENT] {
            let scope = format!("repository:{name}/warm:pull");
            let path = format!("/v2/auth?service=registry.test&scope={scope}");
            let call = world.call(Method::GET, &path);
            let call = match login {
                Some(user) => call.user(user),
                None => call,
            };
            let answer = call.send().await;
            assert_eq!(answer.status, 200, "{}", answer.summary());
            let document = answer.json();
            let token = document["token"].as_str().unwrap();
            let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
            let claims: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(claims["access"][0]["actions"], serde_json::json!([]), "{claims}");
            let claims = claims.to_string().replace(name, "<organization>");
            answers.push((claims, document["expires_in"].clone(), token.len()));
        }
        assert_eq!(answers[0], answers[1], "{login:?}");
    }
}
