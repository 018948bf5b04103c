//! Which manifests nothing holds any more once some tags are gone, and how many bytes those free.
//!
//! The same as a release in the database, step by step, so that what is planned is what happens: a
//! manifest that lost its tags goes, with everything below it, as far as nothing outside of that holds
//! it. Looking at all of it at once finds manifests that hold only each other.

use std::collections::{HashMap, HashSet};

use quayside_metadata::{ManifestId, Node, Weight};
use quayside_oci::Digest;

/// The manifests that are known so far. One that is not is held by something that stays.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<ManifestId, Vertex>,
    /// Of each manifest, known or not, the known ones that it holds.
    held_by: HashMap<ManifestId, Vec<ManifestId>>,
    /// Where a digest's counter is.
    places: HashMap<Digest, usize>,
    counters: Vec<Counter>,
    freed: u64,
}

#[derive(Debug)]
struct Vertex {
    /// Whether tags or a pin hold it, as far as they were not taken.
    tagged: bool,
    released: bool,
    holders: Vec<ManifestId>,
    /// The places of its counters.
    digests: Vec<usize>,
}

/// How often a digest is counted, and how often that was released.
#[derive(Debug)]
struct Counter {
    size: u64,
    refs: u64,
    released: u64,
}

impl Graph {
    /// How many bytes do not count any more.
    pub(super) fn freed(&self) -> u64 {
        self.freed
    }

    pub(super) fn learn(&mut self, nodes: &[Node], weights: &[Weight]) {
        for weight in weights {
            let place = self.counters.len();
            if self.places.insert(weight.digest.clone(), place).is_none() {
                self.counters.push(Counter {
                    size: weight.size,
                    refs: weight.refs,
                    released: 0,
                });
            }
        }
        for node in nodes {
            let digests = node.digests.iter().filter_map(|digest| self.places.get(digest));
            let vertex = Vertex {
                tagged: node.tagged,
                released: false,
                holders: node.holders.clone(),
                digests: digests.copied().collect(),
            };
            for holder in &node.holders {
                self.held_by.entry(*holder).or_default().push(node.manifest);
            }
            self.nodes.insert(node.manifest, vertex);
        }
    }

    /// Takes a manifest's tags and pin away, and releases what nothing holds then.
    pub(super) fn take(&mut self, manifest: ManifestId) {
        let Some(vertex) = self.nodes.get_mut(&manifest) else {
            return;
        };
        vertex.tagged = false;
        let suspects = self.below([manifest], |vertex| !vertex.tagged && !vertex.released);
        let held = suspects
            .iter()
            .filter(|suspect| self.is_held_from_outside(**suspect, &suspects));
        let held: Vec<ManifestId> = held.copied().collect();
        let mut released = suspects;
        if !held.is_empty() {
            // None of these is tagged or released: that was asked when they became suspects.
            let saved = self.below(held, |vertex| !vertex.tagged && !vertex.released);
            released.retain(|manifest| !saved.contains(manifest));
        }
        for manifest in released {
            self.release(manifest);
        }
    }

    /// Gives a manifest its tags and pin back, and says what is held again by that.
    pub(super) fn put_back(&mut self, manifest: ManifestId) -> Vec<ManifestId> {
        let held: Vec<ManifestId> = self
            .below([manifest], |vertex| vertex.released)
            .into_iter()
            .collect();
        if let Some(vertex) = self.nodes.get_mut(&manifest) {
            vertex.tagged = true;
        }
        for manifest in &held {
            self.hold(*manifest);
        }
        held
    }

    /// Undoes [`put_back`](Self::put_back), given what that said.
    pub(super) fn take_again(&mut self, manifest: ManifestId, released: &[ManifestId]) {
        if let Some(vertex) = self.nodes.get_mut(&manifest) {
            vertex.tagged = false;
        }
        for manifest in released {
            self.release(*manifest);
        }
    }

    /// The given manifests and what they hold, and so on, as far as `counts` says yes.
    fn below(
        &self,
        given: impl IntoIterator<Item = ManifestId>,
        counts: impl Fn(&Vertex) -> bool,
    ) -> HashSet<ManifestId> {
        let counts = |manifest: &ManifestId| self.nodes.get(manifest).is_some_and(&counts);
        let mut work: Vec<ManifestId> = given.into_iter().filter(|manifest| counts(manifest)).collect();
        let mut found: HashSet<ManifestId> = work.iter().copied().collect();
        while let Some(manifest) = work.pop() {
            for held in self.held_by.get(&manifest).into_iter().flatten() {
                if counts(held) && found.insert(*held) {
                    work.push(*held);
                }
            }
        }
        found
    }

    fn is_held_from_outside(&self, manifest: ManifestId, inside: &HashSet<ManifestId>) -> bool {
        let holders = self.nodes.get(&manifest).map(|vertex| vertex.holders.iter());
        holders.into_iter().flatten().any(|holder| {
            !inside.contains(holder) && self.nodes.get(holder).is_none_or(|vertex| !vertex.released)
        })
    }

    fn release(&mut self, manifest: ManifestId) {
        let Some(vertex) = self.nodes.get_mut(&manifest) else {
            return;
        };
        vertex.released = true;
        for place in &vertex.digests {
            if let Some(counter) = self.counters.get_mut(*place) {
                counter.released += 1;
                if counter.released == counter.refs {
                    self.freed += counter.size;
                }
            }
        }
    }

    fn hold(&mut self, manifest: ManifestId) {
        let Some(vertex) = self.nodes.get_mut(&manifest) else {
            return;
        };
        vertex.released = false;
        for place in &vertex.digests {
            if let Some(counter) = self.counters.get_mut(*place) {
                if counter.released == counter.refs {
                    self.freed -= counter.size;
                }
                counter.released -= 1;
            }
        }
    }
}
