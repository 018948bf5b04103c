//! Two organizations with upstreams of their own that name the same layer.

use http::Method;
use quayside_tests::eventually::{never, soon};
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, Login, On};
use quayside_tests::house::{Organization, Pair};
use quayside_tests::images::{Blob, Image};

use super::{HALF, LENGTH};

/// The organizations `one` and `other`, whose manifests both replicas know.
struct Two {
    one: FakeUpstream,
    other: FakeUpstream,
    pair: Pair,
    layer: Blob,
}

async fn two(one: FakeUpstream, other: FakeUpstream, change: impl Fn(Organization) -> Organization) -> Two {
    let image = Image::random(1, &[LENGTH]);
    let pair = Pair::start(|builder, _| {
        let named = |upstream, name| change(Organization::of(upstream).named(name));
        builder
            .organization(named(&one, "one"))
            .organization(named(&other, "other"))
    })
    .await;
    for (upstream, name) in [(&one, "one"), (&other, "other")] {
        upstream.push("app", "1", &image);
        let answer = pair.first.get(&format!("/v2/{name}/app/manifests/1")).await;
        answer.assert_body(image.body());
    }
    Two {
        one,
        other,
        pair,
        layer: image.layers[0].clone(),
    }
}

async fn two_open() -> Two {
    two(FakeUpstream::start().await, FakeUpstream::start().await, |open| {
        open
    })
    .await
}

impl Two {
    fn path(&self, name: &str) -> String {
        format!("/v2/{name}/app/blobs/{}", self.layer.digest)
    }
}

/// B9: an organization's own fill is followed by its own clients only.
#[tokio::test]
async fn a_fill_with_credentials_is_followed_within_its_organization() {
    const USER: &str = "robot";
    const PASSWORD: &str = "canary-following-5ca1ab1e";
    let login = || Login::Basic {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let one = FakeUpstream::with_login(login()).await;
    let other = FakeUpstream::with_login(login()).await;
    let two = two(one, other, |locked| locked.credentials(USER, PASSWORD)).await;
    let gate = Gate::closed();
    let on = On::blob().at(&two.layer.digest).once();
    two.one.script(on, Fault::HoldAfter(HALF, gate.clone()));
    let first = two.pair.first.call(Method::GET, &two.path("one")).open().await;
    gate.reached().await;
    let second = two.pair.second.call(Method::GET, &two.path("one")).open().await;
    let answer = two.pair.second.get(&two.path("other")).await;
    answer.assert_body(&two.layer.bytes);
    // Who does not know yet that a login is wanted asks once without.
    let transfers = |upstream: &FakeUpstream| {
        upstream
            .count_where(|request| request.kind == Kind::Blob && !request.header("authorization").is_empty())
    };
    assert_eq!(transfers(&two.other), 1);
    gate.open();
    for response in [first, second] {
        assert_eq!(response.bytes().await.unwrap(), two.layer.bytes);
    }
    assert_eq!(transfers(&two.one), 1);
}

/// B9, B11: bytes that anybody may have are followed by everybody, and one upstream's refusal is not another's.
#[tokio::test]
async fn a_refusal_of_another_upstream_is_not_the_last_word() {
    let two = two_open().await;
    two.one.remove_blob("app", &two.layer.digest);
    let gate = Gate::closed();
    two.one.script(On::blob().once(), Fault::Hold(gate.clone()));
    let asked = || two.other.count(&Method::GET, &two.layer.digest);
    let (of_one, of_other) = (two.path("one"), two.path("other"));
    let second = async {
        gate.reached().await;
        let opened = async {
            never("the other upstream is asked", async || asked() > 0).await;
            gate.open();
        };
        tokio::join!(two.pair.second.get(&of_other), opened).0
    };
    let (first, second) = tokio::join!(two.pair.first.get(&of_one), second);
    first.assert_error(404, "BLOB_UNKNOWN");
    second.assert_body(&two.layer.bytes);
    assert_eq!(asked(), 1);
}

/// B2, B11: a client that followed another organization's fill goes on at its own upstream when that one fails.
#[tokio::test]
async fn what_another_upstream_broke_off_goes_on_at_the_own_one() {
    let two = two_open().await;
    let gate = Gate::closed();
    two.one.script(On::blob().once(), Fault::Cut(HALF));
    two.one
        .script(On::blob().once(), Fault::HoldAfter(HALF - 1, gate.clone()));
    two.one
        .script(On::blob().after(1), Fault::error(404, "BLOB_UNKNOWN"));
    let first = two.pair.first.call(Method::GET, &two.path("one")).open().await;
    gate.reached().await;
    let mut second = two.pair.second.call(Method::GET, &two.path("other")).open().await;
    let begun = soon("the second follows", second.chunk()).await.unwrap().unwrap();
    assert_eq!(two.other.count(&Method::GET, &two.layer.digest), 0);
    gate.open();
    let rest = soon("the second is told the rest", second.bytes()).await.unwrap();
    assert_eq!([begun, rest].concat(), two.layer.bytes);
    assert!(first.bytes().await.is_err(), "the first was not cut");
    let requests = two.other.requests();
    let ranges = requests.iter().filter(|request| request.kind == Kind::Blob);
    let ranges: Vec<_> = ranges.map(|request| request.header("range")).collect();
    assert_eq!(ranges, [format!("bytes={HALF}-")]);
}
