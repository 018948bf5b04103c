//! Manifests are fetched once, and a failure is told to all who waited for it.

use futures::future::join_all;
use http::Method;
use quayside_tests::eventually::{eventually, never, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{Answer, House, Organization, Pair};
use quayside_tests::images::Image;
use serde_json::json;

struct Scene {
    upstream: FakeUpstream,
    pair: Pair,
}

async fn scene() -> Scene {
    let upstream = FakeUpstream::start().await;
    let pair = Pair::start(|builder, _| builder.organization(Organization::of(&upstream))).await;
    Scene { upstream, pair }
}

impl Scene {
    fn houses(&self) -> [&House; 2] {
        [&self.pair.first, &self.pair.second]
    }

    /// How often upstream was asked for a manifest.
    fn fetches(&self) -> usize {
        self.upstream.count_kind(&Method::GET, Kind::Manifest)
    }

    /// Holds the next answer with a manifest back, and gives it a fault.
    fn held(&self, fault: Option<Fault>) -> Gate {
        let gate = Gate::closed();
        let on = || On::manifest().get().once();
        self.upstream.script(on(), Fault::Hold(gate.clone()));
        if let Some(fault) = fault {
            self.upstream.script(on(), fault);
        }
        gate
    }

    /// Asks both replicas for it, five times each, while the first fetch hangs; opens the gate when all wait.
    async fn asked_of_both(&self, gate: &Gate, method: &Method, reference: &str) -> Vec<Answer> {
        let path = format!("/v2/acme/app/manifests/{reference}");
        let asked = self.fetches();
        let pulls = (0..10).map(|number| {
            let call = self.houses()[number % 2].call(method.clone(), &path);
            call.user("alice").send()
        });
        let opened = async {
            gate.reached().await;
            never("a second replica asks", || async { self.fetches() > asked + 1 }).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(join_all(pulls), opened);
        assert_eq!(self.fetches(), asked + 1);
        answers
    }

    async fn leases(&self) -> i64 {
        self.pair
            .number("SELECT count(*) FROM lease WHERE name <> 'worker'")
            .await
    }
}

/// M2, M10, M11: whatever is asked for at two replicas at once, upstream gets one GET, and all are answered.
#[tokio::test]
async fn a_manifest_that_two_replicas_want_is_fetched_once() {
    let scene = scene().await;
    for (number, method) in [(1, Method::GET), (2, Method::HEAD)] {
        let tag = number.to_string();
        let [tagged, untagged] = [number, number + 10].map(|seed| Image::random(seed, &[100]));
        scene.upstream.push("app", &tag, &tagged);
        scene.upstream.push_untagged("app", &untagged);
        for (reference, image) in [(tag.as_str(), &tagged), (untagged.digest(), &untagged)] {
            let gate = scene.held(None);
            for answer in scene.asked_of_both(&gate, &method, reference).await {
                assert_eq!(answer.status, 200, "{}", answer.summary());
                assert_eq!(answer.header("docker-content-digest"), image.digest());
                answer.assert_cache("MISS");
                if method == Method::GET {
                    answer.assert_body(image.body());
                }
            }
        }
    }
    assert_eq!(scene.leases().await, 0, "all are given back");
}

/// M4: a tag that moved is checked by each replica, and what it moved to is fetched once.
#[tokio::test]
async fn a_tag_that_moved_is_fetched_once() {
    let scene = scene().await;
    let [before, after] = [1, 2].map(|seed| Image::random(seed, &[100]));
    scene.upstream.push("app", "1", &before);
    for house in scene.houses() {
        house.manifest("app", "1").await.assert_body(before.body());
    }
    scene.upstream.push("app", "1", &after);

    let gate = scene.held(None);
    let answers = scene.asked_of_both(&gate, &Method::GET, "1").await;

    for answer in answers {
        answer.assert_body(after.body());
    }
    let current = "SELECT count(*) FROM tag WHERE current AND name = '1'";
    assert_eq!(scene.pair.number(current).await, 1);
}

/// What a client is told, without what differs between any two answers.
fn told(answer: &Answer) -> (u16, serde_json::Value, String) {
    let mut error = answer.json();
    if let Some(detail) = error["errors"][0]["detail"].as_object_mut() {
        detail.remove("requestId");
    }
    (answer.status, error, answer.header("retry-after").to_owned())
}

/// M8, M12: the clients of the replica that waited are told exactly what those of the other one are, and one that
/// comes later makes upstream be asked again.
#[tokio::test]
async fn a_failure_is_told_by_both_replicas() {
    let scene = scene().await;
    let image = Image::random(1, &[100]);
    let table = [
        (Fault::error(404, "MANIFEST_UNKNOWN"), 404, "MANIFEST_UNKNOWN", ""),
        (Fault::error(404, "NAME_UNKNOWN"), 404, "NAME_UNKNOWN", ""),
        (Fault::error(403, "DENIED"), 403, "DENIED", ""),
        (Fault::too_many(Some(17)), 429, "TOOMANYREQUESTS", "17"),
        (Fault::too_many(None), 429, "TOOMANYREQUESTS", "60"),
        (Fault::Replace("[]".into()), 502, "MANIFEST_INVALID", ""),
        (
            Fault::Replace(r#"{"schemaVersion":1}"#.into()),
            404,
            "MANIFEST_UNKNOWN",
            "",
        ),
        (
            Fault::Replace(vec![b' '; 5 << 20].into()),
            502,
            "MANIFEST_INVALID",
            "",
        ),
    ];
    for (number, (fault, status, code, wait)) in table.into_iter().enumerate() {
        let tag = format!("t{number}");
        scene.upstream.push("app", &tag, &image);
        let gate = scene.held(Some(fault));
        let answers = scene.asked_of_both(&gate, &Method::GET, &tag).await;
        let expected = told(&answers[0]);
        assert_eq!((expected.0, expected.2.as_str()), (status, wait));
        for answer in &answers {
            answer.assert_error(status, code);
            assert_eq!(told(answer), expected);
        }
        // The note is still there.
        scene.pair.first.advance_seconds(1);
        assert_eq!(scene.leases().await, 1);
        scene
            .pair
            .second
            .manifest("app", &tag)
            .await
            .assert_body(image.body());
        assert_eq!(scene.leases().await, 0);
    }
}

/// Q7: a refusal by the quota is one as well, and upstream is asked once.
#[tokio::test]
async fn a_refusal_by_the_quota_is_told_by_both_replicas() {
    let upstream = FakeUpstream::start().await;
    let tight = |builder: quayside_tests::house::HouseBuilder, _| {
        let acme = Organization::of(&upstream).set("storageQuotaBytes", json!(1000));
        builder
            .config("/FEATURE_QUOTA_MANAGEMENT", json!(true))
            .organization(acme)
    };
    let pair = Pair::start(tight).await;
    let scene = Scene { upstream, pair };
    scene.upstream.push("app", "1", &Image::random(1, &[100_000]));

    let gate = scene.held(None);
    let answers = scene.asked_of_both(&gate, &Method::GET, "1").await;

    let expected = told(&answers[0]);
    for answer in answers {
        answer.assert_error(403, "DENIED");
        assert_eq!(told(&answer), expected);
    }
}

/// M2: a replica that died while it fetched is waited for until its lease expires, and no longer.
#[tokio::test]
async fn the_lease_of_a_dead_replica_is_taken_over() {
    let scene = scene().await;
    let image = Image::random(1, &[100]);
    scene.upstream.push("app", "1", &image);
    let lease = "INSERT INTO lease (name, holder, expires_at)
                 SELECT 'm:' || id || '/app@1', 'dead', 1800000010000 FROM organization";
    scene.pair.execute(lease).await;

    let pull = scene.pair.second.manifest("app", "1");
    let waits = async {
        never("upstream is asked", || async { scene.fetches() > 0 }).await;
        scene.pair.first.advance_seconds(11);
    };
    let (answer, ()) = soon("it is taken over", async { tokio::join!(pull, waits) }).await;

    answer.assert_body(image.body());
    assert_eq!(scene.fetches(), 1);
}

/// M2: a fetch that takes longer than a lease keeps it.
#[tokio::test]
async fn a_slow_fetch_keeps_its_lease() {
    let scene = scene().await;
    let image = Image::random(1, &[100]);
    scene.upstream.push("app", "1", &image);
    let gate = scene.held(None);
    let slow = async {
        let expiry = "SELECT expires_at FROM lease WHERE name <> 'worker'";
        gate.reached().await;
        for seconds in 1..=8 {
            scene.pair.first.advance_seconds(3);
            // The holder may only now be about to sleep, so time goes on until it has renewed.
            let end = i64::from(seconds) * 3000 + 1_800_000_010_000;
            eventually("the lease is renewed", || async {
                scene.pair.number(expiry).await >= end
            })
            .await;
        }
        assert_eq!(scene.fetches(), 1);
        gate.open();
    };
    let [first, second] = scene.houses();
    let pulls = async { tokio::join!(first.manifest("app", "1"), second.manifest("app", "1")) };
    let ((one, other), ()) = tokio::join!(pulls, slow);
    one.assert_body(image.body());
    other.assert_body(image.body());
    assert_eq!(scene.fetches(), 1);
}
