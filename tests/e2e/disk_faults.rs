//! SPEC O2, B8: a disk that is full at any write, files that are exchanged behind our back, directories without
//! permission. Blobs pass through, metadata goes on or says when to come back, and all of it heals by itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use quayside_tests::crane::Crane;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Answer, audit};
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Blob, Image, random_bytes, sha256};
use quayside_tests::program::{Edition, Failpoint, Launch, Program};
use quayside_tests::torture::is_long;
use serde_json::{Value, json};

use crate::storage::SmallDisk;

fn acme(upstream: &FakeUpstream) -> Value {
    json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "tls": { "plainHttp": true },
    })
}

/// Someone who pulls from a program.
struct Client(reqwest::Client);

impl Client {
    fn new() -> Self {
        Self(reqwest::Client::builder().no_proxy().build().unwrap())
    }

    async fn get(&self, program: &Program, path: &str) -> Answer {
        let url = format!("http://{}/v2/acme/app/{path}", program.address());
        Answer::read(self.0.get(url).send().await.unwrap()).await
    }

    /// Pulls an image. Whatever happens to the disk, the manifest is right or somebody is told when to come back, and
    /// with the manifest every blob is to be had.
    async fn pull(&self, program: &Program, tag: &str, image: &Image) -> bool {
        let manifest = self.get(program, &format!("manifests/{tag}")).await;
        if manifest.status != 200 {
            manifest.assert_error(503, "UNAVAILABLE");
            assert_eq!(manifest.header("retry-after"), "5");
            return false;
        }
        manifest.assert_body(image.body());
        for blob in image.blobs() {
            let answer = self.get(program, &format!("blobs/{}", blob.digest)).await;
            answer.assert_body(&blob.bytes);
        }
        true
    }
}

/// The file of a blob of a program, if there is one.
fn file_of(blobs: &Path, blob: &Blob) -> Option<PathBuf> {
    let hex = &blob.digest["sha256:".len()..];
    let tokens = std::fs::read_dir(blobs.join("sha256").join(&hex[..2]).join(hex)).ok()?;
    let mut files = tokens.filter_map(|entry| Some(entry.ok()?.path().join("data")));
    files.find(|file| file.is_file())
}

/// How many blobs are stored, as `scrub` says.
async fn count(program: &Program) -> usize {
    let compared = program.run(&["scrub"]).await.stdout;
    let number = compared.lines().last().and_then(|line| line.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Returns when so many blobs are stored: clients have their bytes before that.
async fn stored(program: &Program, wanted: usize) {
    eventually("the blobs are stored", || async {
        count(program).await == wanted
    })
    .await;
}

/// Fills a disk up to the last `free` bytes.
fn leave(disk: &Path, free: u64) -> PathBuf {
    use std::io::Write as _;

    let path = disk.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(free)).unwrap();
    path
}

/// O2: database and blobs on one disk that becomes full earlier and later in the course of a pull: at the manifest, at
/// the first byte of a blob, in the middle of it, at its commit. Clients get right bytes or are told to come back;
/// once there is room the same image is pulled and stored, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_any_write_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(directory.path().join("disk"), "size=40m");
    let database = disk.path().join("quayside.db");
    let blobs = disk.path().join("blobs");
    let settings = json!({
        "database": { "sqlite": { "path": database } },
        "storage": { "filesystem": { "path": blobs, "minFreeBytes": 0 } },
    });
    let upstream = FakeUpstream::start().await;
    let mut program = Program::start_with(&[acme(&upstream)], settings).await;
    let client = Client::new();
    let (step, end) = if is_long() {
        (8_192, 600_000)
    } else {
        (49_152, 500_000)
    };
    let mut unstored = 0;
    for (number, free) in (0_u64..).zip((0..end).step_by(step)) {
        let (image, tag) = (Image::random(number, &[300_000, 2_000]), number.to_string());
        upstream.push("app", &tag, &image);
        let ballast = leave(disk.path(), free);
        for _ in 0..2 {
            client.pull(&program, &tag, &image).await;
        }
        unstored += usize::from(file_of(&blobs, &image.layers[0]).is_none());
        std::fs::remove_file(ballast).unwrap();
        eventually("the image is pulled and stored", || async {
            client.pull(&program, &tag, &image).await
                && image.blobs().all(|blob| file_of(&blobs, blob).is_some())
        })
        .await;
        // Room for the next one.
        upstream.untag("app", &tag);
    }
    assert!(unstored > 0, "there was always room");
    program.run(&["scrub", "--verify"]).await.ok();
    assert_eq!(program.stop().await, Some(0));
    audit(&database, &blobs).await;
    drop(disk);
}

