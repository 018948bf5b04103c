//! What is pulled while the process is tortured, and clients that look at every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::images::{Blob, Image, Index};
use quayside_tests::torture::Chance;
use tokio::sync::watch;

const IMAGES: u64 = 8;
const LARGE: u64 = 500_000;

/// Everything that upstream has.
pub(super) struct Shelf {
    /// Under the tag `1` of `app<n>`: small and large layers, of which some are in several images.
    images: Vec<Image>,
    /// Under the tag `1` of `multi`.
    index: Index,
    /// Under the tag `1` of `moving`, one at a time.
    moving: [Image; 2],
    /// Under the tag `1` of `giant`: for those who do not get it.
    giant: Image,
}

impl Shelf {
    /// The same for the same seed.
    pub(super) fn new(seed: u64) -> Self {
        let blob = |number: u64, size: usize| Blob::random(seed.wrapping_mul(1000) + number, size);
        let shared = [blob(0, 1_500_000), blob(1, 20_000)];
        let images = (0..IMAGES)
            .map(|number| {
                let own = 1 + usize::try_from(number).unwrap();
                let builder = Image::builder()
                    .layer(shared[own % 2].clone())
                    .layer(blob(10 + number, 5_000 * own))
                    .label("seed", &format!("{seed}-{number}"));
                let large = number.is_multiple_of(4);
                if large {
                    builder.layer(blob(20 + number, 1 << 20)).build()
                } else {
                    builder.build()
                }
            })
            .collect();
        let moving = [30, 31].map(|number| {
            let label = format!("{seed}-{number}");
            let builder = Image::builder()
                .layer(blob(number, 70_000))
                .layer(shared[1].clone());
            builder.label("seed", &label).build()
        });
        Self {
            images,
            index: Index::two_platforms(seed, 200_000),
            moving,
            giant: Image::builder().layer(blob(40, 3_000_000)).build(),
        }
    }

    /// Puts it all upstream, from where large layers come slowly enough for a kill to meet them halfway.
    pub(super) fn fill(&self, upstream: &FakeUpstream) {
        for (number, image) in self.images.iter().enumerate() {
            upstream.push(&format!("app{number}"), "1", image);
            for layer in image.layers.iter().filter(|layer| layer.size() > LARGE) {
                let slowly = Fault::Drip(100_000, Duration::from_millis(10));
                upstream.script(On::blob().of(&format!("app{number}")).at(&layer.digest), slowly);
            }
        }
        upstream.push_index("multi", "1", &self.index);
        for image in &self.moving {
            upstream.push("moving", "1", image);
        }
        upstream.push("giant", "1", &self.giant);
    }

    /// Points the moving tag at one of its images.
    pub(super) fn turn(&self, upstream: &FakeUpstream, chance: &mut Chance) {
        upstream.tag("moving", "1", chance.one_of(&self.moving).digest());
    }
}

/// What all clients of a run have done.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bodies that came whole and were right.
    pub(super) whole: AtomicUsize,
    /// Bodies that broke off.
    pub(super) broken: AtomicUsize,
    /// Manifests that were refused because they never fit.
    pub(super) refused: AtomicUsize,
}

/// Somebody who pulls one thing after the other until he is stopped.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) registry: SocketAddr,
    pub(super) shelf: Arc<Shelf>,
    pub(super) tally: Arc<Tally>,
    pub(super) chance: Chance,
    /// How long what was pulled is there at least.
    pub(super) life: Duration,
    pub(super) quota: Quota,
    /// True once he is to stop.
    pub(super) stop: watch::Receiver<bool>,
}

/// How much the organization may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// All there is.
    Unlimited,
    /// Every image but the giant, and not all of them at the same time.
    Tight,
}

/// A pull did not come to its end: the registry went away.
struct Cut;

/// When a pull began.
#[derive(Clone, Copy)]
struct Pull(Instant);

