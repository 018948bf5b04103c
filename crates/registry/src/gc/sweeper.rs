//! Tags and pins come to their end (E2, E3).

use std::time::Duration;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quayside_metadata::{MetadataError, OrganizationId, Slacks};

use super::worker::{Progress, Worker};
use super::{GcError, Report};
use crate::clock::Millis;
use crate::organizations::Snapshot;
use crate::pull::Engine;
use crate::reload;

/// How long after its Window a tag is left alone: renewals of other replicas may be on their way (M15).
pub(super) const SLACK: Millis = 5_000;
/// The same, where tags live for less than [`SHORT_TTL`].
const SHORT_SLACK: Millis = 1_000;
const SHORT_TTL: Duration = Duration::from_mins(1);

/// The slack of each organization that is served.
pub(super) fn slacks(snapshot: &Snapshot) -> Slacks {
    let short = snapshot.by_name.values().filter(|served| {
        let ttl = served.spec.ttl;
        ttl.is_some_and(|ttl| ttl < SHORT_TTL)
    });
    Slacks {
        by_organization: short.map(|served| (served.id, SHORT_SLACK)).collect(),
        other_ms: SLACK,
    }
}

/// Gives what never ends an end where the TTL is no longer 0. The reload has done that; here come the few whose
/// pull was under way meanwhile (E3).
pub(super) struct Limiter<'a> {
    engine: &'a Engine,
    snapshot: &'a ArcSwap<Snapshot>,
}

impl<'a> Limiter<'a> {
    pub(super) fn new(engine: &'a Engine, snapshot: &'a ArcSwap<Snapshot>) -> Self {
        Self { engine, snapshot }
    }
}

impl Worker for Limiter<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        async {
            let snapshot = self.snapshot.load_full();
            let limited = reload::limit_endless(self.engine, &snapshot).await;
            report.limited_tags += limited.map_err(failed("give endless tags an end"))?;
            Ok(Progress::Done)
        }
        .boxed()
    }
}

/// Removes what has outlived its Window, and releases what nothing holds then.
pub(super) struct Sweeper<'a> {
    engine: &'a Engine,
    slacks: Slacks,
    /// Organizations that are still to be looked at; none before the first unit.
    rest: Option<Vec<OrganizationId>>,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(engine: &'a Engine, slacks: Slacks) -> Self {
        Self {
            engine,
            slacks,
            rest: None,
        }
    }

    async fn sweep(&mut self, report: &mut Report) -> Result<Progress, GcError> {
        let metadata = &self.engine.metadata;
        // A pull that was answered before its tag's time was over must count.
        let written = self.engine.renewals.written(metadata).await;
        written.map_err(GcError::Renewals)?;
        let now = self.engine.now();
        let rest = match &mut self.rest {
            Some(rest) => rest,
            rest @ None => {
                let due = metadata.sweepable(now).await;
                rest.insert(due.map_err(failed("find what is to be swept"))?)
            }
        };
        let Some(organization) = rest.last().copied() else {
            return Ok(Progress::Done);
        };
        let slack = self.slacks.of(organization);
        let swept = metadata.sweep(organization, slack, now).await;
        let swept = swept.map_err(failed("sweep tags"))?;
        report.swept_tags += swept.tags;
        report.swept_pins += swept.pins;
        report.released_manifests += swept.released;
        if swept.released > 0 {
            self.engine.warm.forget_manifests();
        }
        if !swept.more {
            rest.pop();
        }
        Ok(Progress::More)
    }
}

impl Worker for Sweeper<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        self.sweep(report).boxed()
    }
}

/// The error of a step.
pub(super) fn failed(step: &'static str) -> impl Fn(MetadataError) -> GcError {
    move |source| GcError::Metadata { step, source }
}