/// B8, O5: files that were exchanged for others of the same length are served as what they claim to be, and no client
/// that checks takes them; `scrub --verify` finds them, `--repair` makes them right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanged_files_fool_no_client_that_checks() {
    let upstream = FakeUpstream::start().await;
    let image = Image::builder()
        .archive(random_layer(1, 150_000))
        .archive(random_layer(2, 150_000))
        .build();
    upstream.push("app", "1", &image);
    let mut program = Program::start(&[acme(&upstream)]).await;
    let (client, blobs) = (Client::new(), program.blobs());
    let name = format!("{}/acme/app:1", program.address());
    Crane::new().pull(&name).await.ok();
    stored(&program, 3).await;
    assert_eq!(program.stop().await, Some(0));
    for layer in &image.layers {
        let others = random_bytes(layer.size(), layer.bytes.len());
        std::fs::write(file_of(&blobs, layer).unwrap(), others).unwrap();
    }
    program.resume().await;

    for layer in &image.layers {
        let answer = client.get(&program, &format!("blobs/{}", layer.digest)).await;
        assert_eq!(answer.header("docker-content-digest"), layer.digest);
        assert_ne!(sha256(&answer.body), layer.digest, "nothing was exchanged");
    }
    let refused = Crane::new().pull(&name).await.failed();
    assert!(refused.contains("sha256"), "{refused}");
    program.run(&["scrub"]).await.ok();
    let found = program.run(&["scrub", "--verify"]).await;
    assert_eq!(
        (found.code, found.stdout.matches("has the bytes of").count()),
        (Some(1), 2),
        "{found}"
    );
    program.run(&["scrub", "--verify", "--repair"]).await.ok();
    Crane::new().pull(&name).await.ok();
}

/// Who owns nothing on any machine.
const NOBODY: u32 = 65_534;

/// A registry that runs as somebody whom permissions hold back, and has not started yet.
async fn unprivileged(upstream: &FakeUpstream) -> Program {
    let mut program = Program::prepare(Edition::Plain, &[acme(upstream)], json!({})).await;
    program.run_as(NOBODY);
    program
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// O2: a registry that may not use its directory does not start, and says which one, and why.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_permission_says_where() {
    let upstream = FakeUpstream::start().await;
    let mut program = unprivileged(&upstream).await;
    let blobs = program.blobs();
    let sha256 = blobs.join("sha256");
    std::fs::create_dir_all(&sha256).unwrap();
    // At first all of it belongs to root, then only what lies inside.
    for (owner, place, mode) in [(0, &blobs, 0o000), (0, &blobs, 0o555), (NOBODY, &sha256, 0o000)] {
        std::os::unix::fs::chown(&blobs, Some(owner), Some(owner)).unwrap();
        allow(&blobs, 0o755);
        allow(place, mode);
        let launch = program.launch(Failpoint::Nowhere).await;
        assert_eq!(launch, Launch::Died, "{} with {mode:o}", place.display());
        let log = program.log();
        assert_eq!(program.ended().await, Some(1), "{log}");
        assert!(
            log.contains(blobs.to_str().unwrap()) && log.contains("Permission denied"),
            "{log}"
        );
    }
}

/// O2: directories that lose their permissions under a running registry: stored blobs and new ones pass through,
/// manifests go on, nothing is given up, and all is well when the permissions are back.
#[tokio::test(flavor = "multi_thread")]
async fn directories_without_permission_pass_through_and_heal() {
    let upstream = FakeUpstream::start().await;
    let mut program = unprivileged(&upstream).await;
    program.resume().await;
    let client = Client::new();
    let blobs = program.blobs();
    let images: Vec<_> = (0..4).map(|seed| Image::random(seed, &[100_000])).collect();
    for (number, image) in images.iter().enumerate() {
        upstream.push("app", &number.to_string(), image);
    }
    assert!(client.pull(&program, "0", &images[0]).await);
    stored(&program, 2).await;
    for (number, closed) in [vec!["sha256"], vec!["spool"], vec!["sha256", "spool"]]
        .iter()
        .enumerate()
    {
        let seen = program.log().len();
        for name in closed {
            allow(&blobs.join(name), 0o000);
        }
        let (tag, image) = ((number + 1).to_string(), &images[number + 1]);
        for _ in 0..2 {
            assert!(client.pull(&program, &tag, image).await, "{closed:?}");
            assert!(client.pull(&program, "0", &images[0]).await, "{closed:?}");
        }
        eventually("storage is found closed", || {
            let log = program.log();
            let told = [
                "verified blob not kept",
                "storage takes no bytes, passing through",
            ];
            std::future::ready(told.iter().any(|told| log[seen..].contains(told)))
        })
        .await;
        if closed.contains(&"sha256") {
            let scrubbed = program.run(&["scrub", "--repair"]).await;
            assert_eq!(scrubbed.code, Some(1), "{scrubbed}");
        }
        for name in closed {
            allow(&blobs.join(name), 0o700);
        }
        eventually("the image is stored", || async {
            client.pull(&program, &tag, image).await && count(&program).await == 2 * (number + 2)
        })
        .await;
    }
    program.run(&["scrub", "--verify"]).await.ok();
    upstream.stopped().await;
    assert!(client.pull(&program, "0", &images[0]).await);
    assert_eq!(program.stop().await, Some(0));
    audit(&program.database(), &blobs).await;
}
