//! Planners for the tests: one that counts everything anew for every question, one that does as told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::{
    Candidate, Demand, Eviction, ManifestId, Node, Opening, Page, Plan, Planner, Refusal, Start, Step, Weight,
};

/// Q4 and Q5 to the letter, and slowly. Remembers what it was asked.
pub(in crate::tests) struct Greedy {
    pub(in crate::tests) quota: u64,
    pub(in crate::tests) seen: Mutex<Seen>,
}

/// What a planner was asked.
#[derive(Clone, Debug, Default)]
pub(in crate::tests) struct Seen {
    pub(in crate::tests) demand: Option<Demand>,
    /// In the order in which they came.
    pub(in crate::tests) candidates: Vec<Candidate>,
    pub(in crate::tests) pages: usize,
    /// What would have stayed without all candidates, if it was told.
    pub(in crate::tests) staying: Option<u64>,
}

impl Greedy {
    pub(in crate::tests) fn new(quota: u64) -> Arc<Self> {
        Arc::new(Self {
            quota,
            seen: Mutex::default(),
        })
    }

    pub(in crate::tests) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// What [`Greedy`] knows of one transaction.
struct Known {
    quota: u64,
    demand: Demand,
    nodes: Vec<Node>,
    weights: Vec<Weight>,
    taken: Vec<ManifestId>,
}

impl Known {
    /// What is left if these lose their tags.
    fn usage(&self, evicted: &[ManifestId]) -> u64 {
        let known: HashSet<ManifestId> = self.nodes.iter().map(|node| node.manifest).collect();
        let mut held = HashSet::new();
        loop {
            let more = self.nodes.iter().filter(|node| {
                let tagged = node.tagged && !evicted.contains(&node.manifest);
                let holds = |holder| !known.contains(holder) || held.contains(holder);
                tagged || node.holders.iter().any(holds)
            });
            let more: HashSet<ManifestId> = more.map(|node| node.manifest).collect();
            if more.len() == held.len() {
                break;
            }
            held = more;
        }
        let gone = self.nodes.iter().filter(|node| !held.contains(&node.manifest));
        let gone: Vec<&Node> = gone.collect();
        let freed = self.weights.iter().filter(|weight| {
            let names = gone.iter().filter(|node| node.digests.contains(&weight.digest));
            names.count() as u64 == weight.refs
        });
        self.demand.usage_bytes - freed.map(|weight| weight.size).sum::<u64>()
    }
}

impl Planner for Arc<Greedy> {
    fn open(&self, demand: &Demand) -> Opening {
        *self.seen.lock().unwrap() = Seen {
            demand: Some(*demand),
            ..Seen::default()
        };
        if demand.usage_bytes <= self.quota {
            return Opening::Admit;
        }
        let known = Known {
            quota: self.quota,
            demand: *demand,
            nodes: Vec::new(),
            weights: Vec::new(),
            taken: Vec::new(),
        };
        if demand.alone_bytes > self.quota {
            return Opening::Refuse(known.refusal());
        }
        Opening::Plan(Box::new((Arc::clone(self), known)))
    }
}

impl Known {
    fn refusal(&self) -> Refusal {
        Refusal {
            quota_bytes: self.quota,
            used_bytes: self.demand.usage_bytes - self.demand.needed_bytes,
            needed_bytes: self.demand.needed_bytes,
        }
    }
}

impl Plan for (Arc<Greedy>, Known) {
    fn start(&mut self, staying_bytes: u64) -> Start {
        let (planner, known) = self;
        planner.seen.lock().unwrap().staying = Some(staying_bytes);
        if staying_bytes > known.quota {
            Start::Refuse(known.refusal())
        } else {
            Start::Go
        }
    }

