//! One request path, one enum value: the URL grammar of the distribution API.

use std::borrow::Cow;

use crate::text::quoted;
use crate::{Digest, FullName, Reference};

/// What a path under `/v2` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Base,
    /// `/v2/auth`, the token service.
    Token,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/manifests/<reference>`
    Manifest {
        /// Where.
        name: FullName,
        /// Which.
        reference: Reference,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// Where.
        name: FullName,
        /// Which.
        digest: Digest,
    },
    /// `/v2/<name>/tags/list`
    Tags {
        /// Where.
        name: FullName,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// Where.
        name: FullName,
        /// The subject.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/…`, which a read-only registry refuses whatever the method (A5).
    Upload,
}

/// Why a path is no [`Route`]. The messages are for people; what they repeat is quoted and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The API has no such path.
    #[error("the registry has no such path")]
    NotFound,
    /// `NAME_INVALID`
    #[error("{0}")]
    Name(String),
    /// `MANIFEST_INVALID`
    #[error("{0}")]
    Tag(String),
    /// `DIGEST_INVALID`
    #[error("{0}")]
    Digest(String),
}

impl Route {
    /// Reads the path of a request: raw, still percent-encoded, without the query (N3).
    ///
    /// Each segment is decoded once, after the path was split, so an encoded slash never makes a
    /// segment and an encoded percent sign never makes an escape; whatever the grammar does not have
    /// is the error of the place where it stands.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let rest = match path {
            "/v2" | "/v2/" => return Ok(Self::Base),
            _ => path.strip_prefix("/v2/").ok_or(RouteError::NotFound)?,
        };
        let segments: Vec<Cow<'_, str>> = rest.split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        match *segments {
            ["auth"] => Ok(Self::Token),
            ["_catalog"] => Ok(Self::Catalog),
            [ref name @ .., "blobs", "uploads"] | [ref name @ .., "blobs", "uploads", _] => {
                named(name).map(|_| Self::Upload)
            }
            [ref name @ .., "tags", "list"] => Ok(Self::Tags { name: named(name)? }),
            [ref name @ .., "manifests", reference] => Ok(Self::Manifest {
                name: named(name)?,
                reference: Reference::parse(reference)?,
            }),
            [ref name @ .., "blobs", digest] => Ok(Self::Blob {
                name: named(name)?,
                digest: digest_of(digest)?,
            }),
            [ref name @ .., "referrers", digest] => Ok(Self::Referrers {
                name: named(name)?,
                digest: digest_of(digest)?,
            }),
            _ => Err(misplaced(&segments)),
        }
    }
}

fn named(components: &[&str]) -> Result<FullName, RouteError> {
    let name = components.join("/");
    if components.iter().any(|component| component.contains('/')) {
        return Err(RouteError::Name(format!(
            "name {} has an escaped slash",
            quoted(&name)
        )));
    }
    FullName::parse(&name).map_err(|error| RouteError::Name(error.to_string()))
}

fn digest_of(text: &str) -> Result<Digest, RouteError> {
    Digest::parse(text).map_err(|error| RouteError::Digest(error.to_string()))
}

/// The error of a path that has the words of a route and too many segments behind them: a reference
/// with a slash in it.
fn misplaced(segments: &[&str]) -> RouteError {
    let keyword = |at: &usize| matches!(segments[*at], "manifests" | "blobs" | "referrers");
    let Some(at) = (1..segments.len().saturating_sub(1)).find(keyword) else {
        return RouteError::NotFound;
    };
    let reference = segments[at + 1..].join("/");
    if segments[at] == "manifests" {
        RouteError::Tag(format!(
            "reference {} is neither a tag nor a digest",
            quoted(&reference)
        ))
    } else {
        RouteError::Digest(format!(
            "digest {} is not of the form algorithm:hex",
            quoted(&reference)
        ))
    }
}

/// The segment with its escapes decoded, once. What is no escape stays, and what decodes to no UTF-8
/// becomes U+FFFD: the grammar has neither, so both are refused where they stand.
fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', Some(byte)) = (*first, tail.get(..2).and_then(hex_byte)) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(value(high)? * 16 + value(low)?).ok()
}

#[cfg(test)]
mod tests;
