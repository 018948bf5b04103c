//! Pages of names.

/// One page of a repository's live tags (L1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPage {
    /// The repository does not exist or has no live tag.
    Unknown,
    /// The names after the asked one, in byte order; fewer than the limit at the end.
    Page(Vec<String>),
}
