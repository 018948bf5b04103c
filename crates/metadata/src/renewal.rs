//! Pulls and checks that are written in batches (M15).

use crate::{ManifestId, RepositoryId};

/// For how long after a HEAD found a dead tag unchanged a GET of its digest revives it, in
/// milliseconds (M11).
pub const RESOLVED_FOR_MS: i64 = 600_000;

/// One thing that happened to manifests that are held. None of them changes what is counted.
///
/// `at` is when it happened. `ends_at` is `at` plus the TTL that held then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// A GET by tag that moves its end (M3, C2), also if the tag died while it was being checked (M5).
    /// It must still be the current row of its name. It says nothing of a check: one that was made
    /// for it is a [`Renewal::Checked`] of its own, before this one.
    Tag {
        /// The tag's repository.
        repository: RepositoryId,
        /// The tag's name.
        name: String,
        /// What was served.
        manifest: ManifestId,
        /// When.
        at: i64,
        /// The tag's new end.
        ends_at: i64,
    },
    /// A check that confirmed a tag (M3); by itself it moves no end (M11).
    Checked {
        /// The tag's repository.
        repository: RepositoryId,
        /// The tag's name.
        name: String,
        /// What was confirmed.
        manifest: ManifestId,
        /// When.
        at: i64,
    },
    /// A check of a tag that failed, was skipped, or was answered 404, 401 or 403 (M3): its current
    /// row is unconfirmed from now on.
    Failed {
        /// The tag's repository.
        repository: RepositoryId,
        /// The tag's name.
        name: String,
        /// When.
        at: i64,
    },
    /// A GET by digest of a held manifest (M9): every live tag and live pin on it or on a held index
    /// around it is renewed, every resolved tag revived, unconfirmed and replaced tags excepted. If
    /// nothing live holds it then, it gets a digest pin.
    Digest {
        /// The manifest's repository.
        repository: RepositoryId,
        /// What was served.
        manifest: ManifestId,
        /// When.
        at: i64,
        /// The new end of what is renewed.
        ends_at: i64,
        /// The organization's quota in bytes, if it has one. A manifest that was released in the meantime
        /// is held again only while it fits; else it stays readable until it is collected.
        quota_bytes: Option<u64>,
    },
    /// A use that moves no end time and only counts for the order of pruning: HEAD, or a pull by a
    /// stranger (M11, A3).
    Used {
        /// The manifest's repository.
        repository: RepositoryId,
        /// What was served.
        manifest: ManifestId,
        /// The tag it was asked by; by digest every live tag and pin around it counts as used.
        name: Option<String>,
        /// When.
        at: i64,
    },
}
