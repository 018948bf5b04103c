//! Real clients log in, each in its own way, and pull from an organization that is for its members only.

use http::Method;
use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::crane::Crane;
use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::helm::Helm;
use quayside_tests::house::{House, Organization, USERS};
use quayside_tests::images::{Format, Index};
use quayside_tests::podman::Podman;
use quayside_tests::ports;
use quayside_tests::recorder::Recorder;
use serde_json::json;

use super::scene::{REPOSITORY, two_platforms};

const ROBOT_PASSWORD: &str = "canary-robot-92eb5ffee6ae2fec3ad71c777531578f";

/// A house that clients reach through a recorder, so that it is known what they sent.
struct Gate {
    front: Recorder,
    house: House,
    index: Index,
    _upstream: Distribution,
}

impl Gate {
    /// Private: the member `alice`, the robot `acme+ci`; two repositories upstream.
    async fn new() -> Self {
        let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
        let index = two_platforms(Format::Oci);
        for repository in [REPOSITORY, "lib/other"] {
            upstream.repository(repository).index("1", &index).await;
        }
        Self::before(upstream, index).await
    }

    async fn before(upstream: Distribution, index: Index) -> Self {
        let address = ports::free();
        let front = Recorder::start(address).await;
        let acme = Organization::at(&upstream.address().to_string())
            .private()
            .member("alice");
        let house = House::builder()
            .config("/listen", json!(address.to_string()))
            .config("/SERVER_HOSTNAME", json!(front.address().to_string()))
            .system_clock()
            .organization(acme.robot("ci", ROBOT_PASSWORD))
            .start()
            .await;
        Self {
            front,
            house,
            index,
            _upstream: upstream,
        }
    }

    /// `host:port`, as clients know it.
    fn registry(&self) -> String {
        self.front.address().to_string()
    }

    fn image(&self, repository: &str) -> String {
        format!("{}/acme/{repository}:1", self.registry())
    }

    /// How often the token service was asked, by method.
    fn tokens(&self, method: &Method) -> usize {
        let seen = self.front.seen();
        let asked = seen
            .iter()
            .filter(|seen| seen.path.starts_with("/v2/auth") && seen.method == *method);
        asked.count()
    }

    async fn cached(&self) -> bool {
        self.house.rows().await > 0
    }
}

fn password_of(user: &str) -> &'static str {
    USERS.iter().find(|(name, _, _)| *name == user).expect("a user").1
}

/// A1, A2, A4: podman logs in with the right password only, pulls two images, and is refused again when it logged out.
#[tokio::test(flavor = "multi_thread")]
async fn podman_logs_in_and_pulls() {
    let gate = Gate::new().await;
    let podman = Podman::new();
    let refused = podman.pull(&gate.image(REPOSITORY)).await.failed();
    assert!(refused.contains("unauthorized"), "{refused}");
    let wrong = podman
        .login(&gate.registry(), "alice", "canary-wrong-1")
        .await
        .failed();
    assert!(wrong.contains("invalid username/password"), "{wrong}");
    assert!(!gate.cached().await);
    podman
        .login(&gate.registry(), "alice", password_of("alice"))
        .await
        .ok();
    for repository in [REPOSITORY, "lib/other"] {
        podman.pull(&gate.image(repository)).await.ok();
    }
    podman.logout(&gate.registry()).await.ok();
    podman.pull(&gate.image(REPOSITORY)).await.failed();
}

/// A2, A3: a robot logs in like anybody.
#[tokio::test(flavor = "multi_thread")]
async fn podman_logs_in_as_a_robot() {
    let gate = Gate::new().await;
    let podman = Podman::new();
    podman
        .login(&gate.registry(), "acme+ci", ROBOT_PASSWORD)
        .await
        .ok();
    podman.pull(&gate.image(REPOSITORY)).await.ok();
}

/// A3, A4: who may log in and has no role is told so, and nothing is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn podman_shows_that_a_role_is_missing() {
    let gate = Gate::new().await;
    let podman = Podman::new();
    podman
        .login(&gate.registry(), "bob", password_of("bob"))
        .await
        .ok();
    let refused = podman.pull(&gate.image(REPOSITORY)).await.failed();
    assert!(
        refused.contains("bob has no role in organization acme"),
        "{refused}"
    );
    assert!(!gate.cached().await);
}

async fn containerd_pulls_as_a_user(version: Version) {
    let gate = Gate::new().await;
    let containerd = Containerd::start(version).await;
    for repository in [REPOSITORY, "lib/other"] {
        let image = gate.image(repository);
        containerd.pull(&image).await.failed();
        containerd
            .pull_as(&image, "alice", "canary-wrong-2")
            .await
            .failed();
        containerd
            .pull_as(&image, "bob", password_of("bob"))
            .await
            .failed();
        gate.front.forget();
        containerd
            .pull_as(&image, "alice", password_of("alice"))
            .await
            .ok();
        assert_eq!(containerd.digest(&image).await, gate.index.digest());
        assert!(gate.tokens(&Method::POST) > 0, "{:?}", gate.front.seen());
        assert_eq!(gate.tokens(&Method::GET), 0, "{:?}", gate.front.seen());
    }
}

/// A1, A4: containerd 1.6 posts its password to the token service.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_1_pulls_as_a_user() {
    containerd_pulls_as_a_user(Version::One).await;
}

/// A1, A4: containerd 2.4 does so too.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_2_pulls_as_a_user() {
    containerd_pulls_as_a_user(Version::Two).await;
}

/// A1, L1: crane with its credentials reads everything, the tag list and the catalog; without them nothing.
#[tokio::test(flavor = "multi_thread")]
async fn crane_logs_in_and_reads_everything() {
    let gate = Gate::new().await;
    let (nobody, crane) = (Crane::new(), Crane::new());
    let (image, registry) = (gate.image(REPOSITORY), gate.registry());
    nobody.validate(&image).await.failed();
    crane.login(&registry, "alice", password_of("alice")).await.ok();
    let valid = crane.validate(&image).await.ok();
    assert!(valid.starts_with("PASS"), "{valid}");
    let repository = format!("acme/{REPOSITORY}");
    assert_eq!(crane.tags(&format!("{registry}/{repository}")).await.ok(), "1");
    assert_eq!(crane.catalog(&registry).await.ok(), repository);
    nobody.tags(&format!("{registry}/{repository}")).await.failed();
    nobody.catalog(&registry).await.failed();
}

/// A1, M12: helm posts its password without a scope to log in, and pulls a chart.
#[tokio::test(flavor = "multi_thread")]
async fn helm_logs_in_and_pulls_a_chart() {
    let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let maker = Helm::new();
    maker
        .push("demo", &format!("{}/charts", upstream.address()))
        .await;
    let gate = Gate::before(upstream, two_platforms(Format::Oci)).await;
    let helm = Helm::new();
    let chart = format!("{}/acme/charts/demo", gate.registry());
    helm.pull(&chart).await.failed();
    helm.login(&gate.registry(), "alice", "canary-wrong-3")
        .await
        .failed();
    assert!(!gate.cached().await);
    gate.front.forget();
    helm.login(&gate.registry(), "alice", password_of("alice"))
        .await
        .ok();
    assert_eq!(gate.tokens(&Method::POST), 1, "{:?}", gate.front.seen());
    helm.pull(&chart).await.ok();
    assert!(helm.archive("demo") == maker.archive("demo"), "another chart");
}
