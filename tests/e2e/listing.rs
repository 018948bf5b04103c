//! SPEC §8: tag lists and the catalog. (Who sees which is in `access_matrix`.)

use http::Method;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::Image;
use serde_json::json;

use crate::scene::{Scene, scene};

const TAGS: &str = "/v2/acme/alpine/tags/list";
const CATALOG: &str = "/v2/_catalog";

fn names(answer: &Answer, key: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.summary());
    let document = answer.json();
    let names = document[key].as_array().unwrap();
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// The path of the next page, which the link gives without a host.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    if link.is_empty() {
        return None;
    }
    let path = link
        .strip_prefix('<')
        .and_then(|link| link.strip_suffix(">; rel=\"next\""));
    let path = path.unwrap_or_else(|| panic!("{link}"));
    assert!(path.starts_with("/v2/"), "not relative: {link}");
    Some(path.to_owned())
}

/// Every page, by the links; each is as long as it says but for the last.
async fn pages(house: &House, first: &str, key: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), first.to_owned());
    loop {
        let answer = house.get(&path).await;
        pages.push(names(&answer, key));
        match next(&answer) {
            Some(next) => path = next,
            None => return pages,
        }
    }
}

/// A scene with these tags pulled.
async fn tagged(tags: &[&str]) -> Scene {
    let scene = scene(|acme| acme.ttl(100)).await;
    for tag in tags {
        scene.upstream.tag("alpine", tag, scene.image.digest());
        assert_eq!(scene.house.manifest("alpine", tag).await.status, 200);
    }
    scene
}

/// L1: tags in byte order, in pages of any size, with the answer's name as it was asked for.
#[tokio::test]
async fn lists_tags_in_order_and_in_pages() {
    let scene = tagged(&["b", "1.10", "a", "1.9", "B", "_x", "a.b-c"]).await;
    let all = ["1.10", "1.9", "B", "_x", "a", "a.b-c", "b"];
    let answer = scene.house.get(TAGS).await;
    assert_eq!(answer.json(), json!({ "name": "acme/alpine", "tags": all }));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(next(&answer), None);
    for size in [1, 2, 3, 7, 8] {
        let pages = pages(&scene.house, &format!("{TAGS}?n={size}"), "tags").await;
        let expected: Vec<_> = all.chunks(size).map(<[_]>::to_vec).collect();
        assert_eq!(pages, expected, "in pages of {size}");
    }
    let after = scene.house.get(&format!("{TAGS}?last=a")).await;
    assert_eq!(names(&after, "tags"), ["a.b-c", "b"]);
    let between = scene.house.get(&format!("{TAGS}?last=a.&n=1")).await;
    assert_eq!(names(&between, "tags"), ["a.b-c"]);
    assert_eq!(next(&between).unwrap(), format!("{TAGS}?n=1&last=a.b-c"));
    let behind = scene.house.get(&format!("{TAGS}?last=z")).await;
    assert_eq!(names(&behind, "tags"), Vec::<String>::new());
}

/// L1: `n=0` is an empty page without a link; what is no number is 400.
#[tokio::test]
async fn takes_any_page_size() {
    let scene = tagged(&["1", "2"]).await;
    for list in [TAGS, CATALOG] {
        let key = if list == TAGS { "tags" } else { "repositories" };
        let none = scene.house.get(&format!("{list}?n=0")).await;
        assert_eq!((names(&none, key), next(&none)), (Vec::new(), None));
        for size in ["-1", "x", "1.5", ""] {
            let answer = scene.house.get(&format!("{list}?n={size}")).await;
            answer.assert_error(400, "PAGINATION_NUMBER_INVALID");
        }
        for size in ["1001", "99999999999999999999999999"] {
            let answer = scene.house.get(&format!("{list}?n={size}")).await;
            assert!(!names(&answer, key).is_empty());
        }
    }
}

/// L1: `n` over 1000, and no `n` at all, count as 1000.
#[tokio::test]
async fn a_page_has_a_thousand_names_at_most() {
    let scene = tagged(&["1"]).await;
    for number in 0..1000 {
        let tag = format!("t{number:04}");
        scene.upstream.tag("alpine", &tag, scene.image.digest());
        assert_eq!(scene.house.head_manifest("alpine", &tag).await.status, 200);
    }
    for list in [
        TAGS.to_owned(),
        format!("{TAGS}?n=1001"),
        format!("{TAGS}?n=5000"),
    ] {
        let answer = scene.house.get(&list).await;
        assert_eq!(names(&answer, "tags").len(), 1000, "{list}");
        assert_eq!(next(&answer).unwrap(), format!("{TAGS}?n=1000&last=t0998"));
        let pages = pages(&scene.house, &list, "tags").await;
        assert_eq!(pages[1..], [["t0999"]]);
    }
}

