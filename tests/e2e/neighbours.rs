//! What happens to one request must not change the answer to another: other organizations' upstreams, other pulls of
//! the same batch, other words than ours.

use http::Method;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Login, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;

use crate::scene::scene;

const USER: &str = "robot";
const PASSWORD: &str = "canary-neighbours-7f31c0de";

/// Two organizations, each with an upstream of its own that has the same image.
struct Neighbours {
    slow: FakeUpstream,
    healthy: FakeUpstream,
    house: House,
    image: Image,
}

async fn neighbours(layers: &[usize]) -> Neighbours {
    let (slow, healthy) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let image = Image::random(1, layers);
    slow.push("app", "1", &image);
    healthy.push("app", "1", &image);
    let house = House::builder()
        .organization(Organization::of(&slow).named("slow"))
        .organization(Organization::of(&healthy).named("healthy"))
        .start()
        .await;
    for organization in ["slow", "healthy"] {
        let answer = house.get(&format!("/v2/{organization}/app/manifests/1")).await;
        answer.assert_body(image.body());
    }
    Neighbours {
        slow,
        healthy,
        house,
        image,
    }
}

impl Neighbours {
    fn path(&self, organization: &str, layer: usize) -> String {
        format!("/v2/{organization}/app/blobs/{}", self.image.layers[layer].digest)
    }
}

/// B11, M8: who waits for a fill that another organization's upstream refuses hears what its own upstream says.
#[tokio::test]
async fn the_refusal_of_another_organizations_upstream_is_not_passed_on() {
    let all = neighbours(&[300_000]).await;
    let gate = Gate::closed();
    all.slow.script(On::blob(), Fault::Hold(gate.clone()));
    all.slow.script(On::blob(), Fault::error(404, "BLOB_UNKNOWN"));
    let (slow, healthy) = (all.path("slow", 0), all.path("healthy", 0));
    let first = async { all.house.get(&slow).await };
    let second = async {
        gate.reached().await;
        let joined = all.house.get(&healthy);
        let opened = async {
            // Long enough for the other request to have joined.
            for _ in 0..20 {
                all.house.head(&healthy).await;
            }
            gate.open();
        };
        tokio::join!(joined, opened).0
    };
    let (first, second) = tokio::join!(first, second);
    first.assert_error(404, "BLOB_UNKNOWN");
    second.assert_body(&all.image.layers[0].bytes);
    assert_eq!(all.healthy.count(&Method::GET, &all.image.layers[0].digest), 1);
}

/// B2: an upstream that hangs holds up its own blobs and nobody else's.
#[tokio::test]
async fn a_hanging_upstream_delays_no_other_organization() {
    const LAYERS: usize = 40;
    let all = neighbours(&[1000; LAYERS]).await;
    all.slow.script(On::blob(), Fault::BlackHole);
    // All but the last: a fill that runs is shared.
    let paths: Vec<String> = (1..LAYERS).map(|layer| all.path("slow", layer - 1)).collect();
    let waiting = futures::future::join_all(paths.iter().map(|path| all.house.get(path)));
    let served = async {
        all.slow
            .wait_for(32, |request| request.path.contains("/blobs/"))
            .await;
        let path = all.path("healthy", LAYERS - 1);
        all.house.get(&path).await
    };
    let answer = tokio::select! {
        _ = waiting => panic!("the upstream answered"),
        answer = served => answer,
    };
    answer.assert_body(&all.image.layers[LAYERS - 1].bytes);
}

