//! Images to serve: layers, configs, manifests, indexes and artifacts, all deterministic.
//!
//! Two kinds of layer: [`Blob::random`] for tests that look at bytes only, and
//! [`archive::layer`] for clients that unpack what they pulled.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use bytes::Bytes;
use serde_json::{Value, json};

pub mod archive;
mod image;
mod index;

pub use image::{Format, Image, ImageBuilder};
pub use index::{Index, IndexBuilder};

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, gzipped tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzipped tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker foreign layer: never fetched from the registry that names it.
pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// The OCI digest `sha256:<hex>` of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

/// The OCI digest `sha512:<hex>` of `bytes`.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(digest(&SHA512, bytes).as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `length` bytes that depend on `seed` alone and do not compress.
pub fn random_bytes(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// A piece of content under its digest: a layer, a config or a manifest.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The media type that a descriptor of it carries.
    pub media_type: String,
    /// `sha256:<hex>` unless made by [`Blob::with_sha512`].
    pub digest: String,
    /// The content.
    pub bytes: Bytes,
}

impl Blob {
    /// Content under its SHA-256.
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type: media_type.to_owned(),
            digest: sha256(&bytes),
            bytes,
        }
    }

    /// A layer of `length` incompressible bytes. Not an archive: only for clients that do not unpack.
    pub fn random(seed: u64, length: usize) -> Self {
        Self::new(OCI_LAYER, random_bytes(seed, length))
    }

    /// The same content under its SHA-512.
    #[must_use]
    pub fn with_sha512(mut self) -> Self {
        self.digest = sha512(&self.bytes);
        self
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What a manifest says about it.
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size() })
    }
}
