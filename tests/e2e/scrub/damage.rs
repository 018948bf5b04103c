//! What is found, and how it is repaired.

use std::path::{Path, PathBuf};

use http::Method;
use quayside_tests::house::GRACE;
use quayside_tests::images::random_bytes;

use super::{Scene, scene, scrub};

const SIZES: [usize; 6] = [100_000, 3_000, 200_000, 5_000, 70_000, 10];

/// O5: where nothing is wrong nothing is found, and every blob is looked at; with `--verify` every byte is.
#[tokio::test]
async fn a_sound_storage_is_found_sound() {
    let scene = scene(&SIZES).await;
    let blobs = scene.image.blobs().count();
    let bytes: u64 = scene.image.blobs().map(quayside_tests::images::Blob::size).sum();
    let before = scene.state().await;
    for (method, path, verified) in [
        (Method::GET, "/scrub", 0),
        (Method::POST, "/scrub", 0),
        (Method::GET, "/scrub/verify", bytes),
        (Method::POST, "/scrub/verify", bytes),
    ] {
        let scrubbed = scrub(&scene.house, method, path).await;
        scrubbed.assert_clean();
        assert_eq!(scrubbed.report["blobs"], blobs);
        assert_eq!(scrubbed.report["files"], blobs);
        assert_eq!(scrubbed.report["verifiedBytes"], verified);
    }
    assert_eq!(scene.state().await, before);
}

/// Damages one file each, and gives the kinds of what has to be found without and with `--verify`.
fn damage_blobs(scene: &Scene) {
    let layers = &scene.image.layers;
    std::fs::remove_file(scene.file(&layers[0])).unwrap();
    std::fs::write(scene.file(&layers[1]), b"").unwrap();
    let longer = [&layers[2].bytes[..], b"!"].concat();
    std::fs::write(scene.file(&layers[2]), longer).unwrap();
    // In the place of the old file, which may be open.
    let (file, aside) = (scene.file(&layers[3]), scene.house.directory().join("aside"));
    std::fs::write(&aside, random_bytes(77, layers[3].bytes.len())).unwrap();
    std::fs::rename(aside, file).unwrap();
}

/// O5, B8: bytes that are lost, of another length or (`--verify`) of another digest are found, and nothing is changed;
/// with `--repair` they are filled again by the next pull, at once, and go two graces later.
#[tokio::test]
async fn damaged_blobs_are_found_and_filled_again() {
    let mut scene = scene(&SIZES).await;
    // Every file is open, and every row in memory: none of that may be believed.
    scene.pull().await;
    damage_blobs(&scene);
    let before = scene.state().await;
    let found = scrub(&scene.house, Method::GET, "/scrub").await;
    assert_eq!(found.kinds(), ["lost", "wrongLength", "wrongLength"]);
    let found = scrub(&scene.house, Method::GET, "/scrub/verify").await;
    assert_eq!(
        found.kinds(),
        ["lost", "wrongContent", "wrongLength", "wrongLength"]
    );
    assert_eq!(found.report["remaining"], 4);
    assert_eq!(scene.state().await, before);
    for fault in &found.found {
        let damaged = &scene.image.layers[..4];
        assert!(
            damaged.iter().any(|blob| fault["digest"] == *blob.digest),
            "{fault}"
        );
    }

    scrub(&scene.house, Method::POST, "/scrub/verify")
        .await
        .assert_repaired();

    scene.pull().await;
    for (position, layer) in scene.image.layers.iter().enumerate() {
        let gets = scene.upstream.count(&Method::GET, &layer.digest);
        assert_eq!(gets, if position < 4 { 2 } else { 1 }, "layer {position}");
    }
    scrub(&scene.house, Method::GET, "/scrub/verify")
        .await
        .assert_clean();
    scene.house.advance(GRACE);
    scene.house.collect().await;
    assert_eq!(scene.house.files().len(), scene.image.blobs().count());
    scene.house.audit().await;
}

/// Puts into storage what does not belong there; gives the orphan and what is not ours.
fn litter(scene: &Scene) -> (PathBuf, PathBuf) {
    let file = scene.file(&scene.image.layers[0]);
    let digest = file.ancestors().nth(2).unwrap();
    let orphan = digest.join("0000000000000000/data");
    for directory in [orphan.parent().unwrap(), &digest.join("1111")] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(&orphan, b"whose am I?").unwrap();
    let top = scene.house.blobs_path().join("sha256");
    let foreign = top.join("README.txt");
    std::fs::write(&foreign, b"hello").unwrap();
    (orphan, foreign)
}

