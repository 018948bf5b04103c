//! SPEC §3, B9: one copy of the bytes for all organizations, and who may have it.

use http::Method;
use quayside_tests::eventually::{eventually, never};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Login, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};

const USER: &str = "robot";
const PASSWORD: &str = "canary-sharing-b01dface";

/// An organization `secret` that logs in, one `other` that does not, each with an upstream of its own that names the
/// same layer.
struct Two {
    secret: FakeUpstream,
    other: FakeUpstream,
    house: House,
    layer: Blob,
}

async fn two(length: usize) -> Two {
    let login = Login::Basic {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let (secret, other) = (FakeUpstream::with_login(login).await, FakeUpstream::start().await);
    let image = Image::random(1, &[length]);
    secret.push("app", "1", &image);
    other.push("app", "1", &image);
    let house = House::builder()
        .organization(
            Organization::of(&secret)
                .named("secret")
                .credentials(USER, PASSWORD),
        )
        .organization(Organization::of(&other).named("other"))
        .start()
        .await;
    for organization in ["secret", "other"] {
        let answer = house.get(&format!("/v2/{organization}/app/manifests/1")).await;
        answer.assert_body(image.body());
    }
    Two {
        secret,
        other,
        house,
        layer: image.layers[0].clone(),
    }
}

impl Two {
    fn path(&self, organization: &str) -> String {
        format!("/v2/{organization}/app/blobs/{}", self.layer.digest)
    }

    fn gets(&self) -> (usize, usize) {
        (
            self.secret.count(&Method::GET, &self.layer.digest),
            self.other.count(&Method::GET, &self.layer.digest),
        )
    }

    async fn stored(&self) {
        self.house.stored(&self.layer.digest).await;
    }
}

/// B4, B9: HEAD of what another organization obtained with credentials says what the own manifest declares, and
/// nothing of the other's bytes.
#[tokio::test]
async fn head_tells_nothing_of_bytes_obtained_by_others() {
    let two = two(5000).await;
    let lies = Image::builder().layer_declared(two.layer.clone(), 7000).build();
    two.other.push("lies", "1", &lies);
    let get = async |path: &str| two.house.get(path).await;
    get("/v2/other/lies/manifests/1").await.assert_body(lies.body());
    get(&two.path("secret")).await.assert_body(&two.layer.bytes);
    two.stored().await;
    let path = format!("/v2/other/lies/blobs/{}", two.layer.digest);
    let declared = two.house.head(&path).await;
    assert_eq!(
        (declared.status, declared.header("content-length")),
        (200, "7000")
    );
    // The own upstream says how long it is, and that is how long it is.
    get(&path).await.assert_body(&two.layer.bytes);
    eventually("the real size is told", || async {
        two.house.head(&path).await.header("content-length") == "5000"
    })
    .await;
}

/// B9: what was obtained with credentials is not served to an organization whose own upstream does not have it.
#[tokio::test]
async fn bytes_obtained_with_credentials_are_not_served_to_others() {
    let two = two(5000).await;
    two.other.remove_blob("app", &two.layer.digest);
    two.house
        .get(&two.path("secret"))
        .await
        .assert_body(&two.layer.bytes);
    two.stored().await;
    two.house
        .get(&two.path("other"))
        .await
        .assert_error(404, "BLOB_UNKNOWN");
    two.other.stopped().await;
    two.house
        .get(&two.path("other"))
        .await
        .assert_error(502, "UNAVAILABLE");
}

/// B9: an organization whose own upstream delivers the bytes once has proved them; they are stored once.
#[tokio::test]
async fn one_delivery_by_the_own_upstream_is_the_proof() {
    let two = two(300_000).await;
    two.house
        .get(&two.path("other"))
        .await
        .assert_body(&two.layer.bytes);
    two.stored().await;
    // Obtained anonymously: free for all.
    two.house
        .get(&two.path("secret"))
        .await
        .assert_body(&two.layer.bytes);
    assert_eq!(two.gets(), (0, 1));
}

/// B9: with credentials on both sides each proves for itself, and only once.
#[tokio::test]
async fn each_organization_with_credentials_proves_for_itself() {
    let login = || Login::Basic {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let (first, second) = (
        FakeUpstream::with_login(login()).await,
        FakeUpstream::with_login(login()).await,
    );
    let image = Image::random(1, &[200_000]);
    first.push("app", "1", &image);
    second.push("app", "1", &image);
    let house = House::builder()
        .organization(
            Organization::of(&first)
                .named("first")
                .credentials(USER, PASSWORD),
        )
        .organization(
            Organization::of(&second)
                .named("second")
                .credentials(USER, PASSWORD),
        )
        .start()
        .await;
    let layer = &image.layers[0];
    for _ in 0..2 {
        for organization in ["first", "second"] {
            assert_eq!(
                house
                    .get(&format!("/v2/{organization}/app/manifests/1"))
                    .await
                    .status,
                200
            );
            let answer = house
                .get(&format!("/v2/{organization}/app/blobs/{}", layer.digest))
                .await;
            answer.assert_body(&layer.bytes);
            house.stored(&layer.digest).await;
            eventually("the fill has ended", || async {
                house.number("SELECT count(*) FROM fill").await == 0
            })
            .await;
        }
    }
    assert_eq!(first.count(&Method::GET, &layer.digest), 1);
    assert_eq!(second.count(&Method::GET, &layer.digest), 1);
    assert_eq!(house.files().len(), 1, "{:?}", house.files());
    assert_eq!(house.number("SELECT count(*) FROM proof").await, 2);
}

/// B9: a proof that turns out wrong gives nothing away.
#[tokio::test]
async fn a_wrong_proof_proves_nothing() {
    let two = two(5000).await;
    two.house
        .get(&two.path("secret"))
        .await
        .assert_body(&two.layer.bytes);
    two.stored().await;
    two.other.script(On::blob(), Fault::Flip(7));
    two.house
        .get(&two.path("other"))
        .await
        .assert_error(502, "DIGEST_INVALID");
    two.other.heal();
    two.house
        .get(&two.path("other"))
        .await
        .assert_body(&two.layer.bytes);
    two.house
        .get(&two.path("other"))
        .await
        .assert_body(&two.layer.bytes);
    assert_eq!(two.gets(), (1, 2));
}

/// B9: a running fill with credentials is not followed by an organization without them; each asks its own upstream.
#[tokio::test]
async fn a_running_fill_is_shared_by_the_same_rule() {
    let two = two(1 << 20).await;
    let gate = Gate::closed();
    two.secret
        .script(On::blob(), Fault::HoldAfter(500_000, gate.clone()));
    let (secret_path, other_path) = (two.path("secret"), two.path("other"));
    let secret = two.house.get(&secret_path);
    let other = async {
        gate.reached().await;
        let answer = two.house.get(&other_path).await;
        answer.assert_body(&two.layer.bytes);
        gate.open();
    };
    let (secret, ()) = tokio::join!(secret, other);
    secret.assert_body(&two.layer.bytes);
    assert_eq!(two.gets(), (1, 1));
    two.house.stored(&two.layer.digest).await;
    // The copy that lost is garbage: its bytes go with the next collection.
    eventually("one copy is no garbage", || async {
        let garbage = two.house.number("SELECT count(*) FROM garbage").await;
        i64::try_from(two.house.files().len()).unwrap() == 1 + garbage
    })
    .await;
}

/// B9: an anonymous fill that runs is followed by everybody.
#[tokio::test]
async fn an_anonymous_fill_is_followed_by_everybody() {
    let two = two(1 << 20).await;
    let gate = Gate::closed();
    two.other
        .script(On::blob(), Fault::HoldAfter(500_000, gate.clone()));
    let (secret_path, other_path) = (two.path("secret"), two.path("other"));
    let other = two.house.get(&other_path);
    let secret = async {
        gate.reached().await;
        let follower = two.house.get(&secret_path);
        let opener = async {
            never("the own upstream is asked", || async { two.gets().0 > 0 }).await;
            gate.open();
        };
        tokio::join!(follower, opener).0
    };
    let (other, secret) = tokio::join!(other, secret);
    other.assert_body(&two.layer.bytes);
    secret.assert_body(&two.layer.bytes);
    assert_eq!(two.gets(), (0, 1));
}

/// B1, B9: the same image in two repositories of one organization is stored once and fetched once.
#[tokio::test]
async fn two_repositories_share_one_copy() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("one", "1", &image);
    upstream.push("two", "1", &image);
    let house = House::with(Organization::of(&upstream)).await;
    let layer = &image.layers[0];
    for repository in ["one", "two"] {
        house.manifest(repository, "1").await.assert_body(image.body());
        house
            .blob(repository, &layer.digest)
            .await
            .assert_body(&layer.bytes);
        house.stored(&layer.digest).await;
    }
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 1);
}
