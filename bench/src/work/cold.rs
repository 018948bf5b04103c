//! Cold pulls: nobody has asked for the image before.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::task::JoinSet;

use super::{Figure, Instance, Watch, Work};
use crate::client::Client;
use crate::image::Image;
use crate::report::Unit;
use crate::report::names::{self, part};
use crate::site::Link;
use crate::stage::Stage;
use crate::subject::{Kind, Subject};

/// Some clients pull one image, all at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    /// A name of the report.
    pub(crate) work: &'static str,
    pub(crate) link: Link,
    pub(crate) clients: usize,
    pub(crate) layers: u64,
    pub(crate) layer_bytes: u64,
    /// How many layers a client pulls at a time.
    pub(crate) at_a_time: usize,
    pub(crate) instance: Instance,
}

impl Work for Cold {
    fn name(&self) -> String {
        self.work.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        // Many clients of the origin itself are not what a cache is compared with.
        let direct = subject.kind == Kind::Direct && self.clients > 1;
        subject.fetches() && subject.door(self.link, None).is_some() && !direct
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let fresh = self.instance.of(stage, subject)?;
        let subject = fresh.as_ref().unwrap_or(subject);
        let door = subject
            .door(self.link, None)
            .context("the subject has a door for this work")?;
        let image = stage.cold_image(self.layers, self.layer_bytes, 0)?;
        let client = stage.client(door, &image);
        let watch = Watch::begin(stage, subject, door, &image)?;
        stage.within(all_pull(client, self.clients, self.at_a_time))?;
        watch.figures(self.work)
    }
}

async fn all_pull(client: Client, clients: usize, at_a_time: usize) -> anyhow::Result<()> {
    let mut pulls: JoinSet<_> = (0..clients).map(|_| client.clone().pull(at_a_time)).collect();
    while let Some(pull) = pulls.join_next().await {
        pull.context("run a client")??;
    }
    Ok(())
}

/// How long the first byte of a blob takes, from the first request of the pull on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstByte;

impl Work for FirstByte {
    fn name(&self) -> String {
        names::COLD_TTFB_WIRE.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.fetches() && subject.door(Link::Wire, None).is_some()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let door = subject
            .door(Link::Wire, None)
            .context("the subject has a door for this work")?;
        let image = stage.cold_image(1, 10 << 20, 0)?;
        let client = stage.client(door, &image);
        super::quiet();
        let begin = Instant::now();
        let first = stage.within(first_byte(client, &image))?;
        let milliseconds = first.duration_since(begin).as_secs_f64() * 1e3;
        Ok(vec![Figure::new(self.name(), Unit::Milliseconds, milliseconds)])
    }
}

async fn first_byte(client: Client, image: &Image) -> anyhow::Result<Instant> {
    let mut connection = client.resolve().await?;
    client.blob(&mut connection, image.layer()?).await
}

/// Four clients, a quarter of one cold blob each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quarters;

impl Work for Quarters {
    fn name(&self) -> String {
        names::RANGES_4_WIRE.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.fetches() && subject.door(Link::Wire, None).is_some()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let door = subject
            .door(Link::Wire, None)
            .context("the subject has a door for this work")?;
        let image = stage.cold_image(1, 100 << 20, 0)?;
        let client = stage.client(door, &image);
        let watch = Watch::begin(stage, subject, door, &image)?;
        let partial = stage.within(quarters(client, Arc::clone(&image)))?;
        let mut figures = watch.figures(names::RANGES_4_WIRE)?;
        figures.push(Figure::new(
            part(names::RANGES_4_WIRE, "partial"),
            Unit::Count,
            partial,
        ));
        Ok(figures)
    }
}

/// How many of the answers were 206.
async fn quarters(client: Client, image: Arc<Image>) -> anyhow::Result<f64> {
    client.resolve().await?;
    let layer = image.layer()?.clone();
    let quarter = layer.content.size / 4;
    let mut ranges = JoinSet::new();
    for place in 0..4 {
        let (client, layer) = (client.clone(), layer.clone());
        ranges.spawn(async move {
            client
                .range(&layer, place * quarter, (place + 1) * quarter - 1)
                .await
        });
    }
    let mut partial = 0.0;
    while let Some(status) = ranges.join_next().await {
        if status.context("run a client")?? == 206 {
            partial += 1.0;
        }
    }
    Ok(partial)
}

/// A client leaves at half of a cold blob, and the next one wants all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abort;

impl Work for Abort {
    fn name(&self) -> String {
        names::ABORT_UP_X.to_owned()
    }

    fn fits(&self, subject: &Subject) -> bool {
        subject.fetches() && subject.observable()
    }

    fn measure(&self, stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Figure>> {
        let door = subject
            .door(Link::Wire, None)
            .context("the subject has a door for this work")?;
        let image = stage.cold_image(1, 100 << 20, 0)?;
        let client = stage.client(door, &image);
        let watch = Watch::begin(stage, subject, door, &image)?;
        stage.within(leave_and_pull(client, Arc::clone(&image)))?;
        Ok(vec![Figure::new(
            self.name(),
            Unit::UpstreamBytes,
            watch.upstream()?,
        )])
    }
}

async fn leave_and_pull(client: Client, image: Arc<Image>) -> anyhow::Result<()> {
    client.resolve().await?;
    let layer = image.layer()?;
    drop(client.begin(layer, layer.content.size / 2).await?);
    client.pull(1).await
}
