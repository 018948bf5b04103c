//! What has to go so that new content fits, as far as metadata asks it: the decision itself is the
//! caller's, is made inside the transaction, and is pure (Q3-Q6, ENGINE §1.3).

use quayside_oci::Digest;

use crate::{ManifestId, MetadataError};

/// Decides what has to go. Makes no IO and knows no clock, because a transaction waits for it.
pub trait Planner: Send + Sync {
    /// Called once the new content is counted, if it added bytes; and for a prune without new content.
    /// It may be called again: a transaction that met another one is run anew.
    fn open(&self, demand: &Demand) -> Opening;
}

/// What an admission weighs, or a prune without one. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What the organization holds, the new content included (Q2).
    pub usage_bytes: u64,
    /// How much of that the new content added, children and referrers that became held with it
    /// included (Q3). 0 for a prune without a request.
    pub needed_bytes: u64,
    /// The body of the new manifest and the distinct blobs that it names, counted before or not (Q4).
    /// 0 for a prune without a request.
    pub alone_bytes: u64,
}

/// The first answer of a [`Planner`].
pub enum Opening {
    /// It fits.
    Admit,
    /// It cannot be made to fit.
    Refuse(Refusal),
    /// Something has to go, if that helps.
    Plan(Box<dyn Plan>),
}

/// A plan in the making.
pub trait Plan: Send {
    /// Called once, before any candidate is read: `staying_bytes` is what the organization would still
    /// hold if every candidate went, the pulled manifest and whatever stays with it (Q5). A plan that
    /// would be in vain is refused here, for what it costs to look at that alone.
    fn start(&mut self, staying_bytes: u64) -> Start;

    /// Takes the next candidates, in the order of Q5. Not called again once it has decided; the last
    /// page must be answered by a decision.
    fn page(&mut self, page: &Page) -> Step;
}

/// A plan's answer to what would stay in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The candidates tell what goes.
    Go,
    /// This planner makes no plan: nothing changes, so that the caller can write its renewals first and
    /// ask again (M15).
    Defer,
    /// It would not be enough.
    Refuse(Refusal),
}

/// A plan's answer to a page of candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not enough yet.
    More,
    /// These candidates go, in the order in which they were given.
    Evict(Vec<Eviction>),
    /// Not even all candidates together are enough.
    Refuse(Refusal),
}

/// A candidate that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Which one.
    pub manifest: ManifestId,
    /// How many bytes stop counting when it goes after those before it.
    pub freed_bytes: u64,
}

/// Why content does not fit (Q7). All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the organization may hold.
    pub quota_bytes: u64,
    /// What it held before the request.
    pub used_bytes: u64,
    /// What the request would have added.
    pub needed_bytes: u64,
}

/// Candidates and what has to be known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most 256.
    pub candidates: Vec<Candidate>,
    /// The candidates and what is held through them, down to what a tag or a pin of its own holds;
    /// those that an earlier page sent are left out.
    pub nodes: Vec<Node>,
    /// Of every digest of these nodes that an earlier page did not send.
    pub weights: Vec<Weight>,
    /// Whether there are no more candidates.
    pub last: bool,
}

/// A manifest that may be evicted: it has tags or a pin. What goes with it are those rows; it is
/// released if nothing else holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub manifest: ManifestId,
    /// Whether anything live holds it by itself.
    pub standing: Standing,
    /// The latest use of its tags and pin, in milliseconds since the epoch.
    pub last_used_at: i64,
}

/// Whether a manifest's tags and pin are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of them are.
    Dead {
        /// When the last of them died, in milliseconds since the epoch.
        ended_at: i64,
    },
    /// At least one is not.
    Live,
}

/// A held manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which one.
    pub manifest: ManifestId,
    /// Whether a tag, live or dead, or a pin holds it.
    pub tagged: bool,
    /// The held indexes that name it and its held subject. One that was not sent as a node stays held
    /// whichever of the candidates so far go.
    pub holders: Vec<ManifestId>,
    /// Its own digest and those of the blobs that it names, each once.
    pub digests: Vec<Digest>,
}

/// What a digest counts in the organization (Q2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Of which digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How many held manifests of the organization name it or are it.
    pub refs: u64,
}

/// What went so that something else fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The manifest's repository, without the organization.
    pub repository: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The tags that it had, in byte order; none if only a pin held it.
    pub tags: Vec<String>,
    /// Its latest use, in milliseconds since the epoch.
    pub last_used_at: i64,
    /// Whether anything live held it by itself.
    pub standing: Standing,
    /// How many bytes stopped counting when it went after those before it, children and referrers that
    /// went with it included.
    pub freed_bytes: u64,
}

/// What a step of a prune without a request did, or all of it would do (Q9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruning {
    /// What went, in that order, each with what the plan said that it frees.
    pub pruned: Vec<Pruned>,
    /// The organization's usage in bytes afterwards.
    pub usage_bytes: u64,
    /// How many rows were read to plan it.
    pub rows_read: u64,
}

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The organization cannot be made to fit.
    #[error("prune organization: everything in it together is not enough")]
    Quota(Refusal),
    /// Something would have to go, and the planner makes no plan.
    #[error("prune organization: a plan is needed")]
    NeedsPlan,
    /// The database did not do it.
    #[error("prune organization")]
    Metadata(#[source] MetadataError),
}

/// Admits everything: an organization without a quota.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Planner for Unlimited {
    fn open(&self, _: &Demand) -> Opening {
        Opening::Admit
    }
}
