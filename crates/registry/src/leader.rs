//! One replica does the work that any of them could do (G4).
//!
//! The lease is economy, not safety: every step of every worker may be done by several replicas at once. So what an
//! administrator asks for is done by the replica that is asked, whoever leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quayside_metadata::{Metadata, Taken};

use crate::chain::Chain;
use crate::clock::{Clock, Millis, millis};

/// The lease's name.
const NAME: &str = "worker";
/// How long a leader may be silent before another replica takes over.
const LEASE: Duration = Duration::from_secs(30);
/// How often a leader says that it is there, and the others ask whether it is.
const BEAT: Duration = Duration::from_secs(10);

/// Whether this replica leads.
pub(crate) struct Leader {
    metadata: Metadata,
    /// This replica's name.
    id: String,
    clock: Arc<dyn Clock>,
    /// Until when it leads; in the past if it does not.
    until: AtomicI64,
}

impl Leader {
    pub(crate) fn new(metadata: Metadata, id: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            metadata,
            id,
            clock,
            until: AtomicI64::new(Millis::MIN),
        }
    }

    /// Whether the work is this replica's. Always, where there can be no other.
    pub(crate) fn leads(&self) -> bool {
        !self.metadata.is_shared() || self.clock.now() < self.until.load(Ordering::Relaxed)
    }

    /// Leads whenever nobody else does, for as long as the process runs.
    pub(crate) async fn keep(&self) {
        while self.metadata.is_shared() {
            self.take().await;
            self.clock.sleep(BEAT).await;
        }
    }

    async fn take(&self) {
        let (led, now) = (self.leads(), self.clock.now());
        let until = now.saturating_add(millis(LEASE));
        match self.metadata.take_lease(NAME, &self.id, now, until).await {
            Ok(Taken::Ours) => {
                self.until.store(until, Ordering::Relaxed);
                if !led {
                    tracing::info!("this replica sweeps, collects and deletes from now on");
                }
            }
            Ok(Taken::Held(_)) => {
                self.until.store(Millis::MIN, Ordering::Relaxed);
                if led {
                    tracing::info!("another replica sweeps, collects and deletes from now on");
                }
            }
            // What it holds it holds until it expires.
            Err(error) => tracing::debug!(error = %Chain(&error), "lease of the workers not renewed"),
        }
    }
}
