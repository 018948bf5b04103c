//! SPEC O5, B8: `scrub` compares storage and database beside a running server, and repairs both.

mod beside;
mod damage;
mod program;

use http::Method;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{House, Organization};
use quayside_tests::images::{Blob, Image};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Executor as _};

/// What the server said of a comparison.
#[derive(Debug)]
pub(crate) struct Scrubbed {
    pub(crate) found: Vec<Value>,
    pub(crate) report: Value,
}

impl Scrubbed {
    /// The kinds of what was found, in their alphabetical order.
    pub(crate) fn kinds(&self) -> Vec<&str> {
        let kinds = self.found.iter().map(|found| found["kind"].as_str().unwrap());
        let mut kinds: Vec<_> = kinds.collect();
        kinds.sort_unstable();
        kinds
    }

    /// Panics unless everything that was found was repaired.
    #[track_caller]
    pub(crate) fn assert_repaired(&self) {
        assert!(
            self.found.iter().all(|found| found["repaired"] == true),
            "{self:#?}"
        );
        assert_eq!(self.report["remaining"], 0);
    }

    /// Panics unless nothing was found.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert!(self.found.is_empty(), "{self:#?}");
        assert_eq!(self.report["found"], 0);
    }
}

/// GET looks, POST repairs; `path` is `/scrub` or `/scrub/verify`.
pub(crate) async fn scrub(house: &House, method: Method, path: &str) -> Scrubbed {
    let call = house.admin_call(method, path).bearer(&house.admin_token());
    let answer = call.send().await;
    assert_eq!(answer.status, 200, "{}", answer.summary());
    let lines = answer
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert!(lines[0]["progress"].is_object(), "{lines:?}");
    let report = lines.last().unwrap()["report"].clone();
    assert!(report.is_object(), "{lines:?}");
    let found = lines
        .iter()
        .map(|line| line["found"].clone())
        .filter(|found| !found.is_null());
    Scrubbed {
        found: found.collect(),
        report,
    }
}

/// `alpine:1` upstream, of which the house has stored every blob.
struct Scene {
    upstream: FakeUpstream,
    image: Image,
    house: House,
}

async fn scene(sizes: &[usize]) -> Scene {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, sizes);
    upstream.push("alpine", "1", &image);
    let house = House::with(Organization::of(&upstream)).await;
    let scene = Scene {
        upstream,
        image,
        house,
    };
    scene.pull().await;
    scene
}

impl Scene {
    /// Pulls everything; all of it is right, and stored afterwards.
    async fn pull(&self) {
        let Self { image, house, .. } = self;
        house.manifest("alpine", "1").await.assert_body(image.body());
        for blob in image.blobs() {
            house.blob("alpine", &blob.digest).await.assert_body(&blob.bytes);
            house.stored(&blob.digest).await;
        }
    }

    fn file(&self, blob: &Blob) -> std::path::PathBuf {
        self.house.stored_file(&blob.digest).unwrap()
    }

    /// What database and storage consist of.
    async fn state(&self) -> (Vec<std::path::PathBuf>, i64, i64) {
        let house = &self.house;
        let mut files = house.files();
        files.sort();
        let stored = "SELECT count(*) FROM blob WHERE storage_key IS NOT NULL";
        let garbage = "SELECT count(*) FROM garbage";
        (files, house.number(stored).await, house.number(garbage).await)
    }
}

/// Another hand on the database of a house.
async fn intruder(house: &House) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(house.database_path());
    options.connect().await.unwrap()
}

/// Holds the database's one writer until it is given back.
async fn hold_the_writer(house: &House) -> SqliteConnection {
    let mut intruder = intruder(house).await;
    intruder.execute("BEGIN IMMEDIATE").await.unwrap();
    intruder
}
