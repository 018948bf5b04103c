//! oras: artifacts, what refers to them, and whole indexes.

use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{self, Image, Index};
use quayside_tests::oras::Oras;
use quayside_tests::reachable;

async fn house_in_front_of(upstream: &Distribution) -> House {
    let acme = Organization::at(&upstream.address().to_string()).background();
    reachable::house().system_clock().organization(acme).start().await
}

/// M12: an artifact with a type of its own comes through, file and all, cold and with upstream gone.
#[tokio::test(flavor = "multi_thread")]
async fn oras_pulls_an_artifact() {
    let mut upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let content = b"an artifact is not an image";
    let pushed = format!("{}/notes:1", upstream.address());
    Oras::new()
        .push(&pushed, "application/vnd.example.notes", content)
        .await
        .ok();
    let house = house_in_front_of(&upstream).await;
    let name = format!("{}/acme/notes:1", house.authority());
    for _ in 0..2 {
        let oras = Oras::new();
        oras.pull(&name).await.ok();
        assert!(
            oras.received().contains(&images::sha256(content)),
            "{:?}",
            oras.received()
        );
        upstream.switch_off();
    }
}

/// L2, M10: what refers to an image is found through the cache, by the tag scheme, and pulled.
#[tokio::test(flavor = "multi_thread")]
async fn oras_discovers_what_refers_to_an_image() {
    let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    upstream
        .repository("app")
        .image("1", &Image::runnable("app"))
        .await;
    let pushed = format!("{}/app:1", upstream.address());
    Oras::new()
        .attach(&pushed, "application/vnd.example.sbom", b"all that is in it")
        .await
        .ok();
    let house = house_in_front_of(&upstream).await;
    let name = format!("{}/acme/app:1", house.authority());
    let printed = Oras::new().discover(&name).await.ok();
    assert!(printed.contains("application/vnd.example.sbom"), "{printed}");
}

/// L2, M10: an upstream with the referrers API is asked by that; what was pulled of it is found while it is away.
#[tokio::test(flavor = "multi_thread")]
async fn oras_discovers_by_the_referrers_api() {
    const SBOM: &str = "application/vnd.example.sbom";
    let upstream = FakeUpstream::start().await;
    let image = Image::runnable("app");
    let sbom = Image::builder()
        .subject(&image.manifest)
        .artifact_type(SBOM)
        .build();
    upstream.push("app", "1", &image);
    upstream.push_untagged("app", &sbom);
    upstream.add_referrers("app", image.digest(), &[&sbom]);
    upstream.add_referrers("app", sbom.digest(), &[]);
    let acme = Organization::of(&upstream).background();
    let house = reachable::house().system_clock().organization(acme).start().await;
    let name = format!("{}/acme/app", house.authority());
    let tagged = format!("{name}:1");
    let found = Oras::new().discover(&tagged).await.ok();
    assert!(found.contains(sbom.digest()), "{found}");
    assert_eq!(
        upstream.count_where(|request| request.path.contains("manifests/sha256-")),
        0
    );
    Oras::new().pull(&format!("{name}@{}", sbom.digest())).await.ok();
    upstream.stopped().await;
    let found = Oras::new().discover(&tagged).await.ok();
    assert!(found.contains(sbom.digest()) && found.contains(SBOM), "{found}");
}

/// M12, M13, B2: everything of an index at once, all platforms.
#[tokio::test(flavor = "multi_thread")]
async fn oras_copies_a_whole_index() {
    let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
    let index = Index::two_platforms(1, 700_000);
    upstream.repository("app").index("1", &index).await;
    let house = house_in_front_of(&upstream).await;
    let oras = Oras::new();
    oras.copy(&format!("{}/acme/app:1", house.authority())).await.ok();
    let received = oras.received();
    for image in &index.images {
        for blob in image.blobs().chain([&image.manifest]) {
            assert!(
                received.contains(&blob.digest),
                "{} is not in {received:?}",
                blob.digest
            );
        }
    }
}
