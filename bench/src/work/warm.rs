//! Warm pulls: what is asked for was asked for before.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Figure, Work, mebibytes, per};
use crate::http::{Connection, Method, Request};
use crate::image::{Blob, Image};
use crate::load::{Expected, Load, Tally};
use crate::report::Unit;
use crate::report::names::part;
use crate::site::Link;
use crate::stage::Stage;
use crate::subject::{Door, Kind, Subject, Tags};

/// What is asked for again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    ManifestByDigest(Method),
    ManifestByTag(Method, Tags),
    /// The first layer, whole.
    Blob,
}

/// A closed loop on one answer.
#[derive(Clone, Debug)]
pub(crate) struct Warm {
    /// A name of the report.
    pub(crate) work: &'static str,
    pub(crate) image: std::rc::Rc<Image>,
    pub(crate) asked: Asked,
    pub(crate) link: Link,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
}

impl Work for Warm {
    fn name(&self) -> String {
        part(
            self.work,
            &format!("{}{}", if self.large() { "x" } else { "c" }, self.connections),
        )
    }

    fn fits(&self, subject: &Subject) -> bool {
        // The origin is a floor only for those that have to ask it.
        let asks = matches!(self.asked, Asked::ManifestByTag(_, Tags::Checked));
        self.door(subject).is_some() && (asks || subject.kind != Kind::Direct)
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let door = self
            .door(subject)
            .context("the subject has a door for this work")?;
        subject.publish(&self.image, &stage.pool)?;
        let (load, layer) = (self.load(door)?, self.image.layer()?);
        stage.runtime.block_on(self.check(stage, door, layer))?;
        let asked = stage.counts(&self.image)?;
        let (tally, cpu_before, cpu_after) = load.run(|| subject.cpu())?;
        ensure!(tally.answers > 0, "no answer in {:?}", self.duration);
        let mut figures = self.figures(subject, &tally, cpu_after.saturating_sub(cpu_before));
        if self.link == Link::Wire {
            let upstream = stage.counts(&self.image)?.requests - asked.requests;
            let value = per(upstream, tally.answers);
            figures.push(Figure::new(
                part(&self.name(), "upstream"),
                Unit::UpstreamRequestsPerPull,
                value,
            ));
        }
        Ok(figures)
    }
}

impl Warm {
    fn door<'a>(&self, subject: &'a Subject) -> Option<&'a Door> {
        let tags = match self.asked {
            Asked::ManifestByTag(_, tags) => Some(tags),
            Asked::ManifestByDigest(_) | Asked::Blob => None,
        };
        subject.door(self.link, tags)
    }

    fn load(&self, door: &Door) -> anyhow::Result<Load> {
        let image = &self.image;
        let (method, path, length) = match self.asked {
            Asked::ManifestByDigest(method) => (method, door.by_digest(image), image.manifest.len() as u64),
            Asked::ManifestByTag(method, _) => (method, door.by_tag(image), image.manifest.len() as u64),
            Asked::Blob => {
                let layer = image.layer()?;
                (Method::Get, door.blob(image, &layer.digest), layer.content.size)
            }
        };
        Ok(Load {
            address: door.address,
            request: Request::new(method, door.address, &path),
            expected: Expected { status: 200, length },
            connections: self.connections,
            duration: self.duration,
        })
    }

    /// Pulls the image once and compares every byte; what is measured then is warm.
    async fn check(&self, stage: &Stage, door: &Door, layer: &Blob) -> anyhow::Result<()> {
        let mut connection = Connection::open(door.address).await?;
        for path in [door.by_tag(&self.image), door.by_digest(&self.image)] {
            let request = Request::new(Method::Get, door.address, &path);
            let mut body = Vec::new();
            connection
                .fetch(&request, |_, part| {
                    body.extend_from_slice(part);
                    Ok(())
                })
                .await?;
            ensure!(body == self.image.manifest, "another manifest under {path}");
        }
        let path = door.blob(&self.image, &layer.digest);
        super::cold::compare(&mut connection, stage, door, &path, layer)
            .await
            .map(drop)
    }

    /// Whether the answers are so large that bytes are counted.
    fn large(&self) -> bool {
        self.asked == Asked::Blob && self.image.layer().is_ok_and(|layer| layer.content.size > 1 << 20)
    }

    fn figures(&self, subject: &Subject, tally: &Tally, cpu: Duration) -> Vec<Figure> {
        let name = self.name();
        let mebibytes = mebibytes(tally.bytes);
        let (plain, cpu) = if self.large() {
            let rate = Figure::new(&name, Unit::MebibytesPerSecond, mebibytes / tally.seconds);
            let cost = cpu.as_secs_f64() / (mebibytes / 1024.0);
            (
                rate,
                Figure::new(part(&name, "cpu"), Unit::CpuSecondsPerGibibyte, cost),
            )
        } else {
            let rate = Figure::new(
                &name,
                Unit::RequestsPerSecond,
                per(tally.answers, 1) / tally.seconds,
            );
            let cost = cpu.as_secs_f64() * 1e6 / per(tally.answers, 1);
            (
                rate,
                Figure::new(part(&name, "cpu"), Unit::CpuMicrosecondsPerRequest, cost),
            )
        };
        let mut figures = vec![plain];
        if subject.observable() {
            figures.push(cpu);
        }
        if !self.large() {
            for (percentile, share) in [("p50", 0.5), ("p99", 0.99)] {
                let latency = tally.latency(share).map(|seconds| seconds * 1e3);
                figures.extend(
                    latency.map(|value| Figure::new(part(&name, percentile), Unit::Milliseconds, value)),
                );
            }
        }
        figures
    }
}
