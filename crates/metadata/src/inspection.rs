//! One manifest, looked at from all sides (O5).

use quayside_oci::Digest;

/// A tag row or a digest pin that points at a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The tag's name; empty for a pin.
    pub name: String,
    /// Whether upstream confirmed it last of the rows of its name; a pin always is.
    pub current: bool,
    /// When it dies, or died.
    pub ends_at: i64,
    /// When it was last used.
    pub pulled_at: i64,
    /// When upstream last confirmed it.
    pub checked_at: i64,
    /// When a check of it last failed (M3); it is unconfirmed while this is greater than `checked_at`.
    pub failed_at: i64,
}

/// Why a blob would have to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Its bytes are not stored.
    NotStored,
    /// They are, and were obtained with another organization's credentials (B9).
    Unproven,
}

/// A blob that would have to be fetched for a complete image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlob {
    /// Which blob.
    pub digest: Digest,
    /// Its size in bytes, as it is declared or known.
    pub size: u64,
    /// Why it has to be fetched.
    pub absence: Absence,
}

/// A stored manifest that belongs to an image: itself, or a child of an index at any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which manifest.
    pub digest: Digest,
    /// False if it is released.
    pub held: bool,
    /// Its blobs that are not to be had from storage.
    pub missing: Vec<MissingBlob>,
}

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The tags and the pin on it, by name.
    pub holders: Vec<Holder>,
    /// The held indexes that name it and the held manifest that is its subject.
    pub held_through: Vec<Digest>,
    /// Itself first, then the children that are stored, if it is an index.
    pub parts: Vec<Part>,
    /// Bytes of bodies and blobs that nothing else in the organization holds: what would go with the image.
    pub alone_bytes: u64,
    /// Bytes that something else in the organization holds too.
    pub shared_bytes: u64,
}
