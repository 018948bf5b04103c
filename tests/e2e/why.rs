//! SPEC O5: what `why` says of an image, and that it is what the next pull does.

mod cached;
mod program;
mod quota;
mod table;

use http::Method;
use quayside_tests::house::House;
use serde_json::Value;

/// Percent-encodes what has a meaning in a query.
fn encoded(text: &str) -> String {
    text.replace('%', "%25")
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace(' ', "%20")
}

/// What the registry says of an image, for somebody who does not log in or for a user.
async fn ask(house: &House, image: &str, user: Option<&str>) -> Value {
    let user = user
        .map(|user| format!("&as={}", encoded(user)))
        .unwrap_or_default();
    let path = format!("/why?image={}{user}", encoded(image));
    let call = house.admin_call(Method::GET, &path).bearer(&house.admin_token());
    let answer = call.send().await;
    assert_eq!(answer.status, 200, "{}", answer.summary());
    answer.json()
}

/// O5, N3: an image that no client could ask for is refused with the reason, as is a login of no form.
#[tokio::test]
async fn refuses_what_is_no_image() {
    let house = House::builder().start().await;
    for (query, reason) in [
        ("", "missing"),
        ("?image=", "missing"),
        ("?image=app", "one component"),
        ("?image=acme/App", "acme/App"),
        ("?image=acme/app@sha256:12", "digest"),
        ("?image=acme/app:1&as=acme%2F%2Bci", "login"),
    ] {
        let call = house.admin_call(Method::GET, &format!("/why{query}"));
        let answer = call.bearer(&house.admin_token()).send().await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.summary());
        let said = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(said.contains(reason), "{query}: {said}");
    }
    let call = house.admin_call(Method::GET, "/why?image=acme/app");
    assert_eq!(call.send().await.status, 401);
    let call = house.admin_call(Method::POST, "/why?image=acme/app");
    assert_eq!(call.bearer(&house.admin_token()).send().await.status, 405);
}
