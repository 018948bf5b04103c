//! A registry of a few manifests, counted from scratch whenever anybody asks.

use std::collections::{BTreeMap, BTreeSet};

use quayside_metadata::{Candidate, ManifestId, Node, Page, Standing, Weight};
use quayside_oci::{Algorithm, Digest};

/// What time it is.
pub(super) const NOW: i64 = 50;

/// One manifest. What it refers to has a lower number: digests allow nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) children: BTreeSet<usize>,
    pub(super) subject: Option<usize>,
    pub(super) blobs: BTreeSet<usize>,
    /// The end and the last use of each of its tags and its pin.
    pub(super) rows: Vec<(i64, i64)>,
}

/// The held manifests of an organization.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) images: Vec<Image>,
    /// What each body weighs, then each blob.
    pub(super) sizes: Vec<u64>,
}

impl World {
    /// What is held once these have lost their rows: what a row, an index or a subject that is held holds.
    pub(super) fn held(&self, without: &[usize]) -> BTreeSet<usize> {
        let tagged = |image: &usize| !self.images[*image].rows.is_empty() && !without.contains(image);
        let mut held: BTreeSet<usize> = (0..self.images.len()).filter(tagged).collect();
        loop {
            let holds = |image: &usize| self.holders(*image).iter().any(|holder| held.contains(holder));
            let more: Vec<usize> = (0..self.images.len())
                .filter(|image| !held.contains(image))
                .filter(holds)
                .collect();
            if more.is_empty() {
                return held;
            }
            held.extend(more);
        }
    }

    fn holders(&self, image: usize) -> Vec<usize> {
        let indexes = (0..self.images.len()).filter(|index| self.images[*index].children.contains(&image));
        let holders: BTreeSet<usize> = indexes.chain(self.images[image].subject).collect();
        holders.into_iter().collect()
    }

    /// The body, then the blobs, as numbers of sizes.
    fn digests(&self, image: usize) -> BTreeSet<usize> {
        let blobs = self.images[image].blobs.iter();
        blobs
            .map(|blob| self.images.len() + blob)
            .chain([image])
            .collect()
    }

    /// Q2, once these have lost their rows.
    pub(super) fn usage(&self, without: &[usize]) -> u64 {
        let held = self.held(without);
        let digests: BTreeSet<usize> = held.iter().flat_map(|image| self.digests(*image)).collect();
        digests.iter().map(|digest| self.sizes[*digest]).sum()
    }

    /// What must not go for a manifest: itself and whatever holds it.
    fn spared(&self, pulled: usize) -> BTreeSet<usize> {
        let mut spared = BTreeSet::from([pulled]);
        let mut work = vec![pulled];
        while let Some(image) = work.pop() {
            let holders = self.holders(image).into_iter();
            work.extend(holders.filter(|holder| spared.insert(*holder)));
        }
        spared
    }

    /// Q5: everything that may go, in the order in which it should.
    pub(super) fn candidates(&self, pulled: Option<usize>) -> Vec<usize> {
        let spared = pulled.map(|pulled| self.spared(pulled)).unwrap_or_default();
        let order = |image: &usize| {
            let candidate = self.candidate(*image);
            match candidate.standing {
                Standing::Dead { ended_at } => (0, ended_at, *image),
                Standing::Live => (1, candidate.last_used_at, *image),
            }
        };
        let mut candidates: Vec<usize> = (0..self.images.len())
            .filter(|image| !self.images[*image].rows.is_empty() && !spared.contains(image))
            .collect();
        candidates.sort_by_key(order);
        candidates
    }

    fn candidate(&self, image: usize) -> Candidate {
        let rows = &self.images[image].rows;
        let ended_at = rows.iter().map(|row| row.0).max().unwrap_or_default();
        Candidate {
            manifest: id(image),
            standing: if ended_at <= NOW {
                Standing::Dead { ended_at }
            } else {
                Standing::Live
            },
            last_used_at: rows.iter().map(|row| row.1).max().unwrap_or_default(),
        }
    }

    /// What the database would show, so many candidates a page.
    pub(super) fn pages(&self, candidates: &[usize], size: usize) -> Vec<Page> {
        let held = self.held(&[]);
        let refs = held.iter().flat_map(|image| self.digests(*image));
        let refs = refs.fold(BTreeMap::new(), |mut refs: BTreeMap<usize, u64>, digest| {
            *refs.entry(digest).or_default() += 1;
            refs
        });
        let (mut shown, mut weighed) = (BTreeSet::new(), BTreeSet::new());
        let mut pages = Vec::new();
        for chunk in candidates.chunks(size) {
            let mut work: Vec<usize> = chunk.to_vec();
            let mut found = Vec::new();
            while let Some(image) = work.pop() {
                if !shown.insert(image) {
                    continue;
                }
                found.push(image);
                let below = (0..self.images.len()).filter(|below| self.holders(*below).contains(&image));
                work.extend(below.filter(|below| self.images[*below].rows.is_empty()));
            }
            let digests: BTreeSet<usize> = found.iter().flat_map(|image| self.digests(*image)).collect();
            pages.push(Page {
                candidates: chunk.iter().map(|image| self.candidate(*image)).collect(),
                nodes: found.iter().map(|image| self.node(*image, &held)).collect(),
                weights: digests
                    .into_iter()
                    .filter(|digest| weighed.insert(*digest))
                    .map(|digest| Weight {
                        digest: name(digest),
                        size: self.sizes[digest],
                        refs: refs[&digest],
                    })
                    .collect(),
                last: false,
            });
        }
        match pages.last_mut() {
            Some(page) => page.last = true,
            None => pages.push(Page {
                last: true,
                ..Page::default()
            }),
        }
        pages
    }

    fn node(&self, image: usize, held: &BTreeSet<usize>) -> Node {
        let holders = self.holders(image).into_iter();
        Node {
            manifest: id(image),
            tagged: !self.images[image].rows.is_empty(),
            holders: holders.filter(|holder| held.contains(holder)).map(id).collect(),
            digests: self.digests(image).into_iter().map(name).collect(),
        }
    }
}

pub(super) fn id(image: usize) -> ManifestId {
    ManifestId(i64::try_from(image).unwrap())
}

pub(super) fn number(manifest: ManifestId) -> usize {
    usize::try_from(manifest.0).unwrap()
}

fn name(digest: usize) -> Digest {
    Digest::of(Algorithm::Sha256, &digest.to_le_bytes())
}
