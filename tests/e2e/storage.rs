//! SPEC §3 B8 and §11 O2: files that are lost, disks that are full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Method;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::house::{House, Organization};
use quayside_tests::images::Image;
use serde_json::json;

use crate::blobs::pulled;

/// B8: a file that is gone, shorter or longer than it should be is noticed at opening and fetched again.
#[tokio::test]
async fn a_lost_or_damaged_file_is_fetched_again() {
    let damages: [fn(&Path); 4] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"").unwrap(),
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        },
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes.push(0);
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for (number, damage) in (0..).zip(damages) {
        let (upstream, mut house, layer) = pulled(100_000).await;
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        house.stored(&layer.digest).await;
        // No descriptor of it is open in the new process.
        house.stop().await;
        damage(&house.stored_file(&layer.digest).unwrap());
        house.restart().await;
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        assert_eq!(upstream.count(&Method::GET, &layer.digest), 2, "damage {number}");
        upstream.stopped().await;
        eventually("the blob is stored again", || async {
            house.number("SELECT count(*) FROM fill").await == 0
        })
        .await;
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        // The key of the lost file is garbage now: no key is written twice (G3).
        assert_eq!(
            house.number("SELECT count(*) FROM garbage").await,
            1,
            "damage {number}"
        );
    }
}

/// O2, B8: a stored blob that cannot be read for the moment passes through; its row stays, for the outage ends.
#[tokio::test]
async fn a_blob_that_cannot_be_read_is_not_a_lost_one() {
    let (upstream, mut house, layer) = pulled(100_000).await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    house.stop().await;
    let (file, aside) = (
        house.stored_file(&layer.digest).unwrap(),
        house.directory().join("aside"),
    );
    std::fs::rename(&file, &aside).unwrap();
    // A link that leads to itself: nobody can open it, and nobody can say that there is no file.
    std::os::unix::fs::symlink(&file, &file).unwrap();
    house.restart().await;
    for count in 2..=3 {
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        assert_eq!(upstream.count(&Method::GET, &layer.digest), count);
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    upstream.stopped().await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
}

/// O2: below the least free space nothing is stored, everything is served, one GET per client.
#[tokio::test]
async fn passes_blobs_through_below_the_least_free_space() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1 << 20]);
    upstream.push("alpine", "1", &image);
    let mut house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/storage/filesystem/minFreeBytes", json!(1_u64 << 60))
        .start()
        .await;
    let layer = &image.layers[0];
    house.manifest("alpine", "1").await.assert_body(image.body());
    for count in 1..=3 {
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        assert_eq!(upstream.count(&Method::GET, &layer.digest), count);
    }
    let range = house.blob_range("alpine", &layer.digest, "bytes=1000-1999").await;
    assert_eq!(range.status, 206);
    assert!(range.body == layer.bytes[1000..2000]);
    assert!(house.files().is_empty());
    house
        .restart_with("storage", json!({ "filesystem": { "minFreeBytes": 0 } }))
        .await;
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
}

/// O2, B3: what passes through is verified too: the tail comes only after the digest was right.
#[tokio::test]
async fn verifies_what_it_passes_through() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[1 << 20, 1000]);
    upstream.push("alpine", "1", &image);
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/storage/filesystem/minFreeBytes", json!(1_u64 << 60))
        .start()
        .await;
    house.manifest("alpine", "1").await;
    upstream.script(On::blob(), Fault::Flip(500));
    let answer = house.blob("alpine", &image.layers[0].digest).await;
    assert!(
        !answer.complete && answer.body.len() <= (1 << 20) - (64 << 10),
        "{}",
        answer.summary()
    );
    house
        .blob("alpine", &image.layers[1].digest)
        .await
        .assert_error(502, "DIGEST_INVALID");
}

/// O2: at most eight pass through for one host at a time; the ninth waits 10 s and is sent away with `Retry-After`.
#[tokio::test]
async fn passes_at_most_eight_through_for_one_host() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[200_000]);
    upstream.push("alpine", "1", &image);
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .config("/storage/filesystem/minFreeBytes", json!(1_u64 << 60))
        .start()
        .await;
    let layer = &image.layers[0];
    house.manifest("alpine", "1").await;
    let gate = Gate::closed();
    upstream.script(On::blob(), Fault::Hold(gate.clone()));
    let eight = futures::future::join_all((0..8).map(|_| house.blob("alpine", &layer.digest)));
    let ninth = async {
        gate.reached_by(8).await;
        let refused = house
            .while_time_passes(Duration::from_millis(500), house.blob("alpine", &layer.digest))
            .await;
        gate.open();
        refused
    };
    let (eight, ninth) = tokio::join!(eight, ninth);
    assert_eq!(ninth.status, 503, "{}", ninth.summary());
    assert!(!ninth.header("retry-after").is_empty());
    for answer in eight {
        answer.assert_body(&layer.bytes);
    }
    assert_eq!(upstream.count(&Method::GET, &layer.digest), 8);
}

/// A small file system of its own; needs root, like the container clients of this suite.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(directory: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&directory).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "quayside-test"])
            .arg(&directory)
            .status();
        assert!(status.unwrap().success(), "mounting a tmpfs needs root");
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn grow(&self, options: &str) {
        let remount = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &remount]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// O2: a disk that fills up in the middle of a transfer harms no client, and all is well once there is room.
#[tokio::test]
async fn a_full_disk_passes_through_and_heals() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(directory.path().join("blobs"), "size=2m");
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[6 << 20, 1000]);
    upstream.push("alpine", "1", &image);
    upstream.push("alpine", "2", &image);
    let house = House::builder()
        .organization(Organization::of(&upstream))
        .blobs_in(&disk.0)
        .start()
        .await;
    let layer = &image.layers[0];
    house.manifest("alpine", "1").await.assert_body(image.body());
    let clients = futures::future::join_all((0..3).map(|_| house.blob("alpine", &layer.digest)));
    for answer in clients.await {
        answer.assert_body(&layer.bytes);
    }
    assert!(house.stored_file(&layer.digest).is_none());
    // Metadata goes on, and what still fits is stored.
    house.manifest("alpine", "2").await.assert_body(image.body());
    house
        .blob("alpine", &image.layers[1].digest)
        .await
        .assert_body(&image.layers[1].bytes);
    disk.grow("size=64m");
    house
        .blob("alpine", &layer.digest)
        .await
        .assert_body(&layer.bytes);
    house.stored(&layer.digest).await;
    drop(house);
}
