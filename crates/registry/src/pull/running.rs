//! The fills that run: one per blob, expected size, and scope of credentials (B2, B9, B10).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quayside_metadata::OrganizationId;
use quayside_oci::Digest;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Engine;
use super::error::PullError;
use super::fill::{self, Fill, Outcome};
use super::resume::Order;

/// Fills that clients caused and that may read from one upstream at the same time. One that hangs delays nobody
/// else's.
const CLIENT_FILLS: usize = 32;
/// How long a verified blob may take into storage after everything else was cut.
const CUT_PATIENCE: Duration = Duration::from_secs(5);

type Key = (Digest, u64, Option<OrganizationId>);
type Table = Arc<Mutex<HashMap<Key, Arc<Fill>>>>;
/// By upstream; bounded by the number of upstreams that were ever served.
type Permits = Mutex<HashMap<Arc<str>, Arc<Semaphore>>>;

/// Who wants a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attendance {
    Client,
    Background,
    /// A client that may read what is being filled and cause nothing (A3): only a fill of another replica is followed.
    Onlooker,
}

/// The table of running fills.
pub(crate) struct Running {
    fills: Table,
    permits: Permits,
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            fills: Table::default(),
            permits: Permits::default(),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }
}

/// Takes the fill out of the table, also when its task dies.
struct Entry {
    fills: Table,
    key: Key,
    fill: Arc<Fill>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut fills = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
        if fills
            .get(&self.key)
            .is_some_and(|fill| Arc::ptr_eq(fill, &self.fill))
        {
            fills.remove(&self.key);
        }
    }
}

fn look(fills: &HashMap<Key, Arc<Fill>>, order: &Order) -> Option<Arc<Fill>> {
    // What anybody could fetch may be shared with everybody; the rest only within its organization.
    [None, order.served.scope()].into_iter().find_map(|scope| {
        fills
            .get(&(order.digest.clone(), order.size, scope))
            .filter(|fill| !fill.has_failed())
            .cloned()
    })
}

impl Running {
    /// How many fills run.
    pub(crate) fn count(&self) -> usize {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The running fill that this order may share, if there is one. A client joins it.
    pub(crate) fn find(&self, order: &Order) -> Option<Arc<Fill>> {
        let fills = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
        look(&fills, order).inspect(|fill| fill.attend())
    }

    /// The running fill that this order may share, started if there is none.
    pub(crate) fn join(&self, engine: &Arc<Engine>, order: Order, attendance: Attendance) -> Arc<Fill> {
        let (fill, entry) = {
            let mut fills = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
            let (fill, entry) = if let Some(fill) = look(&fills, &order) {
                (fill, None)
            } else {
                let key = (order.digest.clone(), order.size, order.served.scope());
                let fill = Fill::new(order.origin(), self.end.child_token());
                fills.insert(key.clone(), Arc::clone(&fill));
                let entry = Entry {
                    fills: Arc::clone(&self.fills),
                    key,
                    fill: Arc::clone(&fill),
                };
                (fill, Some(entry))
            };
            // Under the lock: a fill that a client has joined is not dropped a moment later.
            if attendance != Attendance::Background {
                fill.attend();
            }
            if attendance != Attendance::Onlooker {
                fill.allow();
            }
            (fill, entry)
        };
        if let Some(entry) = entry {
            let permits = (attendance != Attendance::Background).then(|| self.permits(&order.served.address));
            self.tasks.spawn(work(Arc::clone(engine), order, entry, permits));
        }
        fill
    }

    fn permits(&self, host: &Arc<str>) -> Arc<Semaphore> {
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(CLIENT_FILLS));
        Arc::clone(permits.entry(Arc::clone(host)).or_insert_with(new))
    }

    /// Ends the fills that no client joined. Who comes now starts afresh.
    pub(crate) fn drop_unattended(&self) {
        let mut fills = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
        fills.retain(|_, fill| {
            let attended = fill.is_attended();
            if !attended {
                fill.stop();
            }
            attended
        });
    }

    /// Waits for all fills: they outlive their clients (B2), and what a client has read to its end may still be on
    /// its way into storage.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends all fills. What is verified is still stored; what hangs in there is left to the next start.
    pub(crate) async fn cut(&self) {
        self.end.cancel();
        if tokio::time::timeout(CUT_PATIENCE, self.finish()).await.is_err() {
            tracing::warn!(fills = self.tasks.len(), "storage or database hold fills up");
        }
    }
}

async fn work(engine: Arc<Engine>, order: Order, entry: Entry, permits: Option<Arc<Semaphore>>) {
    let fill = Arc::clone(&entry.fill);
    let permit = async {
        match permits {
            Some(permits) => permits.acquire_owned().await.ok(),
            None => None,
        }
    };
    let outcome = tokio::select! {
        _permit = permit => fill::run(&engine, &order, &fill).await,
        () = fill.stopped() => Outcome::Failed(PullError::Stopping),
    };
    // Out of the table before anybody hears of the end: the next request starts afresh (B3).
    drop(entry);
    fill.end(outcome);
}