/// O5, G3: files without a row, and an empty directory that a crash has left, are found, and with `--repair` handed to
/// the ordinary deleter; what is not ours is only reported.
#[tokio::test]
async fn orphans_are_found_and_collected() {
    let mut scene = scene(&[1000]).await;
    let (orphan, foreign) = litter(&scene);
    let before = scene.state().await;
    let found = scrub(&scene.house, Method::GET, "/scrub").await;
    let kinds = ["emptyDirectory", "leftover", "orphan"];
    assert_eq!(found.kinds(), kinds);
    assert_eq!(scene.state().await, before);

    let repaired = scrub(&scene.house, Method::POST, "/scrub").await;

    assert_eq!(
        (repaired.kinds(), &repaired.report["remaining"]),
        (kinds.to_vec(), &1.into())
    );
    let left = repaired.found.iter().filter(|found| found["repaired"] == false);
    let left: Vec<_> = left.map(|found| found["path"].as_str().unwrap()).collect();
    assert_eq!(left, ["sha256/README.txt"]);
    assert!(orphan.exists(), "somebody may read it still");
    scene.house.advance(GRACE);
    scene.house.collect().await;
    assert!(!orphan.parent().unwrap().exists() && foreign.exists());
    let again = scrub(&scene.house, Method::GET, "/scrub").await;
    assert_eq!(again.kinds(), ["leftover"]);
    std::fs::remove_file(foreign).unwrap();
    scene.house.audit().await;
    scene.pull().await;
}

/// O5, O2: what cannot be read for now is reported and not given up; a volume that is not there ends the comparison.
#[tokio::test]
async fn an_outage_of_storage_is_not_repaired() {
    let scene = scene(&[1000, 2000]).await;
    let file = scene.file(&scene.image.layers[0]);
    let aside = scene.house.directory().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    // A link to itself: nobody can say whether the blob is there.
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let before = scene.state().await;
    let found = scrub(&scene.house, Method::POST, "/scrub").await;
    assert_eq!(found.kinds(), ["leftover", "unreadable"]);
    assert_eq!(found.report["remaining"], 2);
    assert_eq!(scene.state().await, before);
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();

    let top = scene.house.blobs_path().join("sha256");
    std::fs::rename(&top, &aside).unwrap();
    let gone = ended_with_error(&scene).await;
    std::fs::create_dir(&top).unwrap();
    let replaced = ended_with_error(&scene).await;
    std::fs::remove_dir(&top).unwrap();
    std::fs::rename(&aside, &top).unwrap();
    assert!(
        gone.contains("sha256") && replaced.contains("not mounted"),
        "{gone}; {replaced}"
    );
    scrub(&scene.house, Method::GET, "/scrub/verify")
        .await
        .assert_clean();
}

/// The error with which a comparison that may repair ends, having found nothing.
async fn ended_with_error(scene: &Scene) -> String {
    let house = &scene.house;
    let call = house
        .admin_call(Method::POST, "/scrub")
        .bearer(&house.admin_token());
    let answer = call.send().await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!text.contains("\"found\""), "{text}");
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    last["error"].as_str().unwrap().to_owned()
}

/// O5, G3: what a running fill, the garbage list or a fill that was cut off knows of is no orphan.
#[tokio::test]
async fn keys_on_their_way_are_no_orphans() {
    let scene = scene(&[1000]).await;
    let (orphan, foreign) = litter(&scene);
    std::fs::remove_file(foreign).unwrap();
    let key = |path: &Path| {
        path.strip_prefix(scene.house.blobs_path())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let empty = orphan.ancestors().nth(2).unwrap().join("1111/data");
    assert_eq!(
        scrub(&scene.house, Method::GET, "/scrub").await.kinds(),
        ["emptyDirectory", "orphan"]
    );
    let mut intruder = super::intruder(&scene.house).await;
    for (statement, key) in [
        (
            "INSERT INTO garbage (storage_key, size, not_before) VALUES ($1, 0, 9e15)",
            key(&orphan),
        ),
        (
            "INSERT INTO fill (token, digest, size, scope, leased, address, storage_key, expires_at) \
             VALUES ('t', 'd', 1, 0, FALSE, '', $1, 9e15)",
            key(&empty),
        ),
    ] {
        sqlx::query(statement)
            .bind(key)
            .execute(&mut intruder)
            .await
            .unwrap();
    }
    let before = scene.state().await;
    scrub(&scene.house, Method::POST, "/scrub/verify")
        .await
        .assert_clean();
    assert_eq!(scene.state().await, before);
}
