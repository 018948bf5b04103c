//! Manifests and indexes: what we have to know of a body that is kept and served byte for byte.

mod document;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::{Digest, DigestError};

/// The longest manifest body, in bytes (M12).
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// The largest blob that a descriptor may declare, in bytes: 1 TiB (M12).
pub const MAX_BLOB_BYTES: u64 = 1 << 40;

/// What a manifest says about one piece of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type; empty if the descriptor has none.
    pub media_type: String,
    /// The address of the content.
    pub digest: Digest,
    /// The declared size in bytes, at most [`MAX_BLOB_BYTES`].
    pub size: u64,
    /// False if the content has `urls` of its own or a foreign or nondistributable media type: it is
    /// neither filled nor counted, and asking for it is a 404 (M12).
    pub fetchable: bool,
    /// The type of the artifact behind it, as indexes and referrers lists give it.
    pub artifact_type: Option<String>,
}

/// Whether a manifest names blobs or other manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An image or any other artifact: a config and layers.
    Image,
    /// A list of manifests, which may be lists themselves.
    Index,
}

/// What is known of a manifest body. The body itself is never made from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Image or index.
    pub kind: Kind,
    /// The type with which the body is served: the body's own `mediaType` if it is that of a
    /// manifest, else the `Content-Type` it came with if it is, else the type of its shape (M12).
    pub media_type: String,
    /// The config of an image; of any media type.
    pub config: Option<Descriptor>,
    /// The layers of an image, the blobs of an artifact, and what an index lists that is no manifest
    /// (build caches keep layers that way), in order, repeated if the body repeats them.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index, in order.
    pub children: Vec<Descriptor>,
    /// The manifest that this one is about.
    pub subject: Option<Descriptor>,
    /// `artifactType`, for an image without one the media type of its config, as the referrers API
    /// lists it.
    pub artifact_type: Option<String>,
    /// Annotations of the manifest itself, for the referrers API.
    pub annotations: BTreeMap<String, String>,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The address of the blob.
    pub digest: Digest,
    /// The size in bytes that this manifest declares.
    pub size: u64,
    /// True if it occurs as a layer, false if as the config only.
    pub layer: bool,
}

impl Manifest {
    /// Reads a body that came with this `Content-Type`, which may have parameters (M12, M13).
    ///
    /// Schema 1 is told before anything else about the body. Whether the body hashes to what was
    /// asked for is for the caller to check.
    pub fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        parse::parse(body, content_type)
    }

    /// Whether this is a Docker schema 1 manifest, by its type or its `schemaVersion` (M12).
    pub fn is_schema1(body: &[u8], content_type: Option<&str>) -> bool {
        parse::is_schema1(body, content_type)
    }

    /// The blobs that have to be kept for this manifest, each digest once, in order of appearance.
    pub fn blobs(&self) -> Vec<BlobRef> {
        let config = self.config.iter().map(|descriptor| (descriptor, false));
        let layers = self.layers.iter().map(|descriptor| (descriptor, true));
        let mut blobs: Vec<BlobRef> = Vec::with_capacity(self.layers.len() + 1);
        let mut places: BTreeMap<&Digest, usize> = BTreeMap::new();
        for (descriptor, layer) in config
            .chain(layers)
            .filter(|(descriptor, _)| descriptor.fetchable)
        {
            match places.entry(&descriptor.digest) {
                Entry::Occupied(place) => {
                    if let Some(blob) = blobs.get_mut(*place.get()) {
                        blob.layer |= layer;
                    }
                }
                Entry::Vacant(place) => {
                    place.insert(blobs.len());
                    blobs.push(BlobRef {
                        digest: descriptor.digest.clone(),
                        size: descriptor.size,
                        layer,
                    });
                }
            }
        }
        blobs
    }
}

/// Why a body is no manifest that we store.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The body is longer than [`MAX_MANIFEST_BYTES`].
    #[error("manifest has {length} bytes, more than {MAX_MANIFEST_BYTES}")]
    TooLarge {
        /// The length of the body in bytes.
        length: usize,
    },
    /// Docker schema 1 (404 `MANIFEST_UNKNOWN` with this message, M12).
    #[error(
        "this is a Docker schema 1 manifest, a format that was withdrawn; push the image again with a current tool"
    )]
    Schema1,
    /// The body is not JSON.
    #[error("parse manifest as JSON")]
    NotJson {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A field has a type that it cannot have, or stands there twice.
    #[error("read manifest fields")]
    Field {
        /// Which and why.
        #[source]
        source: serde_json::Error,
    },
    /// The fields are not those of the manifest's type.
    #[error("manifest has the wrong shape: {reason}")]
    WrongShape {
        /// What is missing or too much.
        reason: String,
    },
    /// A descriptor's digest does not follow the grammar.
    #[error("read digest of {place}")]
    DescriptorDigest {
        /// The field, `layers[3]`.
        place: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// A descriptor's size is negative, no whole number, or more than [`MAX_BLOB_BYTES`].
    #[error("size of {place} is not a number of bytes between 0 and {MAX_BLOB_BYTES}")]
    DescriptorSize {
        /// The field, `layers[3]`.
        place: String,
    },
    /// Two descriptors give one digest two sizes.
    #[error("{place} gives {digest} the size {size}, another descriptor gives it {other}")]
    Contradiction {
        /// The field, `layers[3]`.
        place: String,
        /// The digest of both.
        digest: Digest,
        /// The size of this one, in bytes.
        size: u64,
        /// The size of the other, in bytes.
        other: u64,
    },
}
