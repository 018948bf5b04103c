//! What was released goes (G3), and organizations of which nothing is left (G5).

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::sweeper::{SLACK, failed};
use super::worker::{Progress, Worker};
use super::{GcError, Report};
use crate::clock::millis;
use crate::pull::Engine;

/// Drops manifests that were released a grace ago, and the blobs that nothing names then.
pub(super) struct Collector<'a> {
    engine: &'a Engine,
}

impl<'a> Collector<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self { engine }
    }
}

impl Worker for Collector<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        async {
            let released_by = self.engine.now().saturating_sub(millis(self.engine.grace));
            let not_before = self.engine.garbage_not_before();
            let collected = self.engine.metadata.collect(released_by, not_before).await;
            let collected = collected.map_err(failed("collect manifests"))?;
            report.collected_manifests += collected.manifests;
            report.collected_blobs += collected.blobs;
            report.collected_repositories += collected.repositories;
            Ok(if collected.more {
                Progress::More
            } else {
                Progress::Done
            })
        }
        .boxed()
    }
}

/// Drops the rows of removed organizations once their content is gone.
pub(super) struct Departures<'a> {
    engine: &'a Engine,
}

impl<'a> Departures<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self { engine }
    }
}

impl Worker for Departures<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        async {
            let before = self.engine.now().saturating_sub(SLACK);
            let dropped = self.engine.metadata.drop_departed_organizations(before).await;
            report.departed_organizations += dropped.map_err(failed("drop departed organizations"))?;
            Ok(Progress::Done)
        }
        .boxed()
    }
}
