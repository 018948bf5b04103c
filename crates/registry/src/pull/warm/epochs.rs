//! Which facts were forgotten since somebody began to read them: what a prune has taken away must not come back with
//! a row that was read before it.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 1024;

/// How often facts were forgotten, by the hash of their key: a few share a counter, which costs them a query.
pub(super) struct Epochs {
    all: AtomicU64,
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// What was forgotten when a read began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    all: u64,
    slot: u64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            all: AtomicU64::default(),
            slots: (0..SLOTS).map(|_| AtomicU64::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Epochs {
    pub(super) fn of(&self, key: &impl Hash) -> Epoch {
        Epoch {
            all: self.all.load(Ordering::SeqCst),
            slot: self.slot(key).map_or(0, |slot| slot.load(Ordering::SeqCst)),
        }
    }

    /// To be called before the fact is taken out.
    pub(super) fn forget(&self, key: &impl Hash) {
        if let Some(slot) = self.slot(key) {
            slot.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The same for all of them.
    pub(super) fn forget_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    fn slot(&self, key: &impl Hash) -> Option<&AtomicU64> {
        // Never fails: there are fewer slots than any index can say.
        let place = usize::try_from(self.hasher.hash_one(key) % SLOTS as u64).ok()?;
        self.slots.get(place)
    }
}
