//! Q5 to the letter: every question is answered by the database, which evicts, counts, and takes it back.

use std::sync::{Arc, Mutex};

use quayside_metadata::{Admission, Demand, Eviction, ManifestId, Opening, Page, Plan, Planner, Start, Step};

use super::shelf::Shelf;

/// Makes room for an admission, in thought.
pub(crate) struct Oracle<'a> {
    pub(crate) shelf: &'a Shelf,
    pub(crate) admission: &'a Admission<'a>,
}

impl Oracle<'_> {
    /// What goes, in the order of the candidates; nothing if not even all of them are enough.
    pub(crate) async fn evict(&self, quota: u64) -> Option<Vec<ManifestId>> {
        let (mut taken, mut rest) = (Vec::new(), self.candidates().await.into_iter());
        while self.usage_without(&taken).await > quota {
            taken.push(rest.next()?);
        }
        let mut evicted = taken.clone();
        for candidate in taken.iter().rev() {
            let mut others = evicted.clone();
            others.retain(|other| other != candidate);
            if self.usage_without(&others).await <= quota {
                evicted = others;
            }
        }
        Some(evicted)
    }

    async fn candidates(&self) -> Vec<ManifestId> {
        let told = Arc::new(Told::default());
        self.usage_after(Arc::clone(&told)).await;
        std::mem::take(&mut told.seen.lock().unwrap())
    }

    async fn usage_without(&self, evicted: &[ManifestId]) -> u64 {
        let evicted = evicted.to_vec();
        self.usage_after(Arc::new(Told {
            evicted,
            ..Told::default()
        }))
        .await
    }

    async fn usage_after(&self, told: Arc<Told>) -> u64 {
        let rehearsed = self
            .shelf
            .metadata
            .rehearse(self.admission, Arc::new(Teller(told)));
        rehearsed.await.unwrap().usage_bytes
    }
}

/// Evicts as it is told, whatever for, and notes all candidates.
#[derive(Default)]
struct Told {
    evicted: Vec<ManifestId>,
    seen: Mutex<Vec<ManifestId>>,
}

#[derive(Clone)]
struct Teller(Arc<Told>);

impl Planner for Teller {
    fn open(&self, _: &Demand) -> Opening {
        Opening::Plan(Box::new(self.clone()))
    }
}

impl Plan for Teller {
    fn start(&mut self, _: u64) -> Start {
        Start::Go
    }

    fn page(&mut self, page: &Page) -> Step {
        let candidates = page.candidates.iter().map(|candidate| candidate.manifest);
        self.0.seen.lock().unwrap().extend(candidates);
        if !page.last {
            return Step::More;
        }
        let evicted = self.0.evicted.iter();
        let evicted = evicted.map(|manifest| Eviction {
            manifest: *manifest,
            freed_bytes: 0,
        });
        Step::Evict(evicted.collect())
    }
}
