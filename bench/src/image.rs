//! Images whose whole content follows from the name of their repository.

use anyhow::Context;
use serde_json::json;

use crate::content::{self, Content, Pool};

/// The tag of every image.
pub(crate) const TAG: &str = "v1";
/// The type of every manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// How an image is generated. It is written in the name of the repository, so that the origin can serve
/// what it has never heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Images with different numbers share no blob.
    pub(crate) number: u64,
    pub(crate) layers: u64,
    pub(crate) layer_bytes: u64,
    /// By how many bytes the manifest is longer than it needs to be.
    pub(crate) padding: usize,
}

impl Recipe {
    /// The repository: `bench/<number>/<layers>x<bytes of one>p<padding>`.
    pub(crate) fn repository(self) -> String {
        let Self {
            number,
            layers,
            layer_bytes,
            padding,
        } = self;
        format!("bench/{number}/{layers}x{layer_bytes}p{padding}")
    }

    /// The recipe that a repository is named after.
    pub(crate) fn parse(repository: &str) -> Option<Self> {
        let (number, rest) = repository.strip_prefix("bench/")?.split_once('/')?;
        let (layers, rest) = rest.split_once('x')?;
        let (layer_bytes, padding) = rest.split_once('p')?;
        let recipe = Self {
            number: number.parse().ok()?,
            layers: layers.parse().ok()?,
            layer_bytes: layer_bytes.parse().ok()?,
            padding: padding.parse().ok()?,
        };
        (recipe.layers <= 64).then_some(recipe)
    }
}

/// A blob and its name.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) content: Content,
}

/// An image, ready to be served or compared with.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) manifest: Vec<u8>,
    /// The digest of the manifest.
    pub(crate) digest: String,
    /// A small configuration, then the layers.
    pub(crate) blobs: Vec<Blob>,
}

impl Image {
    /// Hashes all of the image: a second for a GB.
    pub(crate) fn generate(pool: &Pool, recipe: Recipe) -> Self {
        let blobs: Vec<Blob> = (0..=recipe.layers)
            .map(|place| Content {
                seed: recipe.number * 65 + place,
                size: if place == 0 { 1024 } else { recipe.layer_bytes },
            })
            .map(|content| Blob {
                digest: content.digest(pool),
                content,
            })
            .collect();
        let manifest = manifest(&blobs, recipe.padding).to_string().into_bytes();
        Self {
            repository: recipe.repository(),
            digest: content::digest(&manifest),
            manifest,
            blobs,
        }
    }

    /// The layers.
    pub(crate) fn layers(&self) -> &[Blob] {
        self.blobs.get(1..).unwrap_or_default()
    }

    /// The first layer.
    pub(crate) fn layer(&self) -> anyhow::Result<&Blob> {
        self.layers().first().context("the image has a layer")
    }

    /// What somebody who pulls all of it receives.
    pub(crate) fn bytes(&self) -> u64 {
        self.manifest.len() as u64 + self.blobs.iter().map(|blob| blob.content.size).sum::<u64>()
    }
}

fn manifest(blobs: &[Blob], padding: usize) -> serde_json::Value {
    let descriptor = |media_type: &str, blob: &Blob| json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.content.size });
    let mut blobs = blobs.iter();
    let config = blobs
        .next()
        .map(|blob| descriptor("application/vnd.oci.image.config.v1+json", blob));
    let layer = |blob| descriptor("application/vnd.oci.image.layer.v1.tar", blob);
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config,
        "layers": blobs.map(layer).collect::<Vec<_>>(),
        "annotations": { "padding": "x".repeat(padding) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_says_how_its_image_is_made() {
        let recipe = Recipe {
            number: 12,
            layers: 5,
            layer_bytes: 100 << 20,
            padding: 3,
        };
        assert_eq!(Recipe::parse(&recipe.repository()), Some(recipe));
        for other in ["library/alpine", "bench/1/2", "bench/1/2x3", "bench/1/65x1p0"] {
            assert_eq!(Recipe::parse(other), None, "{other}");
        }
    }

    #[test]
    fn images_of_different_numbers_share_no_blob() {
        let pool = Pool::generate();
        let image = |number| {
            Image::generate(
                &pool,
                Recipe {
                    number,
                    layers: 2,
                    layer_bytes: 9,
                    padding: 0,
                },
            )
        };
        let (one, two) = (image(1), image(2));
        assert!(
            one.blobs
                .iter()
                .all(|blob| two.blobs.iter().all(|other| other.digest != blob.digest))
        );
        assert_eq!(one.digest, content::digest(&one.manifest));
    }
}
