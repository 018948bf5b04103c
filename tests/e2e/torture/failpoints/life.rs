//! A life with everything but quotas: pulls of every kind, lost bytes, revivals, and the end of it all.

use bytes::Bytes;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, Login, On};
use quayside_tests::images::{Blob, Image, Index};
use quayside_tests::program::Failpoint;
use quayside_tests::torture::Age;
use serde_json::json;
use tokio::task::JoinHandle;

use super::Story;
use super::scene::{Gone, Result, Scene, organization};

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
    /// `lost:1`: its bytes get lost.
    lost: Image,
    /// `late:1`: its bytes come when nobody wants them any more.
    late: Image,
    /// `mine:1` of the upstream that wants a login, and `yours:1` of the other one, whose layer overtakes the same one.
    mine: Image,
    yours: Image,
}

impl Goods {
    fn new() -> Self {
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
        let (kept, raced) = (layer(6), layer(12));
        Self {
            other: image("other", &[&shared, &layer(7)]),
            pinned: image("pinned", &[&layer(8)]),
            index: Index::two_platforms(9, 2000),
            truth: image("truth", &[&disputed]),
            secret: image("secret", &[&kept]),
            free: image("free", &[&kept]),
            lost: image("lost", &[&layer(10)]),
            late: image("late", &[&layer(11)]),
            mine: image("mine", &[&raced]),
            yours: image("yours", &[&raced]),
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
        open.push("lost", "1", &self.lost);
        open.push("late", "1", &self.late);
        open.push("yours", "1", &self.yours);
        closed.push("mine", "1", &self.mine);
        closed.push("app", "1", &self.secret);
    }
}

/// The registry with its two upstreams.
pub(super) struct Life {
    scene: Scene,
    goods: Goods,
    open: FakeUpstream,
    closed: FakeUpstream,
}

/// A transfer that goes on when it is told to.
struct Halfway {
    gate: Gate,
    layer: Blob,
    transfer: JoinHandle<Result<Bytes>>,
}

impl Halfway {
    async fn finish(self) -> Result {
        self.gate.open();
        let bytes = self.transfer.await.unwrap()?;
        assert!(bytes == self.layer.bytes, "other bytes: {}", self.layer.digest);
        Ok(())
    }
}

impl Story for Life {
    const EXPECTED: &[&str] = &[
        "admit committed",
        "record_fill committed",
        "commit_fill committed",
        "commit_fill 4 list garbage",
        "commit_fill 5 find blob",
        "commit_fill 6 prove blob",
        "prove_blob committed",
        "renew committed",
        "forget_bytes committed",
        "mark_resolved committed",
        "sweep committed",
        "collect committed",
        "forget_garbage committed",
        "commit blob: renamed",
        "delete blobs: unlinked",
    ];

    fn dies_at(_: &str) -> bool {
        true
    }

    async fn new(http: reqwest::Client) -> Self {
        let goods = Goods::new();
        let open = FakeUpstream::start().await;
        let closed = FakeUpstream::with_login(Login::Basic {
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
        })
        .await;
        goods.fill(&open, &closed);
        let mut secret = organization("secret", &closed);
        secret["credentials"] = json!({ "username": USER, "password": PASSWORD });
        Self {
            scene: Scene::new(&[organization("acme", &open), secret], http).await,
            goods,
            open,
            closed,
        }
    }

    fn scene(&mut self) -> &mut Scene {
        &mut self.scene
    }

    async fn live(&mut self, failpoint: Failpoint<'_>) -> Result {
        self.scene.launch(failpoint).await?;
        self.pull().await?;
        self.revive().await?;
        self.bring_back().await?;
        self.scene.expire().await?;
        // After the first deletion, which has to be one of real files.
        self.be_overtaken().await?;
        self.be_late().await?;
        self.lose_bytes().await?;
        self.scene.expire().await
    }

