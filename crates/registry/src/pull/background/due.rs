//! Which wanted blobs this replica is to fill now (ENGINE §3.5).
//!
//! Alone, all that are due. Of several replicas each fills what its own pulls wanted, at once and for as long as it
//! lives; what is left over of the others, the leader fills.

use std::collections::HashMap;

use quayside_metadata::{MetadataError, Wanted};
use quayside_oci::Digest;

use crate::clock::Millis;
use crate::pull::Engine;

/// How many due blobs one look at the database brings.
const PAGE: u32 = 256;
/// How many of its own a replica remembers; the rest is left over.
const OWN: usize = 16_384;
/// How long a replica has to fill what it wanted before that counts as left over.
const LEFT_OVER: Millis = 60_000;

/// What this replica wanted itself; nothing where it is alone.
#[derive(Default)]
pub(super) struct Due {
    own: HashMap<Digest, Wanted>,
}

impl Due {
    /// Remembers what a pull of this replica wanted.
    pub(super) fn add(&mut self, engine: &Engine, wanted: Vec<Wanted>) {
        if !engine.metadata.is_shared() {
            return;
        }
        for wanted in wanted {
            if self.own.len() < OWN || self.own.contains_key(&wanted.digest) {
                self.own.insert(wanted.digest.clone(), wanted);
            }
        }
    }

    /// Configs first, then the smallest.
    pub(super) async fn look(&self, engine: &Engine, now: Millis) -> Result<Vec<Wanted>, MetadataError> {
        let metadata = &engine.metadata;
        if !metadata.is_shared() {
            return metadata.wanted(now, PAGE).await;
        }
        let mut due: Vec<_> = self.own_at(now).cloned().collect();
        if engine.leader.leads() {
            let wanted_by = now.saturating_sub(LEFT_OVER);
            let left = metadata.wanted_for_long(now, wanted_by, PAGE).await?;
            due.extend(
                left.into_iter()
                    .filter(|left| !self.own.contains_key(&left.digest)),
            );
        }
        due.sort_by(|one, other| {
            let place = |wanted: &Wanted| (wanted.layer, wanted.size);
            place(one)
                .cmp(&place(other))
                .then_with(|| one.digest.cmp(&other.digest))
        });
        Ok(due)
    }

    fn own_at(&self, now: Millis) -> impl Iterator<Item = &Wanted> {
        self.own.values().filter(move |wanted| wanted.retry_at <= now)
    }

    /// It is tried again from then on.
    pub(super) fn postpone(&mut self, digest: &Digest, until: Millis) {
        if let Some(wanted) = self.own.get_mut(digest) {
            wanted.retry_at = until;
        }
    }

    /// It is stored, or nobody wants it any more.
    pub(super) fn forget(&mut self, digest: &Digest) {
        self.own.remove(digest);
    }
}
