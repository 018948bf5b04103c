//! A registry whose program dies on request, and everything that can happen to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Login};
use quayside_tests::images::{Blob, Image, Index};
use quayside_tests::program::{Edition, Failpoint, Launch, Program};
use quayside_tests::torture::{Age, Remains};
use serde_json::{Value, json};

const USER: &str = "robot";
const PASSWORD: &str = "canary-failpoints-5ca1ab1e";

/// What the upstreams have.
pub(super) struct Goods {
    /// `app:1`, first this, then that.
    app: [Image; 2],
    /// `other:1`; shares a layer with `app`.
    other: Image,
    /// `pinned`, without a tag.
    pinned: Image,
    /// In `app`, about its second image.
    signature: Image,
    /// `multi:1`.
    index: Index,
    /// `lies:1` and `truth:1`: the same layer, declared too long and right.
    lies: Image,
    truth: Image,
    /// `app:1` of the upstream that wants a login; its layer is in `free:1` of the other one, too.
    secret: Image,
    free: Image,
}

impl Goods {
    pub(super) fn new() -> Self {
        let layer = |seed| Blob::random(seed, 3000);
        let image = |name: &str, layers: &[&Blob]| {
            let builder = Image::builder().label("name", name);
            layers
                .iter()
                .fold(builder, |builder, layer| builder.layer((*layer).clone()))
                .build()
        };
        // Longer than what is withheld until it is verified.
        let shared = Blob::random(1, 100_000);
        let app = [
            image("first", &[&shared, &layer(2)]),
            image("second", &[&shared, &layer(3)]),
        ];
        let signature = Image::builder()
            .subject(&app[1].manifest)
            .layer(layer(4))
            .artifact_type("application/x.signature")
            .build();
        let disputed = layer(5);
        let lies = Image::builder()
            .label("name", "lies")
            .layer_declared(disputed.clone(), 7000)
            .build();
        let kept = layer(6);
        Self {
            other: image("other", &[&shared, &layer(7)]),
            pinned: image("pinned", &[&layer(8)]),
            index: Index::two_platforms(9, 2000),
            truth: image("truth", &[&disputed]),
            secret: image("secret", &[&kept]),
            free: image("free", &[&kept]),
            app,
            signature,
            lies,
        }
    }

    fn fill(&self, open: &FakeUpstream, closed: &FakeUpstream) {
        open.push_untagged("app", &self.app[1]);
        open.push("app", "1", &self.app[0]);
        open.push_untagged("app", &self.signature);
        open.push("other", "1", &self.other);
        open.push_untagged("pinned", &self.pinned);
        open.push_index("multi", "1", &self.index);
        open.push("lies", "1", &self.lies);
        open.push("truth", "1", &self.truth);
        open.push("free", "1", &self.free);
        closed.push("app", "1", &self.secret);
    }
}

/// The process is not there any more.
pub(super) struct Gone;

type Result<T = (), E = Gone> = std::result::Result<T, E>;

/// The program, its upstreams, and what it leaves.
pub(super) struct Scene {
    pub(super) program: Program,
    pub(super) remains: Remains,
    goods: Arc<Goods>,
    open: FakeUpstream,
    _closed: FakeUpstream,
    http: reqwest::Client,
    /// A file was taken away, and the registry has not noticed yet.
    robbed: AtomicBool,
}

impl Scene {
    pub(super) async fn new(goods: Arc<Goods>, http: reqwest::Client) -> Self {
        let open = FakeUpstream::start().await;
        let closed = FakeUpstream::with_login(Login::Basic {
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
        })
        .await;
        goods.fill(&open, &closed);
        let organization = |name: &str, upstream: &FakeUpstream| {
            json!({
                "name": name,
                "remoteRegistry": upstream.authority(),
                "visibility": "Internal",
                "backgroundFill": false,
                "timeMachineSeconds": 0,
                "tls": { "plainHttp": true },
            })
        };
        let mut secret = organization("secret", &closed);
        secret["credentials"] = json!({ "username": USER, "password": PASSWORD });
        let organizations = [organization("acme", &open), secret];
        // Nothing happens by itself, so that everything happens in the same order every time.
        let settings = json!({ "gc": { "intervalSeconds": 86400, "graceSeconds": 1 } });
        let program = Program::prepare(Edition::Failpoints, &organizations, settings).await;
        Self {
            remains: Remains::of(&program),
            program,
            goods,
            open,
            _closed: closed,
            http,
            robbed: AtomicBool::new(false),
        }
    }

    /// A start and everything that can happen after it, in one process that may die at the point.
    pub(super) async fn live(&mut self, failpoint: Failpoint<'_>) -> Result {
        if self.program.launch(failpoint).await == Launch::Died {
            return Err(Gone);
        }
        self.pull().await?;
        self.lose_bytes().await?;
        self.revive().await?;
        self.bring_back().await?;
        self.expire().await
    }

    /// Whether the process really has ended: no answer is otherwise a fault of its own.
    pub(super) async fn confirm_death(&mut self) {
        let Self { program, .. } = self;
        eventually("the process is dead", || {
            let dead = !program.runs();
            std::future::ready(dead)
        })
        .await;
    }

