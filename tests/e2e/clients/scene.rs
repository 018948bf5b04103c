//! A real registry, what is written down in front of it, and a house that caches it.

use quayside_tests::distribution::{Access, Distribution, Edition};
use quayside_tests::house::{House, HouseBuilder, Organization};
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Format, Image, Index};
use quayside_tests::reachable;
use quayside_tests::recorder::Recorder;

/// The repository that every scene has upstream, under the tag `1`.
pub(super) const REPOSITORY: &str = "lib/multi";

/// An upstream with one image for two platforms, and an organization `acme` that caches all of it.
pub(super) struct Scene {
    pub(super) upstream: Distribution,
    pub(super) recorder: Recorder,
    pub(super) house: House,
    pub(super) index: Index,
}

impl Scene {
    /// With the clock of the machine and background filling, as somebody would run it.
    pub(super) async fn new() -> Self {
        Self::of(two_platforms(Format::Oci)).await
    }

    /// As [`Scene::new`], with another image.
    pub(super) async fn of(index: Index) -> Self {
        Self::with(index, HouseBuilder::system_clock, Organization::background).await
    }

    /// With something of the caller's.
    pub(super) async fn with(
        index: Index,
        house: impl FnOnce(HouseBuilder) -> HouseBuilder,
        organization: impl FnOnce(Organization) -> Organization,
    ) -> Self {
        let upstream = Distribution::start(Edition::Three, Access::Anonymous).await;
        upstream.repository(REPOSITORY).index("1", &index).await;
        let recorder = Recorder::start(upstream.address()).await;
        let acme = organization(Organization::at(&recorder.address().to_string()));
        let house = house(reachable::house().organization(acme)).start().await;
        Self {
            upstream,
            recorder,
            house,
            index,
        }
    }

    /// The name by which clients pull the image.
    pub(super) fn image(&self) -> String {
        format!("{}/acme/{REPOSITORY}:1", self.house.authority())
    }

    /// Ends the upstream; connections to it are refused from now on.
    pub(super) async fn switch_off_upstream(&mut self) {
        self.recorder.switch_off().await;
        self.upstream.switch_off();
    }
}

/// An index of linux/amd64 and linux/arm64, two layers each, that clients can unpack.
pub(super) fn two_platforms(format: Format) -> Index {
    ["amd64", "arm64"]
        .into_iter()
        .zip(1..)
        .fold(Index::builder().format(format), |index, (architecture, seed)| {
            let image = Image::builder().format(format).platform("linux", architecture);
            let image = image
                .archive(random_layer(seed, 300_000))
                .archive(random_layer(10 + seed, 50_000));
            index.image(image.build(), architecture)
        })
        .build()
}
