//! Q8: many at once.

use futures::future::join_all;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::House;
use quayside_tests::images::Image;

use super::{QUOTA, enforcing, limited, weight};

const PULLS: usize = 12;
/// How often each is pulled by tag and by digest in turns.
const ROUNDS: usize = 30;

/// Q8, M15: twelve images are pulled at once into an organization with room for two. All of them are served, and at no
/// moment does the organization hold more than its quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_pulls_at_once_never_overshoot() {
    let upstream = FakeUpstream::start().await;
    let images: Vec<Image> = (1..=PULLS as u64).map(super::image).collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push(&format!("app{number}"), "1", image);
    }
    let mut house = enforcing().organization(limited(&upstream, QUOTA)).start().await;
    let samples = sampled(&house, pull_all(&house, &images)).await;
    let quota = i64::try_from(QUOTA).unwrap();
    let highest = samples.iter().max().copied().unwrap_or_default();
    assert!(samples.len() > 3, "{} samples", samples.len());
    assert!(highest <= quota, "{highest} of {quota} bytes");
    let one = i64::try_from(weight(&images[0])).unwrap();
    assert!(highest > one, "at most {highest} bytes were ever held");
    house.audit().await;
}

/// Q8, M2, M10: where there is room for one image alone, each of twelve that are pulled at once, by tag and by digest,
/// may be pruned before its own pull is answered. All are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pruned_before_it_is_answered_is_served() {
    let upstream = FakeUpstream::start().await;
    let images: Vec<Image> = (1..=PULLS as u64).map(super::image).collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push(&format!("app{number}"), "1", image);
    }
    let mut house = enforcing()
        .organization(limited(&upstream, weight(&images[0]) + 10_000))
        .start()
        .await;
    let pulls = images.iter().enumerate().map(|(number, image)| {
        let (house, repository) = (&house, format!("app{number}"));
        async move {
            for _ in 0..ROUNDS {
                for reference in ["1", image.digest()] {
                    house
                        .manifest(&repository, reference)
                        .await
                        .assert_body(image.body());
                }
            }
        }
    });
    join_all(pulls).await;
    house.audit().await;
}

/// Pulls each of the images three times, all of them at once.
async fn pull_all(house: &House, images: &[Image]) {
    let pulls = images.iter().enumerate().map(|(number, image)| async move {
        let repository = format!("app{number}");
        for _ in 0..3 {
            house.manifest(&repository, "1").await.assert_body(image.body());
        }
        for blob in image.blobs() {
            house
                .blob(&repository, &blob.digest)
                .await
                .assert_body(&blob.bytes);
        }
    });
    join_all(pulls).await;
}

/// What was counted at as many moments as there were while `pulls` ran.
async fn sampled(house: &House, pulls: impl Future<Output = ()>) -> Vec<i64> {
    let mut samples = Vec::new();
    tokio::pin!(pulls);
    loop {
        tokio::select! {
            () = &mut pulls => return samples,
            used = house.number("SELECT usage_bytes FROM organization") => samples.push(used),
        }
    }
}
