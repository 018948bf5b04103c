//! SPEC G3, ENGINE §3.3: what is recorded of a fill before its bytes reach a bucket, and for how long.

use http::Method;
use quayside_test_servers::Versitygw;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{Bucket, House, HouseBuilder, Organization, Pair, START};
use quayside_tests::images::{Blob, Image};

/// More than one part of an upload.
const LENGTH: usize = 20 << 20;
/// All but the last of them.
const MOST: usize = 19 << 20;

const FILLS: &str = "SELECT count(*) FROM fill";
const GARBAGE: &str = "SELECT count(*) FROM garbage";

async fn pushed() -> (FakeUpstream, Image) {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[LENGTH]);
    upstream.push("app", "1", &image);
    (upstream, image)
}

/// A client reads the layer, of which upstream holds the end back.
async fn most_is_filled(house: &House, upstream: &FakeUpstream, layer: &Blob) -> (Gate, reqwest::Response) {
    assert_eq!(house.manifest("app", "1").await.status, 200);
    let gate = Gate::closed();
    upstream.script(On::blob().once(), Fault::HoldAfter(MOST, gate.clone()));
    let path = format!("/v2/acme/app/blobs/{}", layer.digest);
    let response = house.call(Method::GET, &path).open().await;
    gate.reached().await;
    (gate, response)
}

async fn on_a_bucket(server: &Versitygw, upstream: &FakeUpstream) -> House {
    let bucket = Bucket::create(server, "blobs");
    let builder: HouseBuilder = House::builder().organization(Organization::of(upstream));
    builder.blobs_in_bucket(&bucket).start().await
}

/// G3: with a database of its own, too, a key is recorded before the first part of it is uploaded, and its row ends
/// with the fill.
#[tokio::test]
async fn a_key_is_recorded_before_its_first_part_is_uploaded() {
    let (server, (upstream, image)) = (Versitygw::start(), pushed().await);
    let house = on_a_bucket(&server, &upstream).await;
    let layer = &image.layers[0];
    let (gate, response) = most_is_filled(&house, &upstream, layer).await;
    assert_eq!(house.number(FILLS).await, 1);
    gate.open();
    assert_eq!(response.bytes().await.unwrap(), layer.bytes);
    house.stored(&layer.digest).await;
    assert_eq!((house.number(FILLS).await, house.number(GARBAGE).await), (0, 0));
}

/// G3, B3: the key of a fill that fails is garbage from then on.
#[tokio::test]
async fn the_key_of_a_fill_that_fails_is_garbage() {
    let (server, (upstream, image)) = (Versitygw::start(), pushed().await);
    let house = on_a_bucket(&server, &upstream).await;
    let layer = &image.layers[0];
    upstream.script(On::blob().once(), Fault::Flip(10));
    let (gate, response) = most_is_filled(&house, &upstream, layer).await;
    gate.open();
    assert!(
        response.bytes().await.is_err(),
        "wrong bytes were sent to the end"
    );
    eventually("the row has become garbage", || async {
        (house.number(FILLS).await, house.number(GARBAGE).await) == (0, 1)
    })
    .await;
    assert!(house.stored_file(&layer.digest).is_none());
}

/// B2: on a shared database a row is good for 15 s and renewed every 5 s while the fill runs; one that was taken away
/// is not committed.
#[tokio::test]
async fn a_fill_is_renewed_while_it_runs() {
    let (upstream, image) = pushed().await;
    let pair = Pair::start(|builder, _| builder.organization(Organization::of(&upstream))).await;
    let layer = &image.layers[0];
    let (gate, response) = most_is_filled(&pair.first, &upstream, layer).await;
    let end = async || pair.number("SELECT max(expires_at) FROM fill").await;
    assert_eq!(end().await, START + 15_000);
    for beats in 1..=2 {
        pair.first.advance_seconds(5);
        eventually("the fill is renewed", || async {
            end().await == START + 15_000 + beats * 5_000
        })
        .await;
    }
    pair.execute("DELETE FROM fill").await;
    gate.open();
    assert_eq!(response.bytes().await.unwrap(), layer.bytes);
    eventually("the fill ends", || async {
        pair.first.metric("quayside_fills_in_flight").await == Some(0)
    })
    .await;
    assert_eq!(
        pair.number("SELECT count(*) FROM blob WHERE storage_key IS NOT NULL")
            .await,
        0
    );
    assert!(pair.objects().is_empty());
}
