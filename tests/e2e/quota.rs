//! SPEC §5 from the outside: an organization stays under its quota, what goes is what was used least recently, and
//! who is refused reads why.

mod clients;
mod herd;
mod limits;
mod order;
mod pruned;
mod refusal;
mod walkthrough;

use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Answer, House, HouseBuilder, Organization};
use quayside_tests::images::{Blob, Image};
use serde_json::json;

/// What is said to who is refused, whatever else is (Q7).
const MESSAGE: &str = "Quota has been exceeded on namespace";
/// The layer of the images of most tests: large beside what manifests and configurations weigh.
const LAYER: usize = 100_000;
/// Room for two such images and not for three.
const QUOTA: u64 = 250_000;

/// What an image counts (Q2).
fn weight(image: &Image) -> u64 {
    image.manifest.size() + image.blobs().map(Blob::size).sum::<u64>()
}

/// An image with one layer of [`LAYER`] bytes.
fn image(seed: u64) -> Image {
    Image::random(seed, &[LAYER])
}

/// A house that enforces quotas, with what `organize` makes of an organization that may hold [`QUOTA`].
async fn house(upstream: &FakeUpstream, organize: impl FnOnce(Organization) -> Organization) -> House {
    enforcing()
        .organization(organize(limited(upstream, QUOTA)))
        .start()
        .await
}

/// A house that enforces quotas.
fn enforcing() -> HouseBuilder {
    House::builder().config("/FEATURE_QUOTA_MANAGEMENT", json!(true))
}

/// `acme`, which may hold so many bytes.
fn limited(upstream: &FakeUpstream, quota: u64) -> Organization {
    Organization::of(upstream).set("storageQuotaBytes", json!(quota))
}

/// Puts images of [`image`] upstream, as tag `1` of repositories of their names.
fn push<const N: usize>(upstream: &FakeUpstream, names: [&str; N]) -> [Image; N] {
    let mut seeds = 1..;
    names.map(|name| {
        let image = image(seeds.next().unwrap_or_default());
        upstream.push(name, "1", &image);
        image
    })
}

/// Pulls the manifest of tag `1`, and lets a second pass.
async fn pull(house: &House, repository: &str) {
    let answer = house.manifest(repository, "1").await;
    assert_eq!(answer.status, 200, "{repository}: {}", answer.summary());
    house.advance_seconds(1);
}

/// Of these repositories, those that still have a live tag.
async fn listed<const N: usize>(house: &House, repositories: [&'static str; N]) -> Vec<&'static str> {
    let mut listed = Vec::new();
    for repository in repositories {
        if !house.tags(repository).await.is_empty() {
            listed.push(repository);
        }
    }
    listed
}

/// What `acme` uses, as its metric says.
async fn usage(house: &House) -> u64 {
    let usage = house.metric("quayside_usage_bytes{organization=\"acme\"}");
    usage.await.unwrap()
}

/// How many images were pruned in `acme`.
async fn pruned(house: &House) -> u64 {
    let pruned = house.metric("quayside_pruned_total{organization=\"acme\"}");
    pruned.await.unwrap()
}

/// How many manifests did not fit into `acme`.
async fn refused(house: &House) -> u64 {
    let refused = house.metric("quayside_refused_total{organization=\"acme\"}");
    refused.await.unwrap()
}

/// Panics unless this is the refusal of Q7.
#[track_caller]
fn assert_refused(answer: &Answer) {
    answer.assert_error(403, "DENIED");
    assert_eq!(answer.message(), MESSAGE);
}
