//! What a pull does: from the freshness of a tag to the bytes of a blob.
//!
//! `freshness` decides, `manifests` and `blobs` carry out; `fill` reads one blob from upstream for everybody who
//! wants it; `background` completes images that somebody began to pull.

mod across;
pub(crate) mod admit;
pub(crate) mod background;
pub(crate) mod backoff;
pub(crate) mod blobs;
pub(crate) mod error;
pub(crate) mod fill;
pub(crate) mod flights;
pub(crate) mod following;
pub(crate) mod freshness;
pub(crate) mod manifests;
pub(crate) mod outage;
pub(crate) mod passthrough;
pub(crate) mod peer;
pub(crate) mod pruned;
pub(crate) mod readers;
pub(crate) mod referrers;
pub(crate) mod renewals;
pub(crate) mod replica;
pub(crate) mod resume;
pub(crate) mod running;
pub(crate) mod source;
pub(crate) mod stored;
pub(crate) mod tags;
pub(crate) mod warm;

use std::sync::Arc;
use std::time::Duration;

use quayside_blobs::Store;
use quayside_metadata::Metadata;

use crate::clock::{Clock, Millis, millis};

use crate::leader::Leader;
use crate::organizations::Served;
use freshness::Policy;

pub(crate) use error::PullError;

/// Whether the client asked for the content or only for what is known of it (M11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
}

/// On what ground the request is answered (A3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// May cause everything that a pull can cause.
    Member,
    /// Sees what is cached and live, causes nothing.
    Public,
}

/// Whether upstreams may be contacted at all (C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    Allowed,
    Never,
}

/// Whether organizations are held to their quotas (Q1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotas {
    Enforced,
    /// Usage is counted, and that is all.
    Counted,
}

/// The value of `X-Cache` (M14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    Hit,
    Miss,
    Revalidated,
    Stale,
}

/// What everything below `pull` works with.
pub(crate) struct Engine {
    /// Which of the processes that share the database this one is.
    pub(crate) replica: replica::Replica,
    pub(crate) leader: Leader,
    pub(crate) metadata: Metadata,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contact: Contact,
    pub(crate) quotas: Quotas,
    /// `gc.graceSeconds`: how long garbage keeps its bytes (G3).
    pub(crate) grace: Duration,
    pub(crate) delivery: stored::Delivery,
    pub(crate) readers: readers::Readers,
    pub(crate) outage: outage::Outage,
    pub(crate) warm: warm::Warm,
    pub(crate) renewals: renewals::Renewals,
    pub(crate) backoffs: backoff::Backoffs,
    pub(crate) tag_flights: flights::Flights<tags::TagKey, tags::Refreshed>,
    pub(crate) digest_flights: flights::Flights<manifests::DigestKey, manifests::Fetched>,
    pub(crate) blob_flights: flights::Flights<manifests::DigestKey, blobs::Looked>,
    pub(crate) referrer_flights: flights::Flights<referrers::ListingKey, referrers::Asked>,
    pub(crate) running: running::Running,
    pub(crate) passthrough: passthrough::Gates,
    pub(crate) background: background::Nudger,
}

impl Engine {
    /// What an organization asks of the freshness of its tags.
    pub(crate) fn policy(&self, served: &Served) -> Policy {
        Policy {
            contact: self.contact,
            revalidate: millis(served.spec.revalidate),
            on_failure: served.spec.upstream_failure_policy,
            window: millis(served.spec.window),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The earliest moment at which bytes that became garbage now may be deleted (G3).
    pub(crate) fn garbage_not_before(&self) -> Millis {
        self.now()
            .saturating_add(millis(self.delivery.garbage_stays(self.grace)))
    }
}
