//! What a subject keeps in memory, and for whom. All of it is measured on an instance of its own: what an
//! earlier measurement left in an allocator would hide what this one takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use super::{Figure, Instance, Work, mebibytes};
use crate::client::Client;
use crate::http::{Connection, Method, Request};
use crate::load::{Expected, Load};
use crate::process::Process;
use crate::report::Unit;
use crate::report::names;
use crate::site::Link;
use crate::stage::Stage;
use crate::subject::{Door, Subject};

/// The end of a change of memory: it is measured until it stays.
const SETTLED: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an instance takes to start, and what it has in memory when nobody asks for anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start;

impl Work for Start {
    fn name(&self) -> String {
        names::START.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.observable()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let fresh = Fresh::start(stage, subject)?;
        let process = fresh.process()?;
        let milliseconds = process.start_time().as_secs_f64() * 1e3;
        let resident = mebibytes(settled(process));
        Ok(vec![
            Figure::new(names::START, Unit::Milliseconds, milliseconds),
            Figure::new(names::IDLE_RSS, Unit::Mebibytes, resident),
        ])
    }
}

/// Eight clients pull eight cold images of one layer each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EightBlobs;

impl Work for EightBlobs {
    fn name(&self) -> String {
        names::COLD_8_PEAK.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.observable() && subject.fetches()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let fresh = Fresh::start(stage, subject)?;
        let (door, process) = (fresh.door()?, fresh.process()?);
        let images = (0..8).map(|_| stage.cold_image(1, 120_000_000, 0));
        let images = images.collect::<anyhow::Result<Vec<_>>>()?;
        super::quiet();
        process.forget_peak();
        stage.within(async {
            let mut pulls: JoinSet<_> = images
                .iter()
                .map(|image| stage.client(door, image).pull(1))
                .collect();
            while let Some(pull) = pulls.join_next().await {
                pull.context("run a client")??;
            }
            Ok(())
        })?;
        Ok(vec![Figure::new(
            self.name(),
            Unit::Mebibytes,
            mebibytes(process.memory().peak),
        )])
    }
}

/// A hundred clients ask at once for one cold manifest of 4 MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeManifest;

impl Work for LargeManifest {
    fn name(&self) -> String {
        names::MANIFEST_4MIB_PEAK.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.observable() && subject.fetches()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let fresh = Fresh::start(stage, subject)?;
        let (door, process) = (fresh.door()?, fresh.process()?);
        // What the rest of the manifest takes is less than 4 KiB.
        let image = stage.cold_image(1, 1 << 10, (4 << 20) - 4096)?;
        let idle = settled(process);
        process.forget_peak();
        stage.within(async {
            let ask = |client: Client| async move {
                let mut connection = Connection::open(client.door.address).await?;
                client
                    .manifest(&mut connection, &client.door.by_tag(&client.image))
                    .await
            };
            let mut asking: JoinSet<_> = (0..100).map(|_| ask(stage.client(door, &image))).collect();
            while let Some(asked) = asking.join_next().await {
                asked.context("run a client")??;
            }
            Ok(())
        })?;
        let over = process.memory().peak.saturating_sub(idle);
        Ok(vec![Figure::new(self.name(), Unit::Mebibytes, mebibytes(over))])
    }
}

/// A thousand clients ask for 100 MiB and stop reading; somebody else asks for a manifest meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalled {
    pub(crate) clients: u32,
}

impl Work for Stalled {
    fn name(&self) -> String {
        names::STALLED_1000.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.observable()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let fresh = Fresh::start(stage, subject)?;
        let (door, process) = (fresh.door()?, fresh.process()?);
        let image = stage.cold_image(1, 100 << 20, 0)?;
        fresh.subject.publish(&image, &stage.pool)?;
        let client = stage.client(door, &image);
        stage.within(client.clone().pull(1))?;
        let before = median_latency(door, &client)?;
        let idle = settled(process);
        let stalled = stage.within(stall(client.clone(), self.clients))?;
        let resident = settled(process);
        let beside = median_latency(door, &client)?;
        drop(stalled);
        let kibibytes = mebibytes(resident.saturating_sub(idle)) * 1024.0 / f64::from(self.clients);
        Ok(vec![
            Figure::new(names::STALLED_1000, Unit::KibibytesPerConnection, kibibytes),
            Figure::new(names::STALLED_1000_BEFORE, Unit::Milliseconds, before),
            Figure::new(names::STALLED_1000_BESIDE, Unit::Milliseconds, beside),
        ])
    }
}

async fn stall(client: Client, clients: u32) -> anyhow::Result<Vec<Connection>> {
    let layer = Arc::new(client.image.layer()?.clone());
    let begin = |client: Client, layer: Arc<_>| async move { client.begin(&layer, 0).await };
    let mut beginning: JoinSet<_> = (0..clients)
        .map(|_| begin(client.clone(), Arc::clone(&layer)))
        .collect();
    let mut stalled = Vec::new();
    while let Some(connection) = beginning.join_next().await {
        stalled.push(connection.context("run a client")??);
    }
    Ok(stalled)
}

/// Milliseconds of a GET of a manifest by digest, of one client.
fn median_latency(door: &Door, client: &Client) -> anyhow::Result<f64> {
    let load = Load {
        address: door.address,
        request: Request::new(Method::Get, door.address, &door.by_digest(&client.image)),
        expected: Expected {
            status: 200,
            length: client.image.manifest.len() as u64,
        },
        connections: 1,
        duration: Duration::from_secs(1),
    };
    let (tally, (), ()) = load.run(|| ())?;
    tally
        .latency(0.5)
        .map(|seconds| seconds * 1e3)
        .context("no answer in a second")
}

/// The resident bytes once they stay within a hundredth for a while.
fn settled(process: &Process) -> u64 {
    let begin = Instant::now();
    let mut last = process.memory().resident;
    loop {
        std::thread::sleep(SETTLED);
        let now = process.memory().resident;
        if now.abs_diff(last) < last / 100 || begin.elapsed() > PATIENCE {
            return now;
        }
        last = now;
    }
}

/// An instance that nobody has used, with its door to the origin.
struct Fresh {
    subject: Subject,
}

impl Fresh {
    fn start(stage: &Stage, like: &Subject) -> anyhow::Result<Self> {
        let subject = Instance::Fresh
            .of(stage, like)?
            .context("start a fresh instance")?;
        Ok(Self { subject })
    }

    fn door(&self) -> anyhow::Result<&Door> {
        self.subject
            .door(Link::Loopback, None)
            .context("the subject has a door for this work")
    }

    fn process(&self) -> anyhow::Result<&Process> {
        self.subject
            .process(self.door()?)
            .context("the subject is a program")
    }
}
