//! Work that several requests share: whoever asks while it runs gets its result (M2, M3).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

/// The shared work died without a result, by a panic or because the process stops.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the shared work ended without a result")]
pub(crate) struct Vanished;

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;
type Table<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

/// Running work by key. The work is a task of its own: no client that leaves can stop it.
pub(crate) struct Flights<K, V> {
    running: Table<K, V>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            running: Arc::default(),
        }
    }
}

struct Landing<K: Eq + Hash, V> {
    running: Table<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The result of the work that runs under `key`, starting it with `work` if none does.
    pub(crate) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<V, Vanished>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(flight) = running.get(&key) {
                flight.clone()
            } else {
                let (sender, receiver) = oneshot::channel();
                let flight = receiver.map(Result::ok).boxed().shared();
                running.insert(key.clone(), flight.clone());
                let landing = Landing {
                    running: Arc::clone(&self.running),
                    key,
                };
                let work = work();
                tokio::spawn(async move {
                    let result = work.await;
                    // Out of the table first: who comes later must not get a result from before it came.
                    drop(landing);
                    let _ = sender.send(result);
                });
                flight
            }
        };
        flight.await.ok_or(Vanished)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// M2, M3: any number of requests, one piece of work.
    #[tokio::test]
    async fn joiners_share_one_piece_of_work() {
        let flights = Flights::<&str, usize>::default();
        let runs = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let ask = || {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            flights.join("tag", move || async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                run
            })
        };
        let both = async { tokio::join!(ask(), ask()) };
        let open = async {
            tokio::task::yield_now().await;
            gate.notify_one();
        };
        let ((first, second), ()) = tokio::join!(both, open);
        assert_eq!((first.ok(), second.ok()), (Some(0), Some(0)));
        gate.notify_one();
        assert_eq!(ask().await.ok(), Some(1), "a later request starts its own");
    }

    #[tokio::test]
    async fn work_that_dies_is_told_and_forgotten() {
        let flights = Flights::<&str, usize>::default();
        let died = flights
            .join("tag", || async { std::panic::resume_unwind(Box::new("gone")) })
            .await;
        assert!(died.is_err());
        assert_eq!(flights.join("tag", || async { 7 }).await.ok(), Some(7));
    }
}
