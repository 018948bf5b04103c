//! The work: what is asked of each subject, and which figures come out.

pub(crate) mod cold;
pub(crate) mod memory;
pub(crate) mod warm;
mod watch;

use crate::report::Unit;
use crate::stage::Stage;
use crate::subject::Subject;
use watch::Watch;

/// One figure of one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(metric: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self {
            metric: metric.into(),
            unit,
            value,
        }
    }
}

/// Something that is measured on one subject after the other.
pub(crate) trait Work {
    /// The name of the figure that matters; others begin with it.
    fn name(&self) -> String;

    /// Whether this subject can do it.
    fn fits(&self, subject: &Subject) -> bool;

    /// Measures once.
    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>>;
}

/// Which instance of a subject does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instance {
    /// The one that runs from the beginning to the end.
    Shared,
    /// One of its own, whose memory nothing else has touched.
    Fresh,
}

impl Instance {
    /// Starts what has to be started.
    fn of(self, stage: &Stage, subject: &Subject) -> anyhow::Result<Option<Subject>> {
        match self {
            Self::Shared => Ok(None),
            Self::Fresh => {
                let mark = stage.site.mark();
                let mut fresh = subject.kind.start(&stage.site)?;
                fresh.litter = Some(stage.site.made_since(mark));
                Ok(Some(fresh))
            }
        }
    }
}

/// Waits until everything that was written is on the disk, so that nobody pays for what another one wrote.
fn quiet() {
    rustix::fs::sync();
}

/// Bytes in the unit of the reports.
#[expect(clippy::cast_precision_loss, reason = "no figure is near 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A share of two counts.
#[expect(clippy::cast_precision_loss, reason = "no figure is near 2^52")]
fn per(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}
