//! Quotas of an organization that several replicas admit into.

use std::time::{Duration, Instant};

use futures::future::join_all;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::{Blob, Image};
use quayside_tests::replicas::{Fleet, acme};
use serde_json::json;

const LAYER: usize = 70_000;
/// Room for three images, and not for four.
const QUOTA: i64 = 250_000;
const PULLS: usize = 12;

struct Scene {
    fleet: Fleet,
    images: Vec<Image>,
    _upstream: FakeUpstream,
}

impl Scene {
    /// Images under the tag `1` of `app<n>`, and two replicas that enforce a quota.
    async fn of(count: usize) -> Self {
        let upstream = FakeUpstream::start().await;
        let images: Vec<Image> = (1..=count as u64)
            .map(|seed| Image::random(seed, &[LAYER]))
            .collect();
        for (number, image) in images.iter().enumerate() {
            upstream.push(&format!("app{number}"), "1", image);
        }
        let organization = acme(&upstream.authority(), &json!({ "storageQuotaBytes": QUOTA }));
        let enforce = json!({ "FEATURE_QUOTA_MANAGEMENT": true });
        let fleet = Fleet::planned(&[organization], |plan| plan.settings = enforce).await;
        Self {
            fleet,
            images,
            _upstream: upstream,
        }
    }

    async fn pull(&self, replica: usize, image: usize) {
        let repository = format!("app{image}");
        let answer = self
            .fleet
            .manifest(self.fleet.at(replica), &repository, "1")
            .await;
        answer.assert_body(self.images[image].body());
    }

    /// The images that are held, by their numbers.
    async fn held(&self) -> Vec<usize> {
        let mut held = Vec::new();
        for number in 0..self.images.len() {
            let query = "SELECT count(*) FROM tag t JOIN repository r ON r.id = t.repository_id \
                         WHERE r.name IN ($1, 'acme/' || $1) AND t.name = '1'";
            if self.fleet.number_of(query, &format!("app{number}")).await == 1 {
                held.push(number);
            }
        }
        held
    }

    /// When an image was used last, as the database says.
    async fn last_use(&self, image: usize) -> i64 {
        let query = "SELECT t.pulled_at FROM tag t JOIN repository r ON r.id = t.repository_id \
                     WHERE r.name IN ($1, 'acme/' || $1) AND t.name = '1'";
        self.fleet.number_of(query, &format!("app{image}")).await
    }

    /// Returns when a use of an image is known to all; how long that took.
    async fn known(&self, image: usize, before: i64) -> Duration {
        let begun = Instant::now();
        eventually("the use is known", || async {
            self.last_use(image).await > before
        })
        .await;
        begun.elapsed()
    }
}

/// Q8, M15: twelve images are pulled at once through two replicas into room for three. All are served, and at no moment
/// does the organization hold more than its quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admissions_on_two_replicas_never_overshoot() {
    let scene = Scene::of(PULLS).await;
    let pulls = join_all((0..PULLS * 4).map(|pull| scene.pull(pull % 2, pull / 4)));
    let mut samples = Vec::new();
    tokio::pin!(pulls);
    loop {
        tokio::select! {
            _ = &mut pulls => break,
            used = scene.fleet.number("SELECT usage_bytes FROM organization") => samples.push(used),
        }
    }
    let highest = samples.iter().max().copied().unwrap_or_default();
    assert!(samples.len() > 3, "{} samples", samples.len());
    assert!(highest <= QUOTA, "{highest} of {QUOTA} bytes");
    let one = i64::try_from(scene.images[0].blobs().map(Blob::size).sum::<u64>()).unwrap();
    assert!(highest > one, "at most {highest} bytes were ever held");
    scene.fleet.audit_at_rest().await;
}

/// Q5, M15: what one replica prunes is what was used least recently anywhere: a pull counts a second later, a HEAD if the
/// last use is more than a minute ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_on_another_replica_is_spared() {
    let scene = Scene::of(5).await;
    for (replica, image) in [(0, 0), (1, 1), (0, 2)] {
        scene.pull(replica, image).await;
    }
    assert_eq!(scene.held().await, [0, 1, 2]);
    let before = scene.last_use(2).await.max(scene.last_use(0).await);
    // Later by more than what a clock that jumps back by a tick could hide.
    eventually("a moment passes", || async {
        let now = "SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint";
        scene.fleet.number(now).await > before + 50
    })
    .await;
    scene.pull(0, 0).await;
    let took = scene.known(0, before).await;
    assert!(
        took < Duration::from_secs(2),
        "the pull was written {took:?} later"
    );
    scene.pull(1, 3).await;
    assert_eq!(
        scene.held().await,
        [0, 2, 3],
        "the second was used least recently"
    );

    // Two minutes pass; the first replica has never seen the fourth.
    scene
        .fleet
        .change("UPDATE tag SET pulled_at = pulled_at - 120000")
        .await;
    let last = "UPDATE tag SET pulled_at = pulled_at - 120000 FROM repository r \
                WHERE r.id = repository_id AND r.name IN ('app3', 'acme/app3')";
    scene.fleet.change(last).await;
    let before = scene.last_use(3).await;
    let url = format!("http://{}/v2/acme/app3/manifests/1", scene.fleet.at(0));
    let head = scene.fleet.client().head(url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    let took = scene.known(3, before).await;
    assert!(
        took < Duration::from_secs(2),
        "the HEAD was written {took:?} later"
    );
    scene.pull(1, 4).await;
    assert_eq!(scene.held().await, [0, 3, 4], "the third was used least recently");
    scene.fleet.audit_at_rest().await;
}
