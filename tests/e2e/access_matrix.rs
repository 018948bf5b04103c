//! SPEC §7: every kind of caller, before every kind of content, in every kind of organization.

mod callers;
mod secrecy;
mod targets;
mod world;

use std::collections::BTreeSet;

use http::Method;
use quayside_tests::house::Answer;
use serde_json::json;

use callers::{CALLERS, Caller, Standing};
use targets::{Expected, TARGETS, Target};
use world::{Visibility, World};

/// One row: the answer is what the specification says, and upstream was asked only for who may cause that.
async fn holds(world: &World, visibility: Visibility, caller: Caller, target: Target, method: &Method) {
    let row = format!("{visibility:?}: {caller:?} {method} {target:?}");
    let standing = caller.standing(visibility);
    let place = world.place(visibility, target).await;
    let call = world.call(method.clone(), &place.path);
    let call = caller.dress(world, call, &place.repository).await;
    let before = world.contacts();
    let answer = call.send().await;
    let expected = targets::expected(standing, target);
    matches(&answer, expected, method, &place.repository, &row);
    if standing != Standing::Member {
        assert_eq!(world.contacts(), before, "upstream was asked: {row}");
    }
}

fn matches(answer: &Answer, expected: Expected, method: &Method, repository: &str, row: &str) {
    let Expected { status, code, error } = expected;
    assert_eq!(answer.status, status, "{row}: {}", answer.summary());
    if *method == Method::HEAD {
        assert!(answer.body.is_empty(), "{row}");
    } else {
        assert_eq!(answer.code(), code, "{row}: {}", answer.summary());
    }
    let challenge = answer.header("www-authenticate");
    if status != 401 {
        assert_eq!(challenge, "", "{row}");
        return;
    }
    let error = error
        .map(|error| format!(",error=\"{error}\""))
        .unwrap_or_default();
    assert_eq!(
        challenge,
        format!(
            "Bearer realm=\"http://registry.test/v2/auth\",service=\"registry.test\",\
             scope=\"repository:{repository}:pull\"{error}"
        ),
        "{row}"
    );
}

async fn every_row(visibility: Visibility) {
    let world = World::start().await;
    let mut statuses = BTreeSet::new();
    for caller in CALLERS {
        for target in TARGETS {
            holds(&world, visibility, caller, target, &Method::GET).await;
            if target.has_head() {
                holds(&world, visibility, caller, target, &Method::HEAD).await;
            }
            statuses.insert(targets::expected(caller.standing(visibility), target).status);
        }
    }
    let own: &[u16] = match visibility {
        Visibility::Public => &[200, 401, 404],
        Visibility::Private | Visibility::Internal => &[200, 401, 403, 404],
    };
    assert_eq!(
        statuses.into_iter().collect::<Vec<_>>(),
        own,
        "a table that says too little"
    );
}

/// A1, A2, A3, A4, M1: who may pull from a private organization, and what the others are told.
#[tokio::test]
async fn a_private_organization_is_for_its_members() {
    every_row(Visibility::Private).await;
}

/// A1, A2, A3, A4, A8, M1: an internal one is for the trusted networks too.
#[tokio::test]
async fn an_internal_organization_is_for_trusted_networks_too() {
    every_row(Visibility::Internal).await;
}

/// A1, A2, A3, A4, M1, L1, L2: a public one shows everybody what is cached and live.
#[tokio::test]
async fn a_public_organization_shows_everybody_what_is_cached() {
    every_row(Visibility::Public).await;
}

/// What the catalog shows to a caller; nothing if it has to get another token first.
fn catalog(caller: Caller) -> Option<Vec<Visibility>> {
    use Visibility::{Internal, Private, Public};
    match caller {
        Caller::Member | Caller::MemberWithToken => Some(vec![Private, Internal, Public]),
        Caller::Robot | Caller::RobotWithToken => Some(vec![Private, Public]),
        Caller::Trusted | Caller::TrustedWithToken | Caller::StrangerFromTrustedNetwork => {
            Some(vec![Internal, Public])
        }
        Caller::Elsewhere | Caller::Scopeless => None,
        _ => Some(vec![Public]),
    }
}

/// L1, A1, A3, A8: the catalog shows each caller the repositories that it may pull from.
#[tokio::test]
async fn the_catalog_shows_each_caller_what_it_may_pull() {
    let world = World::start().await;
    for caller in CALLERS {
        let call = world.call(Method::GET, "/v2/_catalog");
        let answer = caller.dress_for_catalog(&world, call).await.send().await;
        let error = match (caller.standing(Visibility::Private), catalog(caller)) {
            (Standing::Invalid { error }, _) => error,
            (_, Some(visible)) => {
                let mut names: Vec<String> = visible
                    .iter()
                    .map(|visibility| format!("{}/warm", visibility.organization()))
                    .collect();
                names.sort();
                assert_eq!(answer.status, 200, "{caller:?}: {}", answer.summary());
                assert_eq!(answer.json()["repositories"], json!(names), "{caller:?}");
                continue;
            }
            (_, None) => Some("insufficient_scope"),
        };
        answer.assert_error(401, "UNAUTHORIZED");
        let error = error
            .map(|error| format!(",error=\"{error}\""))
            .unwrap_or_default();
        let challenge = answer.header("www-authenticate");
        assert!(
            challenge.ends_with(&format!("scope=\"registry:catalog:*\"{error}")),
            "{caller:?}: {challenge}"
        );
    }
}