impl Client {
    pub(super) async fn run(mut self) {
        loop {
            // Whatever cut it, the next one is a new one.
            let _: Result<(), Cut> = self.act().await;
            // People do not all pull at once, and now and then nobody pulls what is about to die.
            let pause = tokio::time::sleep(self.chance.millis(20, 300));
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return,
                () = pause => {}
            }
        }
    }

    /// Pulls every image once; none is refused.
    pub(super) async fn pull_all(&self) {
        for (number, image) in self.shelf.images.iter().enumerate() {
            let pull = Pull(Instant::now());
            let pulled = self.pull(pull, &format!("app{number}"), "1", &[image]).await;
            assert!(
                pulled.is_ok() || pull.0.elapsed() > self.life,
                "app{number} broke off"
            );
        }
    }

    async fn act(&mut self) -> Result<(), Cut> {
        let goods = Arc::clone(&self.shelf);
        let number = self.chance.below(goods.images.len());
        let (image, repository) = (&goods.images[number], format!("app{number}"));
        let pull = Pull(Instant::now());
        let kinds = if self.quota == Quota::Tight { 13 } else { 12 };
        match self.chance.below(kinds) {
            0..5 => self.pull(pull, &repository, "1", &[image]).await,
            5 => self.pull(pull, &repository, image.digest(), &[image]).await,
            6 => {
                let moving: Vec<_> = goods.moving.iter().collect();
                self.pull(pull, "moving", "1", &moving).await
            }
            7 | 8 => {
                let index = self.manifest(pull, "multi", "1").await?;
                assert!(index == *goods.index.body(), "another index");
                let child = self.chance.one_of(&goods.index.images);
                self.pull(pull, "multi", child.digest(), &[child]).await
            }
            9 => {
                self.manifest(pull, &repository, "1").await?;
                self.part(pull, &repository, &image.layers[0]).await
            }
            10 => {
                self.manifest(pull, &repository, "1").await?;
                self.leave(&repository, &image.layers[0]).await
            }
            11 => self.head(&repository, image).await,
            _ => self.refused().await,
        }
    }

    /// A manifest, which is that of one of `candidates`, and all its blobs.
    async fn pull(
        &self,
        pull: Pull,
        repository: &str,
        reference: &str,
        candidates: &[&Image],
    ) -> Result<(), Cut> {
        let body = self.manifest(pull, repository, reference).await?;
        let image = candidates.iter().find(|image| *image.body() == body);
        let image = image.expect("a manifest that was never there");
        for blob in image.blobs() {
            let path = format!("{repository}/blobs/{}", blob.digest);
            let (status, bytes) = self.get(pull, &path, None).await?;
            assert!(status == 200 && bytes == blob.bytes, "other bytes: {path}");
        }
        Ok(())
    }

    async fn manifest(&self, pull: Pull, repository: &str, reference: &str) -> Result<Bytes, Cut> {
        let path = format!("{repository}/manifests/{reference}");
        let (status, bytes) = self.get(pull, &path, None).await?;
        assert_eq!(status, 200, "{path}");
        Ok(bytes)
    }

    /// The middle of a blob.
    async fn part(&self, pull: Pull, repository: &str, blob: &Blob) -> Result<(), Cut> {
        let (from, to) = (blob.bytes.len() / 3, blob.bytes.len() / 2);
        let path = format!("{repository}/blobs/{}", blob.digest);
        let range = format!("bytes={from}-{}", to - 1);
        let (status, bytes) = self.get(pull, &path, Some(&range)).await?;
        assert_eq!(status, 206, "{path}");
        assert!(
            bytes == blob.bytes.slice(from..to),
            "other bytes: {range} of {path}"
        );
        Ok(())
    }

    /// Begins a blob and goes away.
    async fn leave(&self, repository: &str, blob: &Blob) -> Result<(), Cut> {
        let request = self.request(Method::GET, &format!("{repository}/blobs/{}", blob.digest));
        let mut response = request.send().await.map_err(|_| Cut)?;
        let piece = response.chunk().await.map_err(|_| Cut)?;
        if response.status() == 200 {
            let piece = piece.unwrap_or_default();
            assert!(blob.bytes.starts_with(&piece), "other bytes at the beginning");
        }
        Ok(())
    }

    /// Q4, Q7: what could never fit.
    async fn refused(&self) -> Result<(), Cut> {
        let request = self.request(Method::GET, "giant/manifests/1");
        let response = request.send().await.map_err(|_| Cut)?;
        let status = response.status();
        let text = response.text().await.map_err(|_| Cut)?;
        let told = text.contains("Quota has been exceeded");
        assert!(status == 403 && told, "the giant: {status} {text}");
        self.tally.refused.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn head(&self, repository: &str, image: &Image) -> Result<(), Cut> {
        let request = self.request(Method::HEAD, &format!("{repository}/manifests/1"));
        let response = request.send().await.map_err(|_| Cut)?;
        assert_eq!(response.status(), 200, "HEAD {repository}");
        let digest = response.headers().get("docker-content-digest");
        assert!(
            digest.is_some_and(|digest| digest == image.digest()),
            "another digest"
        );
        Ok(())
    }

    /// Any answer but content is a fault, as long as what was pulled lives: upstream is there, and what is collected
    /// can be had again.
    async fn get(&self, pull: Pull, path: &str, range: Option<&str>) -> Result<(StatusCode, Bytes), Cut> {
        let mut request = self.request(Method::GET, path);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let response = request.send().await.map_err(|_| Cut)?;
        let status = response.status();
        let Ok(body) = response.bytes().await else {
            self.tally.broken.fetch_add(1, Ordering::Relaxed);
            return Err(Cut);
        };
        // On a machine so busy that a pull takes longer than what it pulls lives, its blobs are rightly gone.
        if status == 404 && pull.0.elapsed() > self.life {
            return Err(Cut);
        }
        let text = String::from_utf8_lossy(&body);
        assert!(status.is_success(), "{path}: {status} {text}");
        self.tally.whole.fetch_add(1, Ordering::Relaxed);
        Ok((status, body))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}/v2/acme/{path}", self.registry);
        self.http.request(method, url)
    }
}
