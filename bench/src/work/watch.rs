//! What a cold pull costs: time, CPU, memory, and what the origin sent for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Figure, mebibytes, per};
use crate::image::Image;
use crate::process::Process;
use crate::report::Unit;
use crate::report::names::part;
use crate::stage::Stage;
use crate::subject::{Door, Subject};

/// From the moment before the first request on.
pub(super) struct Watch<'a> {
    stage: &'a Stage,
    image: Arc<Image>,
    process: Option<&'a Process>,
    sent: u64,
    cpu: Duration,
    begin: Instant,
}

impl<'a> Watch<'a> {
    /// Begins after a quiet moment.
    pub(super) fn begin(
        stage: &'a Stage,
        subject: &'a Subject,
        door: &Door,
        image: &Arc<Image>,
    ) -> anyhow::Result<Self> {
        super::quiet();
        let process = subject.process(door);
        process.inspect(|process| process.forget_peak());
        Ok(Self {
            stage,
            image: Arc::clone(image),
            process,
            sent: stage.counts(image)?.bytes,
            cpu: process.map(Process::cpu).unwrap_or_default(),
            begin: Instant::now(),
        })
    }

    /// The figures of what has ended now.
    pub(super) fn figures(&self, work: &str) -> anyhow::Result<Vec<Figure>> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let mut figures = vec![Figure::new(work, Unit::Seconds, seconds)];
        if let Some(process) = self.process {
            let cpu = process.cpu().saturating_sub(self.cpu).as_secs_f64();
            let peak = mebibytes(process.memory().peak);
            figures.push(Figure::new(part(work, "cpu"), Unit::CpuSeconds, cpu));
            figures.push(Figure::new(part(work, "peak"), Unit::Mebibytes, peak));
        }
        figures.push(Figure::new(
            part(work, "up_x"),
            Unit::UpstreamBytes,
            self.upstream()?,
        ));
        Ok(figures)
    }

    /// Bytes that the origin has sent, in bytes of the image.
    pub(super) fn upstream(&self) -> anyhow::Result<f64> {
        let sent = self.stage.counts(&self.image)?.bytes - self.sent;
        Ok(per(sent, self.image.bytes()))
    }
}
