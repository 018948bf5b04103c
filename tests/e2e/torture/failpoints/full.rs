//! A life under a quota: an organization that holds too much, and images that others have to make room for.

use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::{Blob, Image, Index};
use quayside_tests::program::Failpoint;
use serde_json::json;

use super::Story;
use super::scene::{Result, Scene, organization};

const LAYER: usize = 20_000;
/// Room for two of the images.
const QUOTA: i64 = 50_000;

/// The registry with an organization that may hold two images.
pub(super) struct Full {
    scene: Scene,
    upstream: FakeUpstream,
    /// Under the tag `1` of `app<n>`.
    images: Vec<Image>,
    /// Under the tag `1` of `multi`; its images share a layer with those above.
    index: Index,
    /// Under the tag `1` of `giant`: larger than the quota.
    giant: Image,
}

impl Story for Full {
    const EXPECTED: &[&str] = &["admit committed", "prune committed"];

    /// The others are those of every life.
    fn dies_at(point: &str) -> bool {
        point.starts_with("admit ") || point.starts_with("prune ")
    }

    async fn new(http: reqwest::Client) -> Self {
        let upstream = FakeUpstream::start().await;
        let images: Vec<_> = (0..4).map(|seed| Image::random(seed, &[LAYER])).collect();
        for (number, image) in images.iter().enumerate() {
            upstream.push(&format!("app{number}"), "1", image);
        }
        let index = Index::two_platforms(9, LAYER);
        upstream.push_index("multi", "1", &index);
        let giant = Image::random(99, &[3 * LAYER]);
        upstream.push("giant", "1", &giant);
        let unlimited = organization("acme", &upstream);
        Self {
            scene: Scene::new(&[unlimited], http).await,
            upstream,
            images,
            index,
            giant,
        }
    }

    fn scene(&mut self) -> &mut Scene {
        &mut self.scene
    }

    async fn live(&mut self, failpoint: Failpoint<'_>) -> Result {
        self.hold_too_much().await?;
        self.scene.launch(failpoint).await?;
        // Q9: one of three goes.
        self.scene.collect().await?;
        // Q5: one more makes room for the fourth.
        self.pull(3).await?;
        // Released, and not collected yet: counted again, and room made again.
        self.pull(0).await?;
        self.go_on().await?;
        self.scene.expire().await
    }

    async fn go_on(&mut self) -> Result {
        let usage = self.usage().await;
        let held: i64 = self.images[..3].iter().map(weight).sum();
        assert!(
            usage <= QUOTA || usage == held,
            "{usage} bytes, neither within the quota nor untouched"
        );
        self.scene.collect().await?;
        for number in 0..self.images.len() {
            self.pull(number).await?;
        }
        let index = self.scene.get("acme/multi/manifests/1").await?;
        assert!(index == *self.index.body(), "another index");
        for child in &self.index.images {
            self.scene.image("acme/multi", child.digest(), child).await?;
            assert!(self.usage().await <= QUOTA, "over the quota");
        }
        self.scene.refused("acme/giant/manifests/1").await?;
        self.scene.quiet().await?;
        assert!(self.usage().await <= QUOTA, "over the quota");
        assert!(weight(&self.giant) > QUOTA);
        self.scene.collect().await
    }
}

impl Full {
    /// Three images are pulled while there is no quota, and then there is one.
    async fn hold_too_much(&mut self) -> Result {
        self.scene.launch(Failpoint::Nowhere).await?;
        for number in 0..3 {
            let repository = format!("acme/app{number}");
            self.scene.image(&repository, "1", &self.images[number]).await?;
        }
        self.scene.quiet().await?;
        self.scene.program.kill();
        let mut limited = organization("acme", &self.upstream);
        limited["storageQuotaBytes"] = json!(QUOTA);
        self.scene.program.organize(&[limited]);
        Ok(())
    }

    async fn pull(&self, number: usize) -> Result {
        let (repository, image) = (format!("acme/app{number}"), &self.images[number]);
        self.scene.image(&repository, "1", image).await?;
        assert!(self.usage().await <= QUOTA, "over the quota");
        Ok(())
    }

    async fn usage(&self) -> i64 {
        let usage = "SELECT coalesce(sum(usage_bytes), 0) FROM organization";
        self.scene.remains.number(usage).await
    }
}

/// What an image counts (Q2).
fn weight(image: &Image) -> i64 {
    let bytes = image.manifest.size() + image.blobs().map(Blob::size).sum::<u64>();
    bytes.try_into().unwrap()
}
