//! Both versions of the distribution registry as upstream, open, with passwords and with tokens.

use quayside_tests::crane::Crane;
use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Format, Index};
use quayside_tests::podman::Podman;
use quayside_tests::reachable;
use quayside_tests::recorder::Recorder;
use quayside_tests::tokenserver::{Account, TokenServer};

use super::scene::{REPOSITORY, two_platforms};

fn robot() -> Account {
    Account::new("robot", "canary-robot-5d0e")
}

async fn house_for(organization: Organization) -> House {
    reachable::house()
        .system_clock()
        .organization(organization.background())
        .start()
        .await
}

/// Panics unless crane finds every byte right, through `house`.
async fn assert_valid(house: &House) {
    let printed = Crane::new()
        .validate(&format!("{}/acme/{REPOSITORY}:1", house.authority()))
        .await
        .ok();
    assert!(printed.starts_with("PASS"), "{printed}");
}

async fn caches_an_open_upstream(edition: Edition) {
    let upstream = Distribution::start(edition, Access::Anonymous).await;
    upstream
        .repository(REPOSITORY)
        .index("1", &two_platforms(Format::Oci))
        .await;
    let recorder = Recorder::start(upstream.address()).await;
    let house = house_for(Organization::at(&recorder.address().to_string())).await;
    assert_valid(&house).await;
    assert!(
        recorder.seen().iter().all(|seen| seen.authorization.is_none()),
        "{:?}",
        recorder.seen()
    );
}

async fn caches_an_upstream_with_passwords(edition: Edition) {
    let robot = robot();
    let upstream = Distribution::start(edition, Access::Htpasswd(&robot)).await;
    upstream
        .repository_as(REPOSITORY, &robot)
        .index("1", &two_platforms(Format::Oci))
        .await;
    let recorder = Recorder::start(upstream.address()).await;
    let acme = Organization::at(&recorder.address().to_string()).credentials(&robot.name, &robot.password);
    let house = house_for(acme).await;
    assert_valid(&house).await;
    let sent: Vec<_> = recorder
        .seen()
        .into_iter()
        .filter_map(|seen| seen.authorization)
        .collect();
    assert!(
        !sent.is_empty() && sent.iter().all(|value| *value == robot.basic()),
        "other credentials were sent"
    );
}

async fn caches_an_upstream_with_tokens(edition: Edition) {
    let tokens = TokenServer::start(robot()).await;
    let upstream = Distribution::start(edition, Access::Tokens(&tokens)).await;
    upstream
        .repository_with(REPOSITORY, &tokens)
        .index("1", &two_platforms(Format::Oci))
        .await;
    let recorder = Recorder::start(upstream.address()).await;
    let Account { name, password } = tokens.account();
    let acme = Organization::at(&recorder.address().to_string()).credentials(name, password);
    let house = house_for(acme).await;
    assert_valid(&house).await;
    assert_eq!(
        tokens.asked(&format!("repository:{REPOSITORY}:pull")),
        1,
        "one token serves the whole pull"
    );
    let basic = tokens.account().basic();
    assert!(
        recorder
            .seen()
            .iter()
            .all(|seen| seen.authorization.as_ref() != Some(&basic)),
        "the password went to the registry, which asks for tokens",
    );
}

/// M2, B2: docker-registry 2.8.
#[tokio::test(flavor = "multi_thread")]
async fn caches_distribution_2() {
    caches_an_open_upstream(Edition::Two).await;
}

/// M2, B2: distribution 3.
#[tokio::test(flavor = "multi_thread")]
async fn caches_distribution_3() {
    caches_an_open_upstream(Edition::Three).await;
}

/// A7, M7: docker-registry 2.8 with htpasswd.
#[tokio::test(flavor = "multi_thread")]
async fn logs_in_to_distribution_2_with_a_password() {
    caches_an_upstream_with_passwords(Edition::Two).await;
}

/// A7, M7: distribution 3 with htpasswd.
#[tokio::test(flavor = "multi_thread")]
async fn logs_in_to_distribution_3_with_a_password() {
    caches_an_upstream_with_passwords(Edition::Three).await;
}

/// A7, M7: docker-registry 2.8 with a token service.
#[tokio::test(flavor = "multi_thread")]
async fn logs_in_to_distribution_2_with_tokens() {
    caches_an_upstream_with_tokens(Edition::Two).await;
}

/// A7, M7: distribution 3 with a token service.
#[tokio::test(flavor = "multi_thread")]
async fn logs_in_to_distribution_3_with_tokens() {
    caches_an_upstream_with_tokens(Edition::Three).await;
}

/// M7: a wrong password upstream is a refusal that names the upstream.
#[tokio::test(flavor = "multi_thread")]
async fn says_that_upstream_refuses_a_wrong_password() {
    let robot = robot();
    let upstream = Distribution::start(Edition::Three, Access::Htpasswd(&robot)).await;
    upstream
        .repository_as(REPOSITORY, &robot)
        .index("1", &two_platforms(Format::Oci))
        .await;
    let address = upstream.address().to_string();
    let house = house_for(Organization::at(&address).credentials(&robot.name, "canary-wrong-91")).await;
    let image = format!("{}/acme/{REPOSITORY}:1", house.authority());
    let printed = Podman::new().pull(&image).await.failed();
    assert!(
        printed.contains("denied: ") && printed.contains(&address),
        "{printed}"
    );
}

/// N1: the user leaves the namespace out, and reaches nothing beside it.
#[tokio::test(flavor = "multi_thread")]
async fn narrows_an_organization_to_a_namespace() {
    let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let index: Index = two_platforms(Format::Oci);
    upstream.repository("lib/deep/multi").index("1", &index).await;
    upstream.repository("other").index("1", &index).await;
    let house = house_for(Organization::at(&format!("{}/lib/deep", upstream.address()))).await;
    let crane = Crane::new();
    assert_eq!(
        crane
            .digest(&format!("{}/acme/multi:1", house.authority()))
            .await
            .ok(),
        index.digest()
    );
    crane
        .digest(&format!("{}/acme/other:1", house.authority()))
        .await
        .failed();
}

/// M2, B2: an upstream that was killed and came back is used again.
#[tokio::test(flavor = "multi_thread")]
async fn uses_an_upstream_that_came_back() {
    let mut upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    upstream
        .repository(REPOSITORY)
        .index("1", &two_platforms(Format::Oci))
        .await;
    let house = house_for(Organization::at(&upstream.address().to_string())).await;
    let image = format!("{}/acme/{REPOSITORY}:1", house.authority());
    upstream.switch_off();
    Podman::new().pull(&image).await.failed();
    upstream.switch_on().await;
    assert_valid(&house).await;
}
