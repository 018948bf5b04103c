//! Storage compared with what is recorded of it, while the server runs (O5, B8).
//!
//! Both are read in the order of their keys, a page of each at a time. What is on one side only is a suspicion: keys
//! come and go while the comparison runs. A suspicion becomes a finding by a second look in the right order. A key is
//! recorded before its bytes are there and until they are gone (G3), so bytes that are there although the key is
//! recorded nowhere are nobody's; and a blob whose row names a key both before and after its bytes were missed has
//! lost them.

mod comparison;
mod finding;
mod merge;

use std::sync::Arc;

use quayside_blobs::StoreError;
use quayside_metadata::MetadataError;
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};

use crate::chain::Chain;
use crate::pull::Engine;
use crate::tools::Repair;
use comparison::Comparison;
use finding::Finding;

/// How many events wait for whoever reads them.
const EVENTS: usize = 64;

/// How closely a stored blob is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// It is there, and of the right length.
    Presence,
    /// Its bytes are those of its digest.
    Content,
}

/// What a comparison says while it runs; the last one is a report or an error.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Event {
    /// How far it is.
    Progress(Progress),
    /// Something is wrong.
    Found(Finding),
    /// It is through.
    Report(Report),
    /// It gave up.
    Error(String),
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// Stored blobs that were looked at.
    pub(crate) blobs: u64,
    /// How many there were when it began.
    pub(crate) total_blobs: u64,
    /// Bytes that were hashed.
    pub(crate) verified_bytes: u64,
    /// The bytes of all that was stored when it began.
    pub(crate) total_bytes: u64,
}

/// What a comparison has done.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Stored blobs that were looked at.
    pub(crate) blobs: u64,
    /// Files of blobs that were found in storage.
    pub(crate) files: u64,
    /// Bytes that were hashed.
    pub(crate) verified_bytes: u64,
    /// How much was found wrong.
    pub(crate) found: u64,
    /// How much of that is wrong still.
    pub(crate) remaining: u64,
}

/// Why a comparison did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("read storage")]
    Storage(#[source] StoreError),
    #[error("{step}")]
    Metadata {
        step: &'static str,
        source: MetadataError,
    },
    /// Nobody reads what it says any more.
    #[error("tell what was found")]
    Unheard,
}

/// A comparison runs already.
#[derive(Debug, thiserror::Error)]
#[error("a scrub is running already; wait for its end")]
pub(crate) struct Busy;

/// Comparisons, one at a time.
pub(crate) struct Scrub {
    engine: Arc<Engine>,
    turn: Arc<Mutex<()>>,
}

impl Scrub {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            turn: Arc::default(),
        }
    }

    /// Begins to compare. It ends early when the receiver is dropped.
    pub(crate) fn begin(&self, depth: Depth, repair: Repair) -> Result<mpsc::Receiver<Event>, Busy> {
        let turn = Arc::clone(&self.turn).try_lock_owned().map_err(|_| Busy)?;
        let (events, receiver) = mpsc::channel(EVENTS);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            let _turn = turn;
            let comparing = Comparison::new(&engine, depth, repair, events.clone()).run();
            let ended = tokio::select! {
                ended = comparing => ended,
                () = events.closed() => Err(Stop::Unheard),
            };
            let last = match ended {
                Ok(report) => {
                    let Report {
                        blobs,
                        found,
                        remaining,
                        ..
                    } = report;
                    tracing::info!(?depth, ?repair, blobs, found, remaining, "storage compared");
                    Event::Report(report)
                }
                Err(stop) => {
                    let error = Chain(&stop).to_string();
                    tracing::warn!(error, "comparison of storage given up");
                    Event::Error(error)
                }
            };
            // Who does not listen any more misses nothing.
            let _ = events.send(last).await;
        });
        Ok(receiver)
    }
}