    /// First pulls, renewals, moved tags, pins, indexes, referrers, shared, private and wrongly declared blobs.
    pub(super) async fn pull(&self) -> Result {
        let goods = &self.goods;
        let [first, second] = &goods.app;
        self.open.tag("app", "1", first.digest());
        self.image("acme/app", "1", first).await?;
        self.image("acme/other", "1", &goods.other).await?;
        self.open.tag("app", "1", second.digest());
        self.image("acme/app", "1", second).await?;
        self.image("acme/app", goods.signature.digest(), &goods.signature)
            .await?;
        self.image("acme/pinned", goods.pinned.digest(), &goods.pinned)
            .await?;
        let index = self.get("acme/multi/manifests/1").await?;
        assert!(index == *goods.index.body(), "another index");
        for child in &goods.index.images {
            self.image("acme/multi", child.digest(), child).await?;
        }
        let lies = self.get("acme/lies/manifests/1").await?;
        assert!(lies == *goods.lies.body(), "another manifest");
        self.image("acme/truth", "1", &goods.truth).await?;
        self.image("secret/app", "1", &goods.secret).await?;
        // Only of what is stored can it turn out that it is free.
        self.quiet().await?;
        self.image("acme/free", "1", &goods.free).await?;
        // Pulled again: nothing but a renewal.
        self.image("acme/other", "1", &goods.other).await?;
        self.image("acme/pinned", goods.pinned.digest(), &goods.pinned)
            .await?;
        self.quiet().await?;
        self.collect().await
    }

    /// B8: a file is lost behind the registry's back.
    async fn lose_bytes(&self) -> Result {
        // Read once only, so that the registry does not hold its file open.
        let image = &self.goods.app[1];
        let layer = &image.layers[1];
        let (_, hex) = layer.digest.split_once(':').unwrap();
        let files = self.remains.files();
        let file = files.iter().find(|(name, _)| name.contains(hex));
        self.robbed.store(true, Ordering::Relaxed);
        std::fs::remove_file(file.expect("it is stored").1).unwrap();
        self.image("acme/app", "1", image).await?;
        self.quiet().await?;
        self.robbed.store(false, Ordering::Relaxed);
        self.collect().await
    }

    /// M5, M11: dead tags that are asked for.
    async fn revive(&self) -> Result {
        self.remains.age(Age::Tags).await;
        // What the process remembers of the tags is older than the change by now.
        let url = format!("http://{}/v2/acme/other/manifests/1", self.program.address());
        let head = self.http.head(url).send().await.map_err(|_| Gone)?;
        assert_eq!(head.status(), 200);
        self.image("acme/other", "1", &self.goods.other).await?;
        self.quiet().await?;
        self.collect().await
    }

    /// Released, and taken back before it is collected.
    async fn bring_back(&self) -> Result {
        self.remains.age(Age::Tags).await;
        self.collect().await?;
        let goods = &self.goods;
        self.image("acme/app", "1", &goods.app[1]).await?;
        let index = self.get("acme/multi/manifests/1").await?;
        assert!(index == *goods.index.body(), "another index");
        self.collect().await
    }

    /// All dies, is released, collected and deleted.
    pub(super) async fn expire(&self) -> Result {
        for age in [Age::Tags, Age::Released, Age::Garbage] {
            self.remains.age(age).await;
            self.collect().await?;
        }
        Ok(())
    }

    async fn collect(&self) -> Result {
        let answer = self.program.command(&self.http, Method::POST, "/gc").await;
        answer.map(drop).ok_or(Gone)
    }

    /// What is counted wrong.
    pub(super) async fn recount(&self) -> Value {
        let answer = self.program.command(&self.http, Method::GET, "/recount").await;
        answer.expect("the program runs")["found"].clone()
    }

    /// Looks at what is left. A row without its bytes is to be expected only where they were taken away.
    pub(super) async fn audit(&self) {
        if !self.robbed.swap(false, Ordering::Relaxed) {
            self.remains.audit().await;
        }
    }

    /// An image and all its blobs.
    async fn image(&self, repository: &str, reference: &str, image: &Image) -> Result {
        let body = self.get(&format!("{repository}/manifests/{reference}")).await?;
        assert!(
            body == *image.body(),
            "another manifest: {repository}:{reference}"
        );
        for blob in image.blobs() {
            let bytes = self.get(&format!("{repository}/blobs/{}", blob.digest)).await?;
            assert!(bytes == blob.bytes, "other bytes: {}", blob.digest);
        }
        Ok(())
    }

    /// Waits until no byte is on its way to storage any more.
    async fn quiet(&self) -> Result {
        let spool = self.program.blobs().join("spool");
        let filling = "SELECT count(*) FROM fill";
        eventually("all fills have ended", || async {
            let idle = std::fs::read_dir(&spool).is_ok_and(|mut entries| entries.next().is_none());
            (idle && self.remains.number(filling).await == 0) || !self.answers().await
        })
        .await;
        if self.answers().await { Ok(()) } else { Err(Gone) }
    }

    async fn answers(&self) -> bool {
        tokio::net::TcpStream::connect(self.program.address())
            .await
            .is_ok()
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        let url = format!("http://{}/v2/{path}", self.program.address());
        let response = self.http.get(url).send().await.map_err(|_| Gone)?;
        let status = response.status();
        let body = response.bytes().await.map_err(|_| Gone)?;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// The points that a run has passed, each once, in their order.
pub(super) fn points_in(file: &Path) -> Vec<String> {
    let mut points = Vec::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        if !points.iter().any(|point| point == line) {
            points.push(line.to_owned());
        }
    }
    points
}
