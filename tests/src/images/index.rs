//! Image indexes, manifest lists and indexes of indexes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Blob, DOCKER_LIST, Format, Image, OCI_INDEX};

/// An index and the images it names. Nested indexes are in `nested`.
#[derive(Clone, Debug)]
pub struct Index {
    /// The index itself; its bytes, digest and type.
    pub manifest: Blob,
    /// The images that it names.
    pub images: Vec<Image>,
    /// The indexes that it names.
    pub nested: Vec<Index>,
}

impl Index {
    /// An OCI index without entries.
    pub fn builder() -> IndexBuilder {
        IndexBuilder {
            format: Format::Oci,
            entries: Vec::new(),
            images: Vec::new(),
            nested: Vec::new(),
        }
    }

    /// Two platforms, linux/amd64 and linux/arm64, each with one random layer of `size` bytes.
    pub fn two_platforms(seed: u64, size: usize) -> Self {
        ["amd64", "arm64"]
            .into_iter()
            .zip(0..)
            .fold(Self::builder(), |index, (architecture, position)| {
                let layer = Blob::random(seed * 1000 + position, size);
                index.image(
                    Image::builder()
                        .platform("linux", architecture)
                        .layer(layer)
                        .build(),
                    architecture,
                )
            })
            .build()
    }

    /// `sha256:<hex>` of the index.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The index, byte for byte.
    pub fn body(&self) -> &Bytes {
        &self.manifest.bytes
    }
}

/// Collects the entries of an [`Index`].
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    format: Format,
    entries: Vec<Value>,
    images: Vec<Image>,
    nested: Vec<Index>,
}

impl IndexBuilder {
    /// OCI index unless said otherwise.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Names an image for linux on `architecture`.
    #[must_use]
    pub fn image(mut self, image: Image, architecture: &str) -> Self {
        let mut entry = image.manifest.descriptor();
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        self.entries.push(entry);
        self.images.push(image);
        self
    }

    /// Names another index.
    #[must_use]
    pub fn index(mut self, index: Index) -> Self {
        self.entries.push(index.manifest.descriptor());
        self.nested.push(index);
        self
    }

    /// Writes the index.
    pub fn build(self) -> Index {
        let media_type = match self.format {
            Format::Oci => OCI_INDEX,
            Format::Docker => DOCKER_LIST,
        };
        let document = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": self.entries });
        let bytes = serde_json::to_vec_pretty(&document).unwrap();
        Index {
            manifest: Blob::new(media_type, bytes),
            images: self.images,
            nested: self.nested,
        }
    }
}
