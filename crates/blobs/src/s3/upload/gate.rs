//! How many things go to a bucket at once.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    super::Refusal,
    patience::{Pulse, attended},
};

/// How many bodies go to the bucket at once, of all uploads of a store together.
const AT_ONCE: usize = 8;

/// Lets a bounded number of bodies go to the bucket at once.
#[derive(Debug)]
pub(super) struct Gate {
    places: Semaphore,
    arrivals: Pulse,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            arrivals: Pulse::default(),
        }
    }

    /// Waits for a place, as long as bodies arrive in the bucket at least once in `silence`.
    pub(super) async fn enter(&self, silence: Duration) -> Result<SemaphorePermit<'_>, Refusal> {
        let entered = attended(&self.arrivals, silence, self.places.acquire()).await?;
        // Nobody closes it.
        entered.map_err(|_| Refusal::Timeout)
    }

    /// A body has arrived.
    pub(super) fn arrived(&self) {
        self.arrivals.beat();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// O2: behind a bucket that takes nothing nobody waits for ever, behind a slow one everybody does.
    #[tokio::test(start_paused = true)]
    async fn waits_for_a_place_while_bodies_arrive() {
        let (gate, silence) = (Gate::new(), Duration::from_mins(1));
        let mut places = Vec::new();
        for _ in 0..AT_ONCE {
            places.push(gate.enter(silence).await.unwrap());
        }
        let begun = Instant::now();
        assert!(gate.enter(silence).await.is_err());
        assert_eq!(begun.elapsed(), silence);
        let others = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(59)).await;
                gate.arrived();
            }
            places.pop();
        };
        let (entered, ()) = tokio::join!(gate.enter(silence), others);
        assert!(entered.is_ok());
    }
}
