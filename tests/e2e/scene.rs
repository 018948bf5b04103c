//! What most tests begin with: one upstream, one image in it, one organization bound to it.

use http::Method;
use quayside_tests::fake::{FakeUpstream, Kind};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;

/// `alpine:1` upstream, and `acme` bound to that upstream.
pub(crate) struct Scene {
    pub(crate) upstream: FakeUpstream,
    pub(crate) image: Image,
    pub(crate) house: House,
}

/// A scene whose organization is what `organize` makes of an open one that fills nothing in the background.
pub(crate) async fn scene(organize: impl FnOnce(Organization) -> Organization) -> Scene {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1000]);
    upstream.push("alpine", "1", &image);
    let house = House::with(organize(Organization::of(&upstream))).await;
    Scene {
        upstream,
        image,
        house,
    }
}

impl Scene {
    /// Manifest GETs that reached upstream.
    pub(crate) fn manifest_gets(&self) -> usize {
        self.upstream.count_kind(&Method::GET, Kind::Manifest)
    }

    /// Manifest HEADs that reached upstream.
    pub(crate) fn manifest_heads(&self) -> usize {
        self.upstream.count_kind(&Method::HEAD, Kind::Manifest)
    }

    /// Blob GETs that reached upstream.
    pub(crate) fn blob_gets(&self) -> usize {
        self.upstream.count_kind(&Method::GET, Kind::Blob)
    }

    /// Requests for content that reached upstream: everything but probes and log-ins.
    pub(crate) fn contacts(&self) -> usize {
        contacts(&self.upstream)
    }

    /// When the one tag of the scene ends, once everything that waited to be written was: stops the registry.
    pub(crate) async fn final_end(&mut self) -> i64 {
        self.house.stop().await;
        self.ends_at().await
    }

    /// When the one tag of the scene ends, milliseconds since the epoch.
    pub(crate) async fn ends_at(&self) -> i64 {
        self.house
            .number("SELECT ends_at FROM tag WHERE name = '1' AND current")
            .await
    }
}

/// Requests for content that reached `upstream`: everything but probes and log-ins.
pub(crate) fn contacts(upstream: &FakeUpstream) -> usize {
    upstream.count_where(|request| !matches!(request.kind, Kind::Ping | Kind::Token))
}
