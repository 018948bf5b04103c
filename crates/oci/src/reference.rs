//! What comes behind `/manifests/`: a tag or a digest.

use std::fmt;
use std::sync::Arc;

use crate::text::{quoted, text_type};
use crate::{Digest, RouteError};

/// The longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 128;

/// Why a text is no tag (`MANIFEST_INVALID`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tag {0} is invalid: 1 to {MAX_TAG_BYTES} letters, digits, '_', '.' and '-', not beginning with '.' or '-'"
)]
pub struct TagError(String);

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

text_type!(Tag, TagError);

impl Tag {
    /// Reads `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (N3).
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let valid = !text.is_empty()
            && text.len() <= MAX_TAG_BYTES
            && !text.starts_with(['.', '-'])
            && text.bytes().all(allowed);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(TagError(quoted(text)))
        }
    }
}

/// A tag or a digest of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// An address that cannot.
    Digest(Digest),
}

impl Reference {
    /// Reads a digest if there is a colon, which no tag has, else a tag (N3).
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text.contains(':') {
            Digest::parse(text)
                .map(Self::Digest)
                .map_err(|error| RouteError::Digest(error.to_string()))
        } else {
            Tag::parse(text)
                .map(Self::Tag)
                .map_err(|error| RouteError::Tag(error.to_string()))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
