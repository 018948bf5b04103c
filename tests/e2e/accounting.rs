//! SPEC §5 Q2 from the outside: after any pulls, what is counted is what is held.

use std::time::Duration;

use quayside_metadata::Metadata;
use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image, Index};

/// Pulls tags that move, indexes, children, pins, shared layers, sizes that were declared wrongly, and what fails.
async fn busy(house: &House, upstream: &FakeUpstream) {
    let shared = Blob::random(77, 4000);
    let (one, two) = (
        Image::random(1, &[1000, 2000]),
        Image::builder().layer(shared.clone()).build(),
    );
    let wrong = Image::builder().layer_declared(shared.clone(), 9000).build();
    let index = Index::two_platforms(5, 500);
    let artifact = Image::builder().subject(&index.manifest).build();
    upstream.push("app", "moving", &one);
    upstream.push_untagged("app", &two);
    upstream.push("wrong", "1", &wrong);
    upstream.push_index("multi", "1", &index);
    upstream.push_untagged("multi", &artifact);
    let gets = [
        "app/manifests/moving",
        "wrong/manifests/1",
        "multi/manifests/1",
        "multi/manifests/nope",
    ];
    for round in 0..4_u64 {
        for path in gets {
            house.get(&format!("/v2/acme/{path}")).await;
            house.get(&format!("/v2/other/{path}")).await;
        }
        for digest in [two.digest(), index.images[0].digest(), artifact.digest()] {
            house.manifest("app", digest).await;
            house.manifest("multi", digest).await;
        }
        let moved = if round % 2 == 0 {
            two.digest()
        } else {
            one.digest()
        };
        upstream.tag("app", "moving", moved);
        house.advance_seconds(400 * round);
        house.head_manifest("app", "moving").await;
        for blob in [&shared, &one.layers[0], &one.config, &index.images[0].layers[0]] {
            for repository in ["app", "wrong", "multi"] {
                house
                    .while_time_passes(Duration::from_millis(50), house.blob(repository, &blob.digest))
                    .await;
            }
        }
        upstream.script(On::any().times(3), Fault::status(500));
    }
}

/// Q2: usage is the sum over distinct digests of everything that is held, kept with every change.
#[tokio::test]
async fn what_is_counted_is_what_is_held() {
    let upstream = FakeUpstream::start().await;
    let mut house = House::builder()
        .organization(Organization::of(&upstream).ttl(600).background())
        .organization(Organization::of(&upstream).named("other").ttl(0))
        .start()
        .await;
    busy(&house, &upstream).await;
    house.stop().await;
    assert!(house.number("SELECT sum(usage_bytes) FROM organization").await > 0);
    let metadata = Metadata::open_sqlite(&house.database_path()).await.unwrap();
    let discrepancies = metadata.recount().await.unwrap();
    assert!(discrepancies.is_empty(), "{discrepancies:?}");
    metadata.close().await;
}
