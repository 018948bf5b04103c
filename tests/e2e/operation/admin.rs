//! SPEC O1: the admin port.

use std::os::unix::fs::PermissionsExt as _;

use http::Method;
use quayside_tests::house::House;

use crate::scene::scene;

/// O1: probes and metrics are open; everything else, what there is not included, takes the token.
#[tokio::test]
async fn everything_but_probes_and_metrics_takes_the_token() {
    let scene = scene(|acme| acme).await;
    let house = &scene.house;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(house.admin(path).await.status, 200, "{path}");
        assert_eq!(
            house.admin_call(Method::POST, path).send().await.status,
            405,
            "{path}"
        );
    }
    for path in ["/", "/gc", "/recount", "/organizations", "/nothing"] {
        let answer = house.admin(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer "), "{path}");
        let wrong = house.admin_call(Method::GET, path).bearer("wrong").send().await;
        assert_eq!(wrong.status, 401, "{path}");
    }
    let token = house.admin_token();
    let answer = house
        .admin_call(Method::GET, "/nothing")
        .bearer(&token)
        .send()
        .await;
    assert_eq!(answer.status, 404);
    let public = house.get("/metrics").await;
    assert_eq!(public.status, 404, "metrics are not on the public port");
}

/// O1, A6: the token is drawn beside the database, for the owner's eyes, and stays.
#[tokio::test]
async fn the_token_is_drawn_beside_the_database_and_stays() {
    let mut house = House::builder().start().await;
    let token = house.admin_token();
    let file = std::fs::metadata(house.directory().join("admin.token")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    house.restart().await;
    assert_eq!(house.admin_token(), token);
}
