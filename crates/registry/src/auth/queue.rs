//! A2: hash verifications take turns, and only so many wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Verifications that run at once: each costs up to a second of a core and some megabytes.
const AT_ONCE: usize = 2;
/// What waits behind them. At a tenth of a second each the last one waits for six seconds, and a client's patience
/// is not much longer.
const WAITING: usize = 128;

/// Who waits for a verification, first come, first served.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// The right to verify one password. Goes to the next in the queue when it is dropped.
pub(crate) struct Turn {
    _place: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            running: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Queue {
    /// Waits for a turn; `None` at once if too many wait already.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let running = Arc::clone(&self.running).acquire_owned().await.ok()?;
        Some(Turn {
            _place: place,
            _running: running,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;

    /// A2: two at once, a bounded number behind them, nobody else.
    #[tokio::test]
    async fn two_run_and_a_bounded_number_waits() {
        let queue = Queue::default();
        let first = queue.turn().await.unwrap();
        let second = queue.turn().await.unwrap();
        let mut waiting = Box::pin(join_all((0..WAITING).map(|_| queue.turn())));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(queue.turn().now_or_never().unwrap().is_none(), "one too many");
        drop(first);
        let mut third = Box::pin(queue.turn());
        assert!((&mut third).now_or_never().is_none(), "behind those who wait");
        drop((second, third));
        drop(waiting);
        assert!(queue.turn().await.is_some());
    }
}