/// M9, M11: a tag that a digest pull has just revived lives, although the batch that says so is not written yet.
#[tokio::test]
async fn a_revival_counts_before_it_is_written() {
    let scene = scene(|acme| acme.ttl(600)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(601);
    let head = scene.house.head_manifest("alpine", "1").await;
    assert_eq!(head.status, 200);
    scene.house.manifest("alpine", &scene.image.manifest.digest).await;
    scene.upstream.script(On::any(), Fault::status(503));
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
}

/// M9, M15: a failed check takes nothing from the digest pull before it, also when another one follows.
#[tokio::test]
async fn a_failure_does_not_undo_the_pull_before_it() {
    let scene = scene(|acme| acme.ttl(600)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(601);
    scene.house.head_manifest("alpine", "1").await;
    scene.house.manifest("alpine", &scene.image.manifest.digest).await;
    scene.upstream.script(On::any(), Fault::status(503));
    scene.house.head_manifest("alpine", "1").await;
    scene.house.manifest("alpine", &scene.image.manifest.digest).await;
    scene.house.manifest("alpine", "1").await.assert_cache("STALE");
}

/// A6, M7: an upstream that repeats what it was sent is not quoted.
#[tokio::test]
async fn an_upstream_that_repeats_our_password_is_not_quoted() {
    let upstream = FakeUpstream::with_login(Login::Basic {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    })
    .await;
    upstream.push("app", "1", &Image::random(1, &[10]));
    let house = House::with(Organization::of(&upstream).credentials(USER, PASSWORD)).await;
    house.manifest("app", "1").await.assert_cache("MISS");
    let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"no: {USER}:{PASSWORD}"}}]}}"#);
    upstream.script(
        On::manifest(),
        Fault::Status {
            status: 403,
            headers: Vec::new(),
            body,
        },
    );
    let answer = house.manifest("app", "2").await;
    answer.assert_error(403, "DENIED");
    assert!(!answer.message().contains(PASSWORD), "{}", answer.message());
}

/// A1: half a login, or a login without its grant, is not taken for nobody.
#[tokio::test]
async fn half_a_login_gets_no_token() {
    let scene = scene(|acme| acme).await;
    for (form, status) in [
        ("grant_type=password&username=alice", 401),
        ("grant_type=password&username=&password=secret", 401),
        ("username=alice&password=wrong", 400),
        ("grant_type=password", 200),
    ] {
        let call = scene.house.call(Method::POST, "/v2/auth").body(form);
        let answer = call
            .header("content-type", "application/x-www-form-urlencoded")
            .send()
            .await;
        assert_eq!(answer.status, status, "{form}: {}", answer.summary());
    }
}

/// L1, M9: a tag that a digest pull has just revived is in the list at once.
#[tokio::test]
async fn a_revived_tag_is_listed_at_once() {
    let scene = scene(|acme| acme.ttl(600)).await;
    scene.house.manifest("alpine", "1").await;
    scene.house.advance_seconds(601);
    scene.house.head_manifest("alpine", "1").await;
    scene.house.manifest("alpine", &scene.image.manifest.digest).await;
    assert_eq!(scene.house.tags("alpine").await, ["1"]);
}

/// C2, E1: a pull in the last moment of a life is a whole pull: what it renewed is live for what follows it.
#[tokio::test]
async fn a_pull_in_the_last_second_is_not_cut_in_half() {
    let mut scene = scene(|acme| acme.ttl(600)).await;
    let layer = scene.image.layers[0].clone();
    scene.house.manifest("alpine", "1").await;
    scene
        .house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    scene.house.stored(&layer.digest).await;
    scene
        .house
        .restart_with("FEATURE_PROXY_CACHE", serde_json::json!(false))
        .await;
    scene.house.advance_seconds(599);
    scene.house.manifest("alpine", "1").await.assert_cache("HIT");
    scene.house.advance_seconds(2);
    let digest = &scene.image.manifest.digest;
    scene.house.manifest("alpine", digest).await.assert_cache("HIT");
    scene
        .house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
}

/// E3, E2: when a TTL of 0 ends, what memory says of endless tags ends with it.
#[tokio::test]
async fn an_endless_tag_that_got_an_end_dies_then() {
    let scene = scene(|acme| acme.ttl(0).revalidate(3600)).await;
    scene.house.manifest("alpine", "1").await;
    let limited = Organization::of(&scene.upstream).ttl(2).revalidate(3600);
    scene.house.reload(&[limited]).await;
    scene.house.advance_seconds(3);
    scene.upstream.script(On::any(), Fault::status(503));
    let answer = scene.house.manifest("alpine", "1").await;
    answer.assert_error(502, "UNAVAILABLE");
}