    fn page(&mut self, page: &Page) -> Step {
        let (planner, known) = self;
        let mut seen = planner.seen.lock().unwrap();
        seen.candidates.extend(&page.candidates);
        seen.pages += 1;
        known.nodes.extend(page.nodes.iter().cloned());
        known.weights.extend(page.weights.iter().cloned());
        for candidate in &page.candidates {
            known.taken.push(candidate.manifest);
            if known.usage(&known.taken) > known.quota {
                continue;
            }
            let mut evicted = known.taken.clone();
            for manifest in known.taken.iter().rev() {
                let mut others = evicted.clone();
                others.retain(|other| other != manifest);
                if known.usage(&others) <= known.quota {
                    evicted = others;
                }
            }
            let freed = |count| known.demand.usage_bytes - known.usage(&evicted[..count]);
            let evictions = evicted.iter().enumerate().map(|(number, manifest)| Eviction {
                manifest: *manifest,
                freed_bytes: freed(number + 1) - freed(number),
            });
            return Step::Evict(evictions.collect());
        }
        if page.last {
            // Only where manifests do not agree on the size of a blob is this not known at the start.
            Step::Refuse(known.refusal())
        } else {
            Step::More
        }
    }
}

/// Evicts these, whatever for.
#[derive(Clone)]
pub(in crate::tests) struct Told(pub(in crate::tests) Vec<ManifestId>);

impl Planner for Told {
    fn open(&self, _: &Demand) -> Opening {
        Opening::Plan(Box::new(self.clone()))
    }
}

impl Plan for Told {
    fn start(&mut self, _: u64) -> Start {
        Start::Go
    }

    fn page(&mut self, page: &Page) -> Step {
        if page.last {
            Step::Evict(unweighed(&self.0))
        } else {
            Step::More
        }
    }
}

fn unweighed(manifests: &[ManifestId]) -> Vec<Eviction> {
    let manifests = manifests.iter();
    let eviction = |manifest: &ManifestId| Eviction {
        manifest: *manifest,
        freed_bytes: 0,
    };
    manifests.map(eviction).collect()
}

/// Makes no plan.
#[derive(Clone, Copy)]
pub(in crate::tests) struct Deferring;

impl Planner for Deferring {
    fn open(&self, _: &Demand) -> Opening {
        Opening::Plan(Box::new(*self))
    }
}

impl Plan for Deferring {
    fn start(&mut self, _: u64) -> Start {
        Start::Defer
    }

    fn page(&mut self, _: &Page) -> Step {
        panic!("asked again")
    }
}

/// Evicts everything that it may, in vain or not.
#[derive(Clone, Default)]
pub(in crate::tests) struct Everything(Vec<ManifestId>);

impl Planner for Everything {
    fn open(&self, _: &Demand) -> Opening {
        Opening::Plan(Box::<Self>::default())
    }
}

impl Plan for Everything {
    fn start(&mut self, _: u64) -> Start {
        Start::Go
    }

    fn page(&mut self, page: &Page) -> Step {
        self.0
            .extend(page.candidates.iter().map(|candidate| candidate.manifest));
        if page.last {
            Step::Evict(unweighed(&self.0))
        } else {
            Step::More
        }
    }
}

/// Admits nothing.
pub(in crate::tests) struct Strict;

impl Planner for Strict {
    fn open(&self, demand: &Demand) -> Opening {
        Opening::Refuse(Refusal {
            quota_bytes: 0,
            used_bytes: demand.usage_bytes - demand.needed_bytes,
            needed_bytes: demand.needed_bytes,
        })
    }
}

/// Evicts the first ones, as soon as it has seen so many.
#[derive(Clone)]
pub(in crate::tests) struct First(pub(in crate::tests) usize);

impl Planner for First {
    fn open(&self, _: &Demand) -> Opening {
        Opening::Plan(Box::new((self.0, Vec::new())))
    }
}

impl Plan for (usize, Vec<ManifestId>) {
    fn start(&mut self, _: u64) -> Start {
        Start::Go
    }

    fn page(&mut self, page: &Page) -> Step {
        let (wanted, seen) = self;
        seen.extend(page.candidates.iter().map(|candidate| candidate.manifest));
        if seen.len() >= *wanted || page.last {
            Step::Evict(unweighed(&seen[..*wanted]))
        } else {
            Step::More
        }
    }
}
