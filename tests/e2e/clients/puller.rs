//! Six clients that can do the same thing.

use std::collections::BTreeSet;

use quayside_tests::containerd::{Containerd, Version};
use quayside_tests::crane::Crane;
use quayside_tests::image_copy::ImageCopy;
use quayside_tests::images::{Image, Index};
use quayside_tests::podman::Podman;
use quayside_tests::skopeo::Skopeo;
use quayside_tests::tools::{Outcome, Platforms};

/// Which client pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Podman,
    Skopeo,
    /// What podman is made of today.
    ImageCopy,
    Containerd(Version),
    Crane,
}

/// A client that has nothing yet.
#[derive(Debug)]
pub(super) enum Puller {
    Podman(Podman),
    Skopeo(Skopeo),
    ImageCopy(ImageCopy),
    Containerd(Containerd),
    Crane(Crane),
}

impl Client {
    pub(super) async fn start(self) -> Puller {
        match self {
            Self::Podman => Puller::Podman(Podman::new()),
            Self::Skopeo => Puller::Skopeo(Skopeo::new()),
            Self::ImageCopy => Puller::ImageCopy(ImageCopy::new()),
            Self::Containerd(version) => Puller::Containerd(Containerd::start(version).await),
            Self::Crane => Puller::Crane(Crane::new()),
        }
    }

    /// What a pull of the tag `1` reads from an upstream that nobody asked before: tag and digests, sorted.
    pub(super) fn reads(self, index: &Index) -> Vec<String> {
        let own = &index.images[0];
        let mut reads: Vec<String> = vec!["1".to_owned(), own.digest().to_owned()];
        reads.extend(own.blobs().map(|blob| blob.digest.clone()));
        if self == Self::Containerd(Version::Two) {
            // It looks at the configuration of every platform and takes the layers of one.
            for other in &index.images[1..] {
                reads.extend([other.digest().to_owned(), other.config.digest.clone()]);
            }
        }
        reads.sort();
        reads
    }
}

impl Puller {
    pub(super) async fn pull(&self, image: &str) -> Outcome {
        match self {
            Self::Podman(podman) => podman.pull(image).await,
            Self::Skopeo(skopeo) => skopeo.copy(image, Platforms::Own).await,
            Self::ImageCopy(copier) => copier.copy(image).await,
            Self::Containerd(containerd) => containerd.pull(image).await,
            Self::Crane(crane) => crane.pull(image).await,
        }
    }

    /// Makes it a client that has pulled nothing.
    pub(super) async fn forget(&mut self, image: &str) {
        match self {
            Self::Podman(podman) => *podman = Podman::new(),
            Self::Skopeo(skopeo) => *skopeo = Skopeo::new(),
            Self::ImageCopy(copier) => *copier = ImageCopy::new(),
            Self::Containerd(containerd) => containerd.forget(image).await,
            Self::Crane(crane) => *crane = Crane::new(),
        }
    }

    /// Panics unless it has the index's image for this platform, byte for byte.
    pub(super) async fn assert_has(&self, image: &str, index: &Index) {
        let own: &Image = &index.images[0];
        match self {
            Self::Podman(podman) => {
                let mut digests = vec![index.digest(), own.digest()];
                digests.sort_unstable();
                let mut known = podman.digests(image).await;
                known.sort_unstable();
                assert_eq!(known, digests);
            }
            Self::Skopeo(skopeo) => assert_copied(&skopeo.copied(), own),
            Self::ImageCopy(copier) => assert_copied(&copier.copied(), own),
            Self::Containerd(containerd) => {
                assert_eq!(containerd.digest(image).await, index.digest());
                let content = containerd.content().await;
                for blob in own.blobs().chain([&own.manifest, &index.manifest]) {
                    assert!(
                        content.contains(&blob.digest),
                        "{} is not in {content:?}",
                        blob.digest
                    );
                }
            }
            // It verified what it read; what it wrote is an archive of its own.
            Self::Crane(crane) => assert_eq!(crane.digest(image).await.ok(), index.digest()),
        }
    }
}

fn assert_copied(copied: &BTreeSet<String>, image: &Image) {
    for blob in image.blobs().chain([&image.manifest]) {
        assert!(
            copied.contains(&blob.digest),
            "{} is not in {copied:?}",
            blob.digest
        );
    }
}
