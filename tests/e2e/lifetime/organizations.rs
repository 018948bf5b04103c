//! G5: organizations that go, come back, or come back as somebody else.

use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;
use serde_json::json;

use super::{SLACK, held, pull_into};
use crate::scene::contacts;

const HOUR: u64 = 3600;

/// `acme`, with an image that was pulled, beside an organization that stays.
struct Two {
    upstream: FakeUpstream,
    image: Image,
    house: House,
}

async fn two(organize: impl FnOnce(Organization) -> Organization) -> Two {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("app", "1", &image);
    let house = House::builder()
        .organization(organize(Organization::of(&upstream)))
        .organization(bystander(&upstream))
        .start()
        .await;
    pull_into(&house, "acme", "app", "1", &image).await;
    Two {
        upstream,
        image,
        house,
    }
}

fn bystander(upstream: &FakeUpstream) -> Organization {
    Organization::of(upstream).named("bystander")
}

impl Two {
    async fn remove(&self) {
        self.house.reload(&[bystander(&self.upstream)]).await;
    }

    async fn put(&self, acme: Organization) {
        self.house.reload(&[acme, bystander(&self.upstream)]).await;
    }

    /// Panics if anything of `acme` is served, by whatever way of asking.
    async fn assert_gone(&self, status: u16) {
        let (image, layer) = (&self.image, &self.image.layers[0]);
        for path in [
            "app/manifests/1".to_owned(),
            format!("app/manifests/{}", image.digest()),
            format!("app/blobs/{}", layer.digest),
            "app/tags/list".to_owned(),
        ] {
            for answer in [
                self.house.get(&format!("/v2/acme/{path}")).await,
                self.house.head(&format!("/v2/acme/{path}")).await,
            ] {
                assert_eq!(answer.status, status, "{path}: {}", answer.summary());
            }
        }
    }
}

/// G5, A4: one that is absent from an accepted file stops serving at once, like one that never was.
#[tokio::test]
async fn an_organization_that_disappears_stops_serving_at_once() {
    let two = two(|acme| acme).await;
    two.remove().await;
    two.assert_gone(401).await;
    // What it has stays stored meanwhile, and counts.
    assert_eq!(held(&two.house).await, 1);
}

/// G5: with the same identity within the hour everything is still there, though its Window is 0.
#[tokio::test]
async fn the_same_identity_within_the_hour_comes_back_with_everything() {
    let short = |acme: Organization| acme.ttl(2 * HOUR).window(0);
    let mut two = two(short).await;
    let before = contacts(&two.upstream);
    two.remove().await;
    two.house.advance_seconds(HOUR - 1);
    two.house.collect().await;
    two.put(short(Organization::of(&two.upstream))).await;
    two.upstream.stopped().await;

    let answer = two.house.manifest("app", "1").await;

    answer.assert_cache("STALE");
    answer.assert_body(two.image.body());
    pull_into(&two.house, "acme", "app", "1", &two.image).await;
    assert_eq!(two.house.tags("app").await, ["1"]);
    assert_eq!(contacts(&two.upstream), before);
    two.house.audit().await;
}

/// G5, E2: while it is away not even what has outlived its own Window goes; once it is back, its Window counts again.
#[tokio::test]
async fn nothing_goes_while_it_may_come_back() {
    let short = |acme: Organization| acme.ttl(60).window(600);
    let two = two(short).await;
    two.remove().await;
    two.house.advance_seconds(HOUR + SLACK - 1);
    two.house.collect().await;
    assert_eq!(held(&two.house).await, 1);
    two.put(short(Organization::of(&two.upstream))).await;
    two.house.collect().await;
    assert_eq!(held(&two.house).await, 0);
}

/// G5: after `max(Window, 1 h)` its content dies, endless tags included, and it comes back empty.
#[tokio::test]
async fn after_an_hour_it_comes_back_empty() {
    for (window, away) in [(0, HOUR), (2 * HOUR, 2 * HOUR)] {
        let endless = |acme: Organization| acme.ttl(0).window(window);
        let mut two = two(endless).await;
        two.remove().await;
        two.house.advance_seconds(away + SLACK - 1);
        two.house.collect().await;
        assert_eq!(held(&two.house).await, 1);
        two.house.advance_seconds(1);
        two.house.collect().await;
        assert_eq!(held(&two.house).await, 0);
        two.house.collect_fully().await;
        super::assert_nothing_is_left(&two.house).await;
        assert_eq!(
            two.house.number("SELECT count(*) FROM organization").await,
            1,
            "only the bystander is left"
        );
        two.put(endless(Organization::of(&two.upstream))).await;
        two.upstream.stopped().await;
        two.house
            .manifest("app", "1")
            .await
            .assert_error(502, "UNAVAILABLE");
        two.upstream.resume();
        pull_into(&two.house, "acme", "app", "1", &two.image).await;
        two.house.audit().await;
    }
}

