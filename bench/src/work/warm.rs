//! Warm pulls: what is asked for was asked for before.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Figure, Work, mebibytes, per};
use crate::client::Client;
use crate::http::{Method, Request};
use crate::image::Image;
use crate::load::{Expected, Load, Tally};
use crate::process::Process;
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
    pub(crate) image: Arc<Image>,
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
        stage
            .runtime
            .block_on(self.check(stage.client(door, &self.image)))?;
        let process = subject.process(door);
        let (tally, before, after) = self.load(door)?.run(|| {
            let cpu = process.map(Process::cpu).unwrap_or_default();
            // Over loopback nothing is made of the count, and asking for it would disturb.
            (cpu, (self.link == Link::Wire).then(|| stage.counts(&self.image)))
        })?;
        ensure!(
            tally.answers + tally.bytes > 0,
            "no answer in {:?}",
            self.duration
        );
        let mut figures = self.figures(&tally, process.map(|_| after.0.saturating_sub(before.0)));
        if let (Some(before), Some(after)) = (before.1, after.1) {
            let value = per(after?.requests - before?.requests, tally.answers);
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
    async fn check(&self, client: Client) -> anyhow::Result<()> {
        let mut connection = client.resolve().await?;
        client
            .manifest(&mut connection, &client.door.by_tag(&self.image))
            .await?;
        client.blob(&mut connection, self.image.layer()?).await.map(drop)
    }

    /// Whether the answers are so large that bytes are counted.
    fn large(&self) -> bool {
        self.asked == Asked::Blob && self.image.layer().is_ok_and(|layer| layer.content.size > 1 << 20)
    }

    fn figures(&self, tally: &Tally, cpu: Option<Duration>) -> Vec<Figure> {
        let name = self.name();
        let mebibytes = mebibytes(tally.bytes);
        let answers = per(tally.answers, 1);
        let (unit, rate) = if self.large() {
            (Unit::MebibytesPerSecond, mebibytes / tally.seconds)
        } else {
            (Unit::RequestsPerSecond, answers / tally.seconds)
        };
        let mut figures = vec![Figure::new(&name, unit, rate)];
        let cost = cpu.map(|cpu| {
            if self.large() {
                (
                    Unit::CpuSecondsPerGibibyte,
                    cpu.as_secs_f64() / (mebibytes / 1024.0),
                )
            } else {
                (Unit::CpuMicrosecondsPerRequest, cpu.as_secs_f64() * 1e6 / answers)
            }
        });
        figures.extend(cost.map(|(unit, value)| Figure::new(part(&name, "cpu"), unit, value)));
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