/// L1, E2: a repository without live tags is unknown: never pulled, pulled by digest only, or dead.
#[tokio::test]
async fn a_repository_without_live_tags_is_unknown() {
    let scene = tagged(&["1"]).await;
    scene.upstream.push_untagged("pinned", &Image::random(2, &[10]));
    let digest = Image::random(2, &[10]).digest().to_owned();
    assert_eq!(scene.house.manifest("pinned", &digest).await.status, 200);
    for repository in ["pinned", "never"] {
        for query in ["", "?n=0", "?n=5&last=a"] {
            let path = format!("/v2/acme/{repository}/tags/list{query}");
            scene.house.get(&path).await.assert_error(404, "NAME_UNKNOWN");
        }
    }
    let catalog = scene.house.get(CATALOG).await;
    assert_eq!(names(&catalog, "repositories"), ["acme/alpine"]);
    scene.house.advance_seconds(100);
    scene.house.get(TAGS).await.assert_error(404, "NAME_UNKNOWN");
    let catalog = scene.house.get(CATALOG).await;
    assert_eq!(names(&catalog, "repositories"), Vec::<String>::new());
}

/// L1, M15: a pull counts for the lists at once, although it is written later.
#[tokio::test]
async fn lists_know_of_a_pull_that_was_just_answered() {
    let scene = tagged(&["1"]).await;
    scene.house.advance_seconds(99);
    assert_eq!(scene.house.manifest("alpine", "1").await.status, 200);
    scene.house.advance_seconds(50);
    assert_eq!(
        names(&scene.house.get(CATALOG).await, "repositories"),
        ["acme/alpine"]
    );
    assert_eq!(names(&scene.house.get(TAGS).await, "tags"), ["1"]);
}

/// L1, N2: the catalog over several organizations, in the order of the full names; Docker Hub's by their local names.
#[tokio::test]
async fn catalogs_full_names_in_order_and_in_pages() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[10]);
    let mut builder = House::builder();
    for name in ["acme", "acme-b", "acme.c"] {
        builder = builder.organization(Organization::of(&upstream).named(name));
    }
    let house = builder.start().await;
    let mut expected = Vec::new();
    for organization in ["acme", "acme-b", "acme.c"] {
        for repository in ["b", "a/x", "a", "a-b"] {
            upstream.push(repository, "1", &image);
            let path = format!("/v2/{organization}/{repository}/manifests/1");
            assert_eq!(house.get(&path).await.status, 200);
            expected.push(format!("{organization}/{repository}"));
        }
    }
    expected.sort();
    for size in [1, 3, 4, 5, 12, 13] {
        let pages = pages(&house, &format!("{CATALOG}?n={size}"), "repositories").await;
        let chunks: Vec<_> = expected.chunks(size).map(<[_]>::to_vec).collect();
        assert_eq!(pages, chunks, "in pages of {size}");
    }
    let after = house.get(&format!("{CATALOG}?last=acme-b/zzz")).await;
    assert_eq!(names(&after, "repositories"), expected[4..]);
}

/// L1: who is known and may pull nothing sees an empty catalog; who is not, and there is nothing public, is challenged.
#[tokio::test]
async fn an_empty_catalog_is_for_those_who_logged_in() {
    let scene = scene(Organization::private).await;
    let stranger = scene.house.call(Method::GET, CATALOG).user("bob").send().await;
    assert_eq!(names(&stranger, "repositories"), Vec::<String>::new());
    let nobody = scene.house.get(CATALOG).await;
    nobody.assert_error(401, "UNAUTHORIZED");
    assert_eq!(
        nobody.header("www-authenticate"),
        "Bearer realm=\"http://registry.test/v2/auth\",service=\"registry.test\",scope=\"registry:catalog:*\""
    );
    let token = scene
        .house
        .get("/v2/auth?service=registry.test&scope=registry:catalog:*")
        .await;
    let token = token.json()["token"].as_str().unwrap().to_owned();
    let nobody = scene.house.call(Method::GET, CATALOG).bearer(&token).send().await;
    nobody.assert_error(401, "UNAUTHORIZED");
}

/// L1, M1: lists ask no upstream and HEAD has no body.
#[tokio::test]
async fn lists_contact_nobody() {
    let scene = tagged(&["1"]).await;
    let before = scene.contacts();
    for path in [TAGS, CATALOG, "/v2/acme/never/tags/list"] {
        let get = scene.house.get(path).await;
        let head = scene.house.head(path).await;
        assert_eq!(get.status, head.status);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), get.body.len().to_string());
    }
    assert_eq!(scene.contacts(), before);
}
