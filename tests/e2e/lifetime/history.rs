//! Random sequences of everything that changes what is stored: whatever happened, what is counted is right, database
//! and disk agree, every byte that was served is right, and in the end nothing is left.

use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image, Index};
use serde_json::json;

const STEPS: usize = 120;
const ORGANIZATIONS: [&str; 2] = ["acme", "other"];
const REPOSITORIES: [&str; 2] = ["app", "base"];
const TAGS: [&str; 2] = ["1", "2"];
/// In seconds.
const GRACE: u64 = 10;

/// Numbers that depend on a seed alone.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % sides
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.throw(things.len())]
    }
}

/// Upstream content: everything in both repositories, with layers in common.
struct Content {
    manifests: Vec<Blob>,
    blobs: Vec<Blob>,
}

fn content(upstream: &FakeUpstream) -> Content {
    let shared = Blob::random(1, 5000);
    let image = |seed| {
        let own = Blob::random(seed, 800);
        Image::builder()
            .layer(shared.clone())
            .layer(own)
            .label("seed", &seed.to_string())
            .build()
    };
    let (one, two) = (image(10), image(11));
    let wrong = Image::builder().layer_declared(shared.clone(), 7000).build();
    let index = Index::builder()
        .image(one.clone(), "amd64")
        .image(two.clone(), "arm64")
        .build();
    let referrer = Image::builder()
        .subject(&index.manifest)
        .layer(Blob::random(12, 300))
        .build();
    let images = [one, two, wrong, referrer];
    for repository in REPOSITORIES {
        upstream.push_index_untagged(repository, &index);
        for image in &images {
            upstream.push_untagged(repository, image);
        }
    }
    let mut manifests: Vec<Blob> = images.iter().map(|image| image.manifest.clone()).collect();
    manifests.push(index.manifest);
    let blobs = images.iter().flat_map(Image::blobs).cloned().collect();
    Content { manifests, blobs }
}

/// One history as it goes on.
struct History {
    upstream: FakeUpstream,
    content: Content,
    house: House,
    dice: Dice,
    present: [bool; 2],
    limits: [(u64, u64); 2],
}

impl History {
    async fn begin(seed: u64) -> Self {
        let upstream = FakeUpstream::start().await;
        let content = content(&upstream);
        let house = House::builder()
            .config("/gc/graceSeconds", json!(GRACE))
            .config("/gc/intervalSeconds", json!(5))
            .organization(Organization::of(&upstream))
            .organization(Organization::of(&upstream).named("other"))
            .organization(Organization::of(&upstream).named("bystander"))
            .start()
            .await;
        let mut history = Self {
            upstream,
            content,
            house,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            present: [true; 2],
            limits: [(60, 30); 2],
        };
        history.move_tags();
        history.reload().await;
        history
    }

    async fn step(&mut self) {
        match self.dice.throw(20) {
            0..=4 => self.pull_tag("GET").await,
            5 => self.pull_tag("HEAD").await,
            6..=8 => self.pull_digest().await,
            9..=11 => self.pull_blob().await,
            12 => self.move_tags(),
            13 | 14 => self.house.advance_seconds([1, 7, 12, 40][self.dice.throw(4)]),
            15 => self.house.advance_seconds([61, 100, 3700][self.dice.throw(3)]),
            16 | 17 => {
                self.house.collect().await;
            }
            18 => self.change().await,
            _ => {
                self.house.advance_seconds(GRACE);
                self.house.collect().await;
            }
        }
    }

    fn path(&mut self) -> String {
        let organization = *self.dice.one_of(&ORGANIZATIONS);
        let repository = *self.dice.one_of(&REPOSITORIES);
        format!("/v2/{organization}/{repository}")
    }

    /// Whatever is served is what some manifest upstream is, byte for byte.
    async fn pull_tag(&mut self, method: &str) {
        let path = format!("{}/manifests/{}", self.path(), self.dice.one_of(&TAGS));
        let method = method.parse().unwrap();
        let answer = self.house.call(method, &path).send().await;
        if answer.status == 200 && !answer.body.is_empty() {
            let known = self.content.manifests.iter();
            assert!(
                known
                    .map(|manifest| &manifest.bytes)
                    .any(|bytes| *bytes == answer.body)
            );
        }
        assert!([200, 401, 404].contains(&answer.status), "{}", answer.summary());
    }

    async fn pull_digest(&mut self) {
        let manifest = self.dice.throw(self.content.manifests.len());
        let manifest = self.content.manifests[manifest].clone();
        let path = format!("{}/manifests/{}", self.path(), manifest.digest);
        let answer = self.house.get(&path).await;
        if answer.status == 200 {
            answer.assert_body(&manifest.bytes);
        }
        assert!([200, 401].contains(&answer.status), "{}", answer.summary());
    }

    async fn pull_blob(&mut self) {
        let blob = self.dice.throw(self.content.blobs.len());
        let blob = self.content.blobs[blob].clone();
        let path = format!("{}/blobs/{}", self.path(), blob.digest);
        let answer = self.house.get(&path).await;
        if answer.status == 200 && answer.complete {
            answer.assert_body(&blob.bytes);
        }
        // 502: a manifest that declares another size than the blob has (B10).
        assert!(
            [200, 401, 404, 502].contains(&answer.status),
            "{}",
            answer.summary()
        );
    }

    fn move_tags(&mut self) {
        for repository in REPOSITORIES {
            for tag in TAGS {
                let manifest = self.dice.one_of(&self.content.manifests);
                self.upstream.tag(repository, tag, &manifest.digest);
            }
        }
    }

    /// An organization goes, comes back, or gets another TTL or Window.
    async fn change(&mut self) {
        let number = self.dice.throw(2);
        if self.dice.throw(3) == 0 {
            self.present[number] = !self.present[number];
        } else {
            let ttl = *self.dice.one_of(&[0, 5, 60, 300]);
            let window = *self.dice.one_of(&[0, 30, 1000]);
            self.limits[number] = (ttl, window);
        }
        self.reload().await;
    }

    async fn reload(&self) {
        let mut organizations = vec![Organization::of(&self.upstream).named("bystander")];
        for (number, name) in ORGANIZATIONS.into_iter().enumerate() {
            let (ttl, window) = self.limits[number];
            if self.present[number] {
                organizations.push(
                    Organization::of(&self.upstream)
                        .named(name)
                        .ttl(ttl)
                        .window(window),
                );
            }
        }
        self.house.reload(&organizations).await;
    }

    /// Everything dies, and leaves nothing.
    async fn end(mut self) {
        self.house.audit().await;
        self.limits = [(60, 0); 2];
        self.reload().await;
        // The longest that anything has left to live is the Window that a removed organization has.
        self.house.advance_seconds(3700);
        self.house.collect_fully().await;
        super::assert_nothing_is_left(&self.house).await;
        self.house.audit().await;
    }
}

async fn live(seed: u64) {
    let mut history = History::begin(seed).await;
    for _ in 0..STEPS {
        history.step().await;
    }
    history.end().await;
}

/// Q2, G1, G3, G5, E2: one random history of pulls, moves, expiries, removals and collections.
#[tokio::test]
async fn a_random_history_leaves_everything_right() {
    for seed in 1..=3 {
        live(seed).await;
    }
}

/// The same, several at once and with other dice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_beside_each_other_leave_everything_right() {
    futures::future::join_all((4..=6).map(live)).await;
}