    async fn go_on(&mut self) -> Result {
        self.pull().await?;
        self.scene.image("acme/lost", "1", &self.goods.lost).await?;
        self.scene.quiet().await?;
        self.scene.collect().await
    }
}

impl Life {
    /// First pulls, renewals, moved tags, pins, indexes, referrers, shared, private and wrongly declared blobs.
    async fn pull(&self) -> Result {
        let (scene, goods) = (&self.scene, &self.goods);
        let [first, second] = &goods.app;
        self.open.tag("app", "1", first.digest());
        scene.image("acme/app", "1", first).await?;
        scene.image("acme/other", "1", &goods.other).await?;
        self.open.tag("app", "1", second.digest());
        scene.image("acme/app", "1", second).await?;
        scene
            .image("acme/app", goods.signature.digest(), &goods.signature)
            .await?;
        scene
            .image("acme/pinned", goods.pinned.digest(), &goods.pinned)
            .await?;
        let index = scene.get("acme/multi/manifests/1").await?;
        assert!(index == *goods.index.body(), "another index");
        for child in &goods.index.images {
            scene.image("acme/multi", child.digest(), child).await?;
        }
        let lies = scene.get("acme/lies/manifests/1").await?;
        assert!(lies == *goods.lies.body(), "another manifest");
        scene.image("acme/truth", "1", &goods.truth).await?;
        scene.image("secret/app", "1", &goods.secret).await?;
        // Only of what is stored can it turn out that it is free.
        scene.quiet().await?;
        scene.image("acme/free", "1", &goods.free).await?;
        // Pulled again: nothing but a renewal.
        scene.image("acme/other", "1", &goods.other).await?;
        scene
            .image("acme/pinned", goods.pinned.digest(), &goods.pinned)
            .await?;
        scene.quiet().await?;
        scene.collect().await
    }

    /// Two fills of one blob: that with credentials comes second, and what it has written is garbage.
    async fn be_overtaken(&self) -> Result {
        let (scene, goods) = (&self.scene, &self.goods);
        scene.get("secret/mine/manifests/1").await?;
        let mine = self.begin(&self.closed, "secret/mine", &goods.mine).await?;
        scene.image("acme/yours", "1", &goods.yours).await?;
        scene.stored(&goods.yours.layers[0]).await?;
        mine.finish().await?;
        scene.quiet().await?;
        scene.collect().await
    }

    /// A fill that ends when the last manifest that names its blob is gone: its client is served, and what it has
    /// written is garbage.
    async fn be_late(&self) -> Result {
        let (scene, image) = (&self.scene, &self.goods.late);
        scene.get("acme/late/manifests/1").await?;
        let late = self.begin(&self.open, "acme/late", image).await?;
        for age in [Age::Tags, Age::Released] {
            scene.remains.age(age).await;
            scene.collect().await?;
        }
        late.finish().await?;
        scene.quiet().await?;
        scene.collect().await
    }

    /// Asks for the layer of an image, and comes back when half of it has come from upstream.
    async fn begin(&self, upstream: &FakeUpstream, repository: &str, image: &Image) -> Result<Halfway> {
        let (layer, gate) = (image.layers[0].clone(), Gate::closed());
        let fault = Fault::HoldAfter(layer.bytes.len() / 2, gate.clone());
        upstream.script(On::blob().at(&layer.digest).once(), fault);
        let mut transfer = tokio::spawn(self.scene.blob(repository, &layer));
        tokio::select! {
            () = gate.reached() => Ok(Halfway { gate, layer, transfer }),
            _ = &mut transfer => Err(Gone),
        }
    }

    /// B8: a file is lost behind the registry's back.
    async fn lose_bytes(&self) -> Result {
        let (scene, image) = (&self.scene, &self.goods.lost);
        scene.image("acme/lost", "1", image).await?;
        scene.quiet().await?;
        scene.rob(Some(&image.layers[0].digest));
        scene.image("acme/lost", "1", image).await?;
        scene.quiet().await?;
        scene.rob(None);
        scene.collect().await
    }

    /// M5, M11: dead tags that are asked for.
    async fn revive(&self) -> Result {
        let scene = &self.scene;
        scene.remains.age(Age::Tags).await;
        // What the process remembers of the tag hides its end for a moment.
        scene.head_until_resolved("acme/other/manifests/1").await?;
        scene.image("acme/other", "1", &self.goods.other).await?;
        scene.quiet().await?;
        scene.collect().await
    }

    /// Released, and taken back before it is collected.
    async fn bring_back(&self) -> Result {
        let (scene, goods) = (&self.scene, &self.goods);
        scene.remains.age(Age::Tags).await;
        scene.collect().await?;
        scene.image("acme/app", "1", &goods.app[1]).await?;
        let index = scene.get("acme/multi/manifests/1").await?;
        assert!(index == *goods.index.body(), "another index");
        scene.collect().await
    }
}
