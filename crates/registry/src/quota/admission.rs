//! Q3-Q6 as pure functions of what the database says: whether new content fits, and what goes for it.

mod graph;
#[cfg(test)]
mod tests;

use quayside_metadata::{Demand, Eviction, ManifestId, Opening, Page, Plan, Planner, Refusal, Start, Step};

use graph::Graph;

/// Whether something may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// Not yet: if something has to, the renewals that wait have to be written first (M15).
    WithoutPlan,
    /// Yes.
    WithPlan,
}

/// Keeps an organization within its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaPlanner {
    quota_bytes: u64,
    room_bytes: u64,
    planning: Planning,
}

impl QuotaPlanner {
    /// For an organization that may hold so many bytes.
    pub fn new(quota_bytes: u64, planning: Planning) -> Self {
        Self {
            quota_bytes,
            room_bytes: 0,
            planning,
        }
    }

    /// For a prune that makes room for a request of so many bytes, without the request (O5).
    pub fn making_room(quota_bytes: u64, room_bytes: u64) -> Self {
        Self {
            quota_bytes,
            room_bytes,
            planning: Planning::WithPlan,
        }
    }
}

impl Planner for QuotaPlanner {
    fn open(&self, demand: &Demand) -> Opening {
        let needed_bytes = demand.needed_bytes.saturating_add(self.room_bytes);
        let usage_bytes = demand.usage_bytes.saturating_add(self.room_bytes);
        let Some(shortfall @ 1..) = usage_bytes.checked_sub(self.quota_bytes) else {
            return Opening::Admit;
        };
        let refusal = Refusal {
            quota_bytes: self.quota_bytes,
            used_bytes: usage_bytes.saturating_sub(needed_bytes),
            needed_bytes,
        };
        // Q4: no plan could make it fit, and nothing has to be read to know that.
        if demand.alone_bytes.saturating_add(self.room_bytes) > self.quota_bytes {
            return Opening::Refuse(refusal);
        }
        Opening::Plan(Box::new(QuotaPlan {
            planning: self.planning,
            refusal,
            usage_bytes: demand.usage_bytes,
            shortfall,
            graph: Graph::default(),
            taken: Vec::new(),
        }))
    }
}

/// Takes candidates until they cover the shortfall, and puts back what is not needed for that (Q5).
struct QuotaPlan {
    planning: Planning,
    refusal: Refusal,
    /// With the new content.
    usage_bytes: u64,
    /// How many bytes have to go.
    shortfall: u64,
    graph: Graph,
    /// The candidates so far, in their order.
    taken: Vec<ManifestId>,
}

impl Plan for QuotaPlan {
    fn start(&mut self, staying_bytes: u64) -> Start {
        // Q5: everything that may go is not enough. No renewal that waits can change that.
        if self.usage_bytes.saturating_sub(staying_bytes) < self.shortfall {
            return Start::Refuse(self.refusal);
        }
        match self.planning {
            Planning::WithoutPlan => Start::Defer,
            Planning::WithPlan => Start::Go,
        }
    }

    fn page(&mut self, page: &Page) -> Step {
        self.graph.learn(&page.nodes, &page.weights);
        for candidate in &page.candidates {
            self.graph.take(candidate.manifest);
            self.taken.push(candidate.manifest);
            if self.graph.freed() >= self.shortfall {
                return Step::Evict(self.needed());
            }
        }
        if page.last {
            Step::Refuse(self.refusal)
        } else {
            Step::More
        }
    }
}

impl QuotaPlan {
    /// What the plan cannot do without.
    fn needed(&mut self) -> Vec<Eviction> {
        let mut needed = Vec::new();
        for manifest in std::mem::take(&mut self.taken).into_iter().rev() {
            let released = self.graph.put_back(manifest);
            if self.graph.freed() < self.shortfall {
                self.graph.take_again(manifest, &released);
                needed.push(manifest);
            }
        }
        // Once more in order, to tell what went with which.
        for manifest in &needed {
            self.graph.put_back(*manifest);
        }
        let evictions = needed.iter().rev().map(|manifest| {
            let before = self.graph.freed();
            self.graph.take(*manifest);
            Eviction {
                manifest: *manifest,
                freed_bytes: self.graph.freed() - before,
            }
        });
        evictions.collect()
    }
}
