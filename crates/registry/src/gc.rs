//! The end of what nobody pulls any more (SPEC §4, §6): tags outlive their Window, what they held is released,
//! collected a grace later, and deleted another grace later. What is over a quota goes sooner (Q9).
//!
//! Every step is one bounded unit in one transaction and may be repeated or cut off at any moment; a pass is as many
//! of them as there is work, which depends on what died and not on what is stored (G2).

mod collector;
mod deleter;
mod pruner;
mod report;
mod rest;
mod sweeper;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use quayside_metadata::{MetadataError, PruneError, Slacks};

pub use report::Report;

use crate::chain::Chain;
use crate::clock::millis;
use crate::metrics::Metrics;
use crate::organizations::Snapshot;
use crate::pull::{Contact, Engine};
use collector::{Collector, Departures};
use deleter::{Deleter, ExpiredFills};
use pruner::Pruner;
use rest::Watch;
use sweeper::{Limiter, Sweeper};
use worker::{Progress, Worker};

/// Whether a pass does something or only says what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Does it.
    Run,
    /// Changes nothing.
    DryRun,
}

/// Why a pass ended early. What it did until then stays done; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The renewals that wait could not be written, and nothing may be swept before they are (M15).
    #[error("write the renewals that wait")]
    Renewals(#[source] MetadataError),
    /// The database did not do a step.
    #[error("{step}")]
    Metadata {
        /// Which, verb first.
        step: &'static str,
        /// What it said.
        source: MetadataError,
    },
}

/// Sweeper, collector and deleter of this process.
pub struct Gc {
    engine: Arc<Engine>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    interval: Duration,
    watch: Mutex<Watch>,
    /// Passes take turns.
    turn: tokio::sync::Mutex<()>,
}

impl Gc {
    /// Works every `interval` once it [runs](Self::run).
    pub(crate) fn new(
        engine: Arc<Engine>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        metrics: Arc<Metrics>,
        interval: Duration,
    ) -> Self {
        let watch = Watch::new(engine.now(), engine.clock.monotonic());
        Self {
            engine,
            snapshot,
            metrics,
            interval,
            watch: Mutex::new(watch),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Makes passes for as long as the process runs.
    pub(crate) async fn run(&self) {
        let clock = &self.engine.clock;
        let mut pause = self.interval;
        loop {
            clock.sleep(pause).await;
            if !self.engine.leader.leads() {
                pause = self.interval;
                continue;
            }
            let begun = clock.monotonic();
            match self.pass(Mode::Run).await {
                // A rest was logged when it began.
                Ok(report) if report.did_nothing() => {}
                Ok(report) => report.log(),
                Err(error) => tracing::warn!(
                    error = %Chain(&error),
                    "garbage collection waits for the next pass"
                ),
            }
            pause = pause_after(clock.monotonic().saturating_sub(begun), self.interval);
        }
    }

    /// Does everything that is due now, or says what is, whether or not another replica does so as well (G4). While the clock rests after a step, nothing is (E3).
    pub async fn pass(&self, mode: Mode) -> Result<Report, GcError> {
        match mode {
            Mode::Run => {
                let _turn = self.turn.lock().await;
                self.work().await
            }
            Mode::DryRun => self.forecast().await,
        }
    }

    async fn work(&self) -> Result<Report, GcError> {
        let mut report = Report::default();
        for mut worker in self.workers() {
            loop {
                // Before every step: the clock may be set in the middle of a long pass.
                if let Some(rest) = self.rest() {
                    report.rest(rest);
                    return Ok(report);
                }
                if worker.work(&mut report).await? == Progress::Done {
                    break;
                }
            }
        }
        Ok(report)
    }

    /// What is over a quota goes first, so that nobody waits for the rest of a pass (Q9); the others come in the order
    /// in which one finds work for the next.
    fn workers(&self) -> Vec<Box<dyn Worker + '_>> {
        let engine = &*self.engine;
        let mut workers: Vec<Box<dyn Worker + '_>> = vec![
            Box::new(Pruner::new(engine, &self.snapshot)),
            Box::new(Limiter::new(engine, &self.snapshot)),
        ];
        // C2: without contact nothing that dies could ever be had again.
        if engine.contact == Contact::Allowed {
            workers.push(Box::new(Sweeper::new(engine, self.slacks())));
        }
        workers.push(Box::new(Collector::new(engine)));
        workers.push(Box::new(Departures::new(engine)));
        workers.push(Box::new(ExpiredFills::new(engine)));
        workers.push(Box::new(Deleter::new(engine, &self.metrics)));
        workers
    }

    fn slacks(&self) -> Slacks {
        sweeper::slacks(&self.snapshot.load())
    }

    async fn forecast(&self) -> Result<Report, GcError> {
        let engine = &self.engine;
        let (now, slacks) = (engine.now(), self.slacks());
        let sweeps = (engine.contact == Contact::Allowed).then_some(&slacks);
        let released_by = now.saturating_sub(millis(engine.grace));
        let forecast = engine.metadata.forecast(sweeps, released_by, now).await;
        let forecast = forecast.map_err(|source| GcError::Metadata {
            step: "count what is due",
            source,
        })?;
        let mut report = Report::of_forecast(&forecast);
        report.pruned_images = self.forecast_prunes().await?;
        if let Some(rest) = self.rest() {
            report.rest(rest);
        }
        Ok(report)
    }

    async fn forecast_prunes(&self) -> Result<u64, GcError> {
        let engine = &self.engine;
        let mut images = 0;
        let overfull = pruner::over_quota(engine, &self.snapshot.load_full()).await?;
        if !overfull.is_empty() {
            // M15: as before the prune itself.
            let written = engine.renewals.written(&engine.metadata).await;
            written.map_err(GcError::Renewals)?;
        }
        for excess in overfull {
            let (organization, planner) = (excess.served.id, excess.planner());
            let planning = engine.metadata.plan_prune(organization, planner, engine.now());
            images += match planning.await {
                Ok(pruning) => pruning.pruned.len() as u64,
                Err(PruneError::Metadata(source)) => {
                    let step = "plan what is to be pruned";
                    return Err(GcError::Metadata { step, source });
                }
                Err(PruneError::Quota(_) | PruneError::NeedsPlan) => 0,
            };
        }
        Ok(images)
    }

    /// How much longer nothing is to be done, if anything.
    fn rest(&self) -> Option<Duration> {
        let engine = &self.engine;
        let (wall, monotonic) = (engine.now(), engine.clock.monotonic());
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.look(wall, monotonic, engine.grace)
    }
}

/// Passes begin an interval apart, however long they take: a quota that is lowered right after one has looked at it is
/// met by the next (Q9).
fn pause_after(took: Duration, interval: Duration) -> Duration {
    interval.saturating_sub(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q9: from the beginning of a pass to the beginning of the next it is one interval, or no time at all if the pass
    /// took longer.
    #[test]
    fn passes_begin_an_interval_apart() {
        let interval = Duration::from_secs(30);
        for (took, pause) in [(0, 30), (12, 18), (30, 0), (300, 0)] {
            let took = Duration::from_secs(took);
            assert_eq!(pause_after(took, interval), Duration::from_secs(pause));
        }
    }
}
