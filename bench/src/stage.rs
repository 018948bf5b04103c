//! What a measurement has at hand: the origin, generated images, a runtime for the client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::content::Pool;
use crate::http::{Connection, Method, Request};
use crate::image::{Image, Recipe, TAG};
use crate::origin::Counts;
use crate::process::Process;
use crate::site::{Link, Site};
use crate::subject::{Door, await_answer};

/// The first number of images that only one measurement uses.
const FIRST_COLD: u64 = 1000;
/// No measurement takes as long, not even of the slowest.
const LIMIT: Duration = Duration::from_mins(5);

/// Everything but the subjects.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) pool: Pool,
    /// Of the client, where it is not a closed loop. It has a thread for each core.
    pub(crate) runtime: Runtime,
    next_cold: AtomicU64,
    /// Held until the end of the run.
    _origin: Process,
}

impl Stage {
    /// Starts the origin.
    pub(crate) fn set(site: Site, directory: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = std::process::Command::new(program);
        command.args([
            "origin",
            "--listen",
            &site.origin.to_string(),
            "--wire",
            &site.wire.to_string(),
        ]);
        let mut origin = Process::start("origin", command, directory)?;
        for link in [Link::Loopback, Link::Wire] {
            await_answer(&mut origin, site.upstream(link))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        Ok(Self {
            site,
            pool: Pool::generate(),
            runtime: runtime.context("start a runtime")?,
            next_cold: AtomicU64::new(FIRST_COLD),
            _origin: origin,
        })
    }

    /// An image that no subject has seen.
    pub(crate) fn cold_image(
        &self,
        layers: u64,
        layer_bytes: u64,
        padding: usize,
    ) -> anyhow::Result<Arc<Image>> {
        let number = self.next_cold.fetch_add(1, Ordering::Relaxed);
        self.image(Recipe {
            number,
            layers,
            layer_bytes,
            padding,
        })
    }

    /// An image, ready at the origin too, so that nobody waits for it to be generated.
    pub(crate) fn image(&self, recipe: Recipe) -> anyhow::Result<Arc<Image>> {
        let image = Image::generate(&self.pool, recipe);
        let (status, body) = self.ask_origin(&format!("/v2/{}/manifests/{TAG}", image.repository))?;
        ensure!(
            status == 200 && body == image.manifest,
            "the origin serves another image"
        );
        Ok(Arc::new(image))
    }

    /// Somebody who wants an image from a door.
    pub(crate) fn client(&self, door: &Door, image: &Arc<Image>) -> Client {
        Client {
            pool: self.pool.clone(),
            door: door.clone(),
            image: Arc::clone(image),
        }
    }

    /// Runs a measurement that has to end some time.
    pub(crate) fn within<T>(
        &self,
        measurement: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let limited = async { tokio::time::timeout(LIMIT, measurement).await };
        self.runtime
            .block_on(limited)
            .with_context(|| format!("not done after {LIMIT:?}"))?
    }

    /// What the origin has sent of an image so far.
    pub(crate) fn counts(&self, image: &Image) -> anyhow::Result<Counts> {
        let (_, body) = self.ask_origin(&format!("/_/counters/{}", image.repository))?;
        serde_json::from_slice(&body).context("read the counts of the origin")
    }

    /// Fetches a path once and returns status and body.
    pub(crate) fn ask(&self, address: SocketAddr, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.runtime.block_on(async {
            let mut body = Vec::new();
            let request = Request::new(Method::Get, address, path);
            let take = |_, part: &[u8]| {
                body.extend_from_slice(part);
                Ok(())
            };
            let head = Connection::open(address).await?.fetch(&request, take).await?;
            Ok((head.status, body))
        })
    }

    fn ask_origin(&self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.ask(self.site.origin, path).context("ask the origin")
    }
}
