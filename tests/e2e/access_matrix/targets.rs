//! What is asked for, and what the specification answers.

use super::callers::Standing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    CachedTag,
    CachedDigest,
    /// Upstream only.
    ColdTag,
    ColdDigest,
    CachedBlob,
    /// Named by a cached manifest, not stored.
    ColdBlob,
    Tags,
    /// The tags of a repository that has none.
    NoTags,
    Referrers,
}

pub(super) const TARGETS: [Target; 9] = [
    Target::CachedTag,
    Target::CachedDigest,
    Target::ColdTag,
    Target::ColdDigest,
    Target::CachedBlob,
    Target::ColdBlob,
    Target::Tags,
    Target::NoTags,
    Target::Referrers,
];

impl Target {
    /// Whether it is `warm`, which no request changes.
    pub(super) fn is_cached(self) -> bool {
        !matches!(
            self,
            Self::ColdTag | Self::ColdDigest | Self::ColdBlob | Self::NoTags
        )
    }

    pub(super) fn has_head(self) -> bool {
        !matches!(self, Self::Tags | Self::NoTags | Self::Referrers)
    }
}

/// An answer. `code` is empty where there is content, `error` is that of the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) error: Option<&'static str>,
}

fn answer(status: u16, code: &'static str) -> Expected {
    Expected {
        status,
        code,
        error: None,
    }
}

/// A1, A3, A4 in one place.
pub(super) fn expected(standing: Standing, target: Target) -> Expected {
    let challenge = |error| Expected {
        error,
        ..answer(401, "UNAUTHORIZED")
    };
    match (standing, target) {
        (Standing::Invalid { error }, _) => challenge(error),
        (Standing::Narrowed, _) => challenge(Some("insufficient_scope")),
        (Standing::Nobody, _)
        | (Standing::Visitor { anonymous: true }, Target::ColdTag | Target::ColdDigest) => challenge(None),
        (Standing::Stranger, _) => answer(403, "DENIED"),
        (Standing::Member | Standing::Visitor { .. }, Target::NoTags) => answer(404, "NAME_UNKNOWN"),
        (Standing::Visitor { anonymous: false }, Target::ColdTag | Target::ColdDigest) => {
            answer(404, "MANIFEST_UNKNOWN")
        }
        (Standing::Visitor { .. }, Target::ColdBlob) => answer(404, "BLOB_UNKNOWN"),
        (Standing::Member | Standing::Visitor { .. }, _) => answer(200, ""),
    }
}
