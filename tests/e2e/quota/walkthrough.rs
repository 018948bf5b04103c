//! The walkthrough of Quay's documentation: a quota of 150 MB, three versions of one image, podman.

use std::path::Path;

use quayside_tests::eventually::holds_within;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Blob, Image};
use quayside_tests::podman::Podman;
use quayside_tests::program::Program;
use serde_json::{Value, json};
use std::time::Duration;

use super::weight;

/// The versions in the order in which they are pulled, and what each weighs of a quota of 150: two fit, three do not.
const VERSIONS: [(&str, usize); 3] = [("3.7.9", 70), ("3.6.2", 60), ("3.5.1", 45)];
const QUOTA: usize = 150;

/// How many bytes stand for one: in the long form those of the documentation.
fn unit() -> usize {
    if std::env::var_os("QUAYSIDE_LONG").is_some() {
        1_000_000
    } else {
        100_000
    }
}

/// Bytes in all files of stored blobs.
fn on_disk(blobs: &Path) -> u64 {
    let mut sum = 0;
    let mut directories = vec![blobs.join("sha256")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => directories.push(entry.path()),
                Ok(data) => sum += data.len(),
                // Deleted a moment ago.
                Err(_) => {}
            }
        }
    }
    sum
}

async fn tags(program: &Program) -> Value {
    let url = format!(
        "http://{}/v2/cache-quayio/projectquay/quay/tags/list",
        program.address()
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).send().await.unwrap().bytes().await.unwrap();
    serde_json::from_slice::<Value>(&answer).unwrap()["tags"].clone()
}

/// Q1, Q5, Q6, O1: of three versions the first to be pulled is gone from the list of tags, the other two are there, the log
/// says what went for what, and the disk follows when what was pruned is collected.
#[tokio::test(flavor = "multi_thread")]
async fn three_versions_with_room_for_two() {
    let upstream = FakeUpstream::start().await;
    let images = VERSIONS.map(|(tag, size)| {
        let layer = random_layer(size as u64, size * unit());
        let image = Image::builder().archive(layer).label("version", tag).build();
        upstream.push("projectquay/quay", tag, &image);
        image
    });
    let organization = json!({
        "name": "cache-quayio",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "storageQuotaBytes": QUOTA * unit(),
        "tls": { "plainHttp": true },
    });
    let settings = json!({
        "FEATURE_QUOTA_MANAGEMENT": true,
        "gc": { "intervalSeconds": 1, "graceSeconds": 2 },
    });
    let program = Program::start_with(&[organization], settings).await;
    let podman = Podman::new();
    let pull = async |tag: &str| {
        let image = format!("{}/cache-quayio/projectquay/quay:{tag}", program.address());
        podman.pull(&image).await.ok();
    };
    let [first, second, third] = &images;
    let bytes = |images: &[&Image]| {
        let blobs = images.iter().flat_map(|image| image.blobs());
        blobs.map(Blob::size).sum::<u64>()
    };
    let disk = async |expected: u64| {
        let there = || std::future::ready(on_disk(&program.blobs()) == expected);
        assert!(
            holds_within(Duration::from_mins(1), there).await,
            "{} bytes on the disk instead of {expected}",
            on_disk(&program.blobs())
        );
    };

    pull("3.7.9").await;
    pull("3.6.2").await;
    assert_eq!(tags(&program).await, json!(["3.6.2", "3.7.9"]));
    disk(bytes(&[first, second])).await;

    pull("3.5.1").await;
    assert_eq!(tags(&program).await, json!(["3.5.1", "3.6.2"]));
    let log = program.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pruned: Vec<Value> = lines
        .filter(|line| line["message"].as_str().unwrap_or("").starts_with("pruned "))
        .collect();
    let [pruned] = pruned.as_slice() else {
        panic!("not one line: {pruned:?}");
    };
    let message = pruned["message"].as_str().unwrap();
    assert!(
        message.starts_with("pruned projectquay/quay:3.7.9, last used "),
        "{message}"
    );
    assert!(
        message.contains(" ago, for projectquay/quay:3.5.1: needed 4"),
        "{message}"
    );
    assert_eq!(pruned["organization"], "cache-quayio");
    assert_eq!(pruned["freed_bytes"], weight(first));
    assert_eq!(pruned["needed_bytes"], weight(third));

    disk(bytes(&[second, third])).await;
    assert!(bytes(&[second, third]) < bytes(&[first, second]));
}
