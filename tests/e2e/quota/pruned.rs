//! Q6, G3: what becomes of an image that was pruned: who reads it reads on, who wants it again in time gets it without
//! a download, and its bytes leave the disk a little later.

use http::Method;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Kind, On};
use quayside_tests::house::{GRACE, House};
use quayside_tests::images::Image;

use super::{house, listed, pruned, pull, push, usage, weight};

/// Pulls all of an image, and returns when all of it is stored.
async fn pull_whole(house: &House, repository: &str, image: &Image) {
    pull(house, repository).await;
    for blob in image.blobs() {
        house
            .blob(repository, &blob.digest)
            .await
            .assert_body(&blob.bytes);
        house.stored(&blob.digest).await;
    }
}

fn blob_gets(upstream: &FakeUpstream) -> usize {
    upstream.count_kind(&Method::GET, Kind::Blob)
}

/// Q6: a pruned image skips the time machine. It no longer counts at once; its bytes are there until it is collected.
#[tokio::test]
async fn the_disk_follows_two_graces_later() {
    let upstream = FakeUpstream::start().await;
    let [one, two, three] = push(&upstream, ["one", "two", "three"]);
    let mut house = house(&upstream, |acme| acme).await;
    pull_whole(&house, "one", &one).await;
    pull_whole(&house, "two", &two).await;
    pull_whole(&house, "three", &three).await;
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["two", "three"]);
    assert_eq!(usage(&house).await, weight(&two) + weight(&three));
    let gone = &one.layers[0].digest;
    assert!(
        house.stored_file(gone).is_some(),
        "deleted before anybody collected it"
    );
    house.collect_fully().await;
    assert!(house.stored_file(gone).is_none());
    for kept in [&two.layers[0], &three.layers[0]] {
        assert!(house.stored_file(&kept.digest).is_some());
    }
    house.audit().await;
}

/// Q6, G3: a client that is downloading an image gets all of it, though it is pruned, collected and deleted meanwhile.
#[tokio::test]
async fn a_download_that_runs_is_finished() {
    let upstream = FakeUpstream::start().await;
    let [one, ..] = push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    let (layer, gate) = (&one.layers[0], Gate::closed());
    upstream.script(On::blob().at(&layer.digest), Fault::HoldAfter(500, gate.clone()));
    let prune = async {
        gate.reached().await;
        pull(&house, "three").await;
        assert_eq!(pruned(&house).await, 1);
        house.collect_fully().await;
        let left = "SELECT count(*) FROM repository WHERE name = 'one'";
        assert_eq!(house.number(left).await, 0);
        gate.open();
    };
    let (answer, ()) = tokio::join!(house.blob("one", &layer.digest), prune);
    answer.assert_body(&layer.bytes);
}

/// Q6, B1: a client that has the manifest of an image gets its blobs for a grace after it was pruned.
#[tokio::test]
async fn a_pull_that_has_begun_finds_its_blobs() {
    let upstream = FakeUpstream::start().await;
    let [one, ..] = push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme).await;
    for repository in ["one", "two", "three"] {
        pull(&house, repository).await;
    }
    assert_eq!(house.tags("one").await, Vec::<String>::new());
    for blob in one.blobs() {
        house.blob("one", &blob.digest).await.assert_body(&blob.bytes);
    }
}

/// M5, Q6, G3: pulled again by its tag before it was collected, a pruned image is taken back; only its manifest is
/// asked for.
#[tokio::test]
async fn a_pruned_tag_is_taken_back_without_a_download() {
    let upstream = FakeUpstream::start().await;
    let [one, ..] = push(&upstream, ["one", "two", "three"]);
    let mut house = house(&upstream, |acme| acme).await;
    pull_whole(&house, "one", &one).await;
    pull(&house, "two").await;
    pull(&house, "three").await;
    house.collect().await;
    house.advance(GRACE / 2);
    let before = blob_gets(&upstream);
    house.manifest("one", "1").await.assert_cache("MISS");
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["one", "three"]);
    house.advance(GRACE);
    house.collect().await;
    for blob in one.blobs() {
        house.blob("one", &blob.digest).await.assert_body(&blob.bytes);
    }
    assert_eq!(blob_gets(&upstream), before);
    house.audit().await;
}

/// M9, Q6: by its digest it is taken back without upstream, which may be away, and what it needs is pruned for it.
#[tokio::test]
async fn a_pruned_digest_is_taken_back_without_upstream() {
    let upstream = FakeUpstream::start().await;
    let [one, two, three] = push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme).await;
    pull_whole(&house, "one", &one).await;
    // Now in memory as well.
    house.manifest("one", one.digest()).await.assert_cache("HIT");
    pull_whole(&house, "two", &two).await;
    pull_whole(&house, "three", &three).await;
    assert_eq!(pruned(&house).await, 1);
    upstream.stopped().await;
    house.manifest("one", one.digest()).await.assert_cache("HIT");
    for blob in one.blobs() {
        house.blob("one", &blob.digest).await.assert_body(&blob.bytes);
    }
    assert_eq!(usage(&house).await, weight(&one) + weight(&three));
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["three"]);
    assert_eq!(pruned(&house).await, 2);
}

/// Q6, M3: a tag that was pruned is not served from memory, not even where checks are rare.
#[tokio::test]
async fn a_pruned_tag_is_not_served_from_memory() {
    let upstream = FakeUpstream::start().await;
    push(&upstream, ["one", "two", "three"]);
    let house = house(&upstream, |acme| acme.revalidate(3600)).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    house.manifest("one", "1").await.assert_cache("HIT");
    house.manifest("two", "1").await.assert_cache("HIT");
    // One transaction later, on a clock that stands still, `one` is gone.
    house.manifest("three", "1").await.assert_cache("MISS");
    assert_eq!(house.tags("one").await, Vec::<String>::new());
    upstream.stopped().await;
    assert_eq!(house.manifest("one", "1").await.status, 502);
    house.manifest("two", "1").await.assert_cache("HIT");
}

/// Q6, M3: a tag that is pruned while upstream is asked about it is taken back by the pull that asked.
#[tokio::test]
async fn a_tag_that_is_pruned_while_it_is_checked_is_taken_back() {
    let upstream = FakeUpstream::start().await;
    let [one, ..] = push(&upstream, ["one", "two", "three"]);
    let mut house = house(&upstream, |acme| acme).await;
    pull(&house, "one").await;
    pull(&house, "two").await;
    let gate = Gate::closed();
    upstream.script(On::manifest().of("one").head().once(), Fault::Hold(gate.clone()));
    let prune = async {
        gate.reached().await;
        pull(&house, "three").await;
        assert_eq!(house.tags("one").await, Vec::<String>::new());
        gate.open();
    };
    let (answer, ()) = tokio::join!(house.manifest("one", "1"), prune);
    answer.assert_body(one.body());
    assert_eq!(listed(&house, ["one", "two", "three"]).await, ["one", "three"]);
    assert_eq!(upstream.count(&Method::GET, "one/manifests/1"), 1);
    house.audit().await;
}