/// G5: another id, or another upstream, under the same name starts empty: nothing of the old one is served, by tag,
/// by digest or as a blob, and the old content dies by itself.
#[tokio::test]
async fn another_identity_under_the_same_name_starts_empty() {
    let elsewhere = FakeUpstream::start().await;
    for other in ["id", "upstream"] {
        let mut two = two(|acme| acme.window(0)).await;
        let anew = if other == "id" {
            Organization::of(&two.upstream)
                .set("id", json!("another"))
                .window(0)
        } else {
            Organization::of(&elsewhere).window(0)
        };
        two.put(anew.clone()).await;
        two.upstream.stopped().await;
        elsewhere.stopped().await;
        assert!(two.house.tags("app").await.is_empty(), "{other}");
        for reference in ["1", two.image.digest()] {
            let answer = two.house.manifest("app", reference).await;
            assert_eq!(answer.status, 502, "{other}: {}", answer.summary());
        }
        for blob in two.image.blobs() {
            let answer = two.house.blob("app", &blob.digest).await;
            assert_eq!(answer.status, 404, "{other}: {}", answer.summary());
        }
        two.house.advance_seconds(HOUR + SLACK);
        two.house.collect_fully().await;
        super::assert_nothing_is_left(&two.house).await;

        // The new one lives on its own, and the old one is not what comes back under its identity.
        two.upstream.resume();
        elsewhere.resume();
        elsewhere.push("app", "1", &two.image);
        pull_into(&two.house, "acme", "app", "1", &two.image).await;
        two.put(Organization::of(&two.upstream).window(0)).await;
        two.upstream.stopped().await;
        assert!(two.house.tags("app").await.is_empty(), "{other}");
        two.house.audit().await;
    }
}

/// G5: an identity is `id` and upstream; with a new name it keeps what it has.
#[tokio::test]
async fn a_new_name_keeps_the_content() {
    let with_id = |acme: Organization| acme.set("id", json!("6f1c"));
    let mut two = two(with_id).await;
    two.put(with_id(Organization::of(&two.upstream)).named("renamed"))
        .await;
    two.upstream.stopped().await;
    two.assert_gone(401).await;
    pull_into(&two.house, "renamed", "app", "1", &two.image).await;
    two.house.audit().await;
}

/// G5, C3: what is being transferred when its organization disappears is finished.
#[tokio::test]
async fn a_transfer_is_finished_though_its_organization_disappears() {
    let two = two(|acme| acme).await;
    let large = Image::random(9, &[1 << 20]);
    two.upstream.push("app", "large", &large);
    two.house.manifest("app", "large").await;
    let gate = Gate::closed();
    two.upstream
        .script(On::blob(), Fault::HoldAfter(500_000, gate.clone()));
    let layer = &large.layers[0];
    let removal = async {
        gate.reached().await;
        two.remove().await;
        two.assert_gone(401).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(two.house.blob("app", &layer.digest), removal);
    answer.assert_body(&layer.bytes);
}

/// G5, C3: an entry that is no good any more is not absent: after a restart it is not served, and nothing of it dies
/// for that.
#[tokio::test]
async fn an_entry_that_is_no_good_is_not_removed() {
    let mut two = two(|acme| acme.ttl(10 * HOUR).window(0)).await;
    let broken = Organization::of(&two.upstream).set("visibility", json!("Sometimes"));
    two.put(broken).await;
    two.house.restart().await;
    two.assert_gone(401).await;
    two.house.advance_seconds(2 * HOUR);
    two.house.collect().await;
    assert_eq!(held(&two.house).await, 1);
    two.put(Organization::of(&two.upstream).ttl(10 * HOUR).window(0))
        .await;
    two.upstream.stopped().await;
    pull_into(&two.house, "acme", "app", "1", &two.image).await;
}
