//! cosign: a signature that was made upstream is verified through the cache.

use quayside_tests::cosign::Cosign;
use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::house::Organization;
use quayside_tests::images::Image;
use quayside_tests::reachable;

/// L2, M10, M12: signed upstream, verified through the cache; with another key it is not.
#[tokio::test(flavor = "multi_thread")]
async fn cosign_verifies_a_signature_through_the_cache() {
    let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let image = Image::runnable("signed");
    upstream.repository("app").image("1", &image).await;
    let (signer, stranger) = (Cosign::new().await, Cosign::new().await);
    signer
        .sign(&format!("{}/app@{}", upstream.address(), image.digest()))
        .await
        .ok();
    let acme = Organization::at(&upstream.address().to_string()).background();
    let house = reachable::house().system_clock().organization(acme).start().await;
    let name = format!("{}/acme/app@{}", house.authority(), image.digest());
    signer.verify(&name).await.ok();
    stranger.verify(&name).await.failed();
}

/// L2, M9: what was verified once is verified again while upstream is away: the listing then comes from what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn cosign_verifies_a_signature_while_upstream_is_away() {
    let mut upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let image = Image::runnable("signed");
    upstream.repository("app").image("1", &image).await;
    let (signer, stranger) = (Cosign::new().await, Cosign::new().await);
    signer
        .sign(&format!("{}/app@{}", upstream.address(), image.digest()))
        .await
        .ok();
    let acme = Organization::at(&upstream.address().to_string()).background();
    let house = reachable::house().system_clock().organization(acme).start().await;
    let name = format!("{}/acme/app@{}", house.authority(), image.digest());
    signer.verify(&name).await.ok();
    upstream.switch_off();
    signer.verify(&name).await.ok();
    stranger.verify(&name).await.failed();
}
