//! Q4, Q5, Q7: what does not fit is refused in words that clients show, and nothing has happened then.

use futures::future::join_all;
use http::Method;
use quayside_tests::eventually::never;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::Organization;
use quayside_tests::images::{Blob, Image, Index};
use serde_json::json;

use super::{LAYER, QUOTA, assert_refused, house, image, listed, pruned, pull, push, refused, usage, weight};

/// An image that is larger than the quota.
fn giant(seed: u64) -> Image {
    Image::random(seed, &[3 * LAYER])
}

/// Q7: status, code, message and the numbers, exactly; a HEAD has the status alone and the GET after it the text.
#[tokio::test]
async fn a_refusal_says_what_the_quota_is_and_what_was_needed() {
    let upstream = FakeUpstream::start().await;
    let [small] = push(&upstream, ["small"]);
    let giant = giant(9);
    upstream.push("giant", "1", &giant);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "small").await;
    for _ in 0..2 {
        let head = house.head_manifest("giant", "1").await;
        assert_eq!((head.status, head.body.len()), (403, 0), "{}", head.summary());
        let answer = house.manifest("giant", "1").await;
        assert_refused(&answer);
        assert_eq!(
            answer.json(),
            json!({ "errors": [{
                "code": "DENIED",
                "message": "Quota has been exceeded on namespace",
                "detail": {
                    "organization": "acme",
                    "quotaBytes": QUOTA,
                    "usedBytes": weight(&small),
                    "neededBytes": weight(&giant),
                },
            }] })
        );
        assert_eq!(answer.header("retry-after"), "");
    }
    assert_refused(&house.manifest("giant", giant.digest()).await);
}

/// Q4, Q5, M8: an image that is larger than the quota prunes nothing and leaves nothing, not even a repository.
#[tokio::test]
async fn an_image_larger_than_the_quota_changes_nothing() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two"]);
    upstream.push("giant", "1", &giant(9));
    let mut house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    let (rows, used) = (house.rows().await, usage(&house).await);
    assert_refused(&house.manifest("giant", "1").await);
    assert_eq!(listed(&house, ["one", "two", "giant"]).await, ["one", "two"]);
    assert_eq!((house.rows().await, usage(&house).await), (rows, used));
    assert_eq!((pruned(&house).await, refused(&house).await), (0, 1));
    house.audit().await;
}

/// Q7, B6: what was refused is not filled in the background.
#[tokio::test]
async fn nothing_is_filled_for_what_was_refused() {
    let upstream = FakeUpstream::start().await;
    upstream.push("giant", "1", &giant(9));
    let house = house(&upstream, Organization::background).await;
    assert_refused(&house.manifest("giant", "1").await);
    never("a blob is fetched for a refused image", || async {
        upstream.count_kind(&Method::GET, Kind::Blob) > 0
    })
    .await;
}

/// Q4: of an index its body counts; it is its children that do not fit.
#[tokio::test]
async fn an_index_is_taken_and_the_child_that_does_not_fit_is_refused() {
    let upstream = FakeUpstream::start().await;
    let index = Index::builder()
        .image(image(1), "amd64")
        .image(giant(2), "arm64")
        .build();
    upstream.push_index("multi", "1", &index);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "multi").await;
    let [small, large] = [&index.images[0], &index.images[1]];
    house
        .manifest("multi", small.digest())
        .await
        .assert_body(small.body());
    assert_refused(&house.manifest("multi", large.digest()).await);
    let expected = index.manifest.size() + weight(small);
    assert_eq!(usage(&house).await, expected);
    assert_eq!(house.tags("multi").await, ["1"]);
}

/// M4, Q5: a live tag whose new version does not fit is refused, and stays what it was.
#[tokio::test]
async fn a_tag_whose_new_version_does_not_fit_keeps_the_old_one() {
    let upstream = FakeUpstream::start().await;
    let [old] = push(&upstream, ["app"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "app").await;
    let end = "SELECT ends_at FROM tag WHERE name = '1' AND current";
    let before = house.number(end).await;
    upstream.push("app", "1", &giant(9));
    assert_refused(&house.manifest("app", "1").await);
    assert_eq!(house.head_manifest("app", "1").await.status, 403);
    assert_eq!(house.tags("app").await, ["1"]);
    assert_eq!(house.number(end).await, before);
    assert_eq!(usage(&house).await, weight(&old));
    house.manifest("app", old.digest()).await.assert_body(old.body());
    upstream.tag("app", "1", old.digest());
    house.manifest("app", "1").await.assert_cache("REVALIDATED");
}

/// M2, Q7: who asks for the same tag meanwhile hears the same, from one fetch and one refusal.
#[tokio::test]
async fn concurrent_pulls_of_what_does_not_fit_share_the_refusal() {
    let upstream = FakeUpstream::start().await;
    upstream.push("giant", "1", &giant(9));
    let house = house(&upstream, |acme| acme).await;
    let gate = Gate::closed();
    upstream.script(On::manifest().get(), Fault::Hold(gate.clone()));
    let pulls = join_all((0..8).map(|_| house.manifest("giant", "1")));
    let open = async {
        gate.reached().await;
        never("a second fetch beside the first", || async {
            fetches(&upstream) > 1
        })
        .await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(pulls, open);
    answers.iter().for_each(assert_refused);
    // Whoever came after the refusal fetched again.
    assert_eq!(refused(&house).await, fetches(&upstream) as u64);
}

fn fetches(upstream: &FakeUpstream) -> usize {
    upstream.count_kind(&Method::GET, Kind::Manifest)
}

/// Q5: a plan that cannot free enough prunes nothing, though it would free something: what is pulled never goes for
/// itself.
#[tokio::test]
async fn an_image_that_needs_its_own_index_to_go_prunes_nothing() {
    let upstream = FakeUpstream::start().await;
    let shared = Blob::random(77, 2 * LAYER);
    let large = Image::builder().layer(shared).label("platform", "amd64").build();
    let second = Image::random(8, &[2 * LAYER]);
    let index = Index::builder()
        .image(large, "amd64")
        .image(second, "arm64")
        .build();
    upstream.push_index("multi", "1", &index);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "multi").await;
    let [first, second] = [&index.images[0], &index.images[1]];
    house
        .manifest("multi", first.digest())
        .await
        .assert_body(first.body());
    let used = usage(&house).await;
    assert_refused(&house.manifest("multi", second.digest()).await);
    assert_eq!((usage(&house).await, pruned(&house).await), (used, 0));
    assert_eq!(house.tags("multi").await, ["1"]);
    house.manifest("multi", first.digest()).await.assert_cache("HIT");
}
