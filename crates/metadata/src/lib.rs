//! What the registry knows: organizations, repositories, manifests, tags, blobs and who holds them.
//!
//! One concept carries quota, expiry and collection: a manifest is *held* while a tag row or a pin
//! points at it, or an index that names it, or the manifest it names as its subject, is held in the
//! same repository. What is held is counted, in the same transaction that makes it held.
//!
//! There is no clock here: callers say what time it is, in milliseconds since the epoch, and
//! [`NEVER`] is the end of what never ends. There are no bytes of blobs here either, only the keys
//! under which a store keeps them.

mod accounting;
mod admission;
mod engine;
mod error;
mod fill;
mod inspection;
mod lease;
mod lifetime;
mod listing;
mod metadata;
mod organization;
mod planner;
mod queries;
mod renewal;
mod schema;
mod scrub;
mod sql;
mod state;
#[cfg(test)]
mod tests;
mod wanted;

pub use accounting::{Discrepancy, Usage};
pub use admission::{Admission, AdmitError, Admitted, Content, Hold};
pub use engine::PostgresSettings;
pub use error::MetadataError;
pub use fill::{FillCommit, FillIntent, FillLease, FillPurpose, HeldFill};
pub use inspection::{Absence, Holder, Inspection, MissingBlob, Part};
pub use lease::{Lease, Taken};
pub use lifetime::{Collected, Forecast, Garbage, REMOVED_WINDOW_MS, Slacks, Swept};
pub use listing::{CatalogPage, Referrer, ReferrerPage, TagPage};
pub use metadata::Metadata;
pub use organization::{KnownOrganization, OrganizationId, OrganizationIdentity};
pub use planner::{
    Candidate, Demand, Eviction, Node, Opening, Page, Plan, Planner, PruneError, Pruned, Pruning, Refusal,
    Standing, Start, Step, Unlimited, Weight,
};
pub use queries::prune::PrunePlan;
pub use renewal::{RESOLVED_FOR_MS, Renewal};
pub use scrub::{KeyPlace, StoredKey, StoredTotal};
pub use state::{BlobState, HeldBy, ManifestId, RepositoryId, StoredBlob, StoredManifest, TagState, View};
pub use wanted::Wanted;

/// The end time of what never ends, in milliseconds since the epoch (E1: a TTL of 0).
pub const NEVER: i64 = i64::MAX;

/// How many indexes may lie one inside the other on the way from a manifest to the tag that holds
/// it, for renewals (M9) and for what a stranger may see (B1).
pub const INDEX_DEPTH: i64 = 4;
