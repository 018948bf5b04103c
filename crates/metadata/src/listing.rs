//! Pages of names and of referrers.

use bytes::Bytes;
use quayside_oci::Digest;

/// One page of a repository's live tags (L1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPage {
    /// The repository does not exist or has no live tag.
    Unknown,
    /// The names after the asked one, in byte order; fewer than the limit at the end.
    Page(Vec<String>),
}

/// One page of the names of repositories (L1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogPage {
    /// Full names, in byte order.
    pub names: Vec<String>,
    /// Up to which full name the search went, if it was given up before the page was full: so many
    /// repositories in a row have no live tag. There may be more after it.
    pub searched: Option<String>,
}

/// A manifest that names another one as its subject (L2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// Its artifact type, or the type of its config.
    pub artifact_type: Option<String>,
    /// Its body, which has the annotations.
    pub body: Bytes,
}

/// One page of the referrers of a manifest, by digest (L2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerPage {
    /// Those that may be seen. There may be fewer than the limit, even none, and more pages after it.
    pub referrers: Vec<Referrer>,
    /// After which digest the next page begins; `None` at the end.
    pub next: Option<Digest>,
}
