//! The command, beside the real program.

use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::images::Image;
use quayside_tests::program::Program;
use serde_json::{Value, json};

async fn running(upstream: &FakeUpstream, image: &Image) -> Program {
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "tls": { "plainHttp": true },
    });
    let program = Program::start(&[acme]).await;
    pull(&program, image).await;
    program
}

async fn pull(program: &Program, image: &Image) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: String| {
        let url = format!("http://{}/v2/acme/app/{path}", program.address());
        client.get(url).send().await.unwrap().bytes().await.unwrap()
    };
    assert!(get("manifests/1".to_owned()).await == image.body());
    for blob in image.blobs() {
        assert!(get(format!("blobs/{}", blob.digest)).await == blob.bytes);
    }
    // Clients have their bytes before storage has them.
    eventually("both blobs are stored", || async {
        let compared = program.run(&["scrub"]).await;
        compared.stdout.starts_with("2 stored blobs compared")
    })
    .await;
}

/// The file of the image's only layer.
fn layer_file(program: &Program, image: &Image) -> std::path::PathBuf {
    let hex = &image.layers[0].digest["sha256:".len()..];
    let directory = program.blobs().join("sha256").join(&hex[..2]).join(hex);
    let tokens = std::fs::read_dir(directory).unwrap();
    let mut files = tokens.map(|entry| entry.unwrap().path().join("data"));
    files.next().unwrap()
}

/// O5: what `scrub` prints, in text and in its documented shape, and the status with which it ends.
#[tokio::test(flavor = "multi_thread")]
async fn scrub_says_what_is_wrong_and_repairs_it() {
    let upstream = FakeUpstream::start().await;
    let image = Image::random(1, &[200_000]);
    upstream.push("app", "1", &image);
    let program = running(&upstream, &image).await;
    let clean = program.run(&["scrub", "--verify"]).await.ok();
    assert_eq!(clean, "2 stored blobs compared: nothing is wrong");

    let wrong = vec![7; 200_000];
    std::fs::write(layer_file(&program, &image), &wrong).unwrap();
    program.run(&["scrub", "--repair"]).await.ok();
    let found = program.run(&["scrub", "--verify"]).await;
    assert_eq!(found.code, Some(1), "{found}");
    let layer = &image.layers[0].digest;
    assert!(
        found
            .stdout
            .starts_with(&format!("{layer} has the bytes of sha256:")),
        "{found}"
    );
    assert!(
        found
            .stdout
            .ends_with("1 found, none repaired; `--repair` does what can be done\n"),
        "{found}"
    );

    let words = ["scrub", "--verify", "--repair", "--output", "json"];
    let repaired: Value = serde_json::from_str(&program.run(&words).await.ok()).unwrap();
    let key = layer_file(&program, &image);
    let expected = json!({
        "report": {
            "blobs": 2, "files": 2, "verifiedBytes": 200_000 + image.config.size(), "found": 1, "remaining": 0,
        },
        "found": [{
            "kind": "wrongContent",
            "digest": layer,
            "key": key.strip_prefix(program.blobs()).unwrap(),
            "actualDigest": quayside_tests::images::sha256(&wrong),
            "repaired": true,
        }],
    });
    assert_eq!(repaired, expected);
    pull(&program, &image).await;
    program.run(&["scrub", "--verify"]).await.ok();
}

/// O5: every kind and every field that is promised is documented.
#[test]
fn what_scrub_finds_is_documented() {
    let documented = include_str!("../../../docs/tools.md");
    let kinds = [
        "orphan",
        "emptyDirectory",
        "leftover",
        "lost",
        "wrongLength",
        "wrongContent",
        "unreadable",
        "badKey",
    ];
    let fields = [
        "blobs",
        "files",
        "verifiedBytes",
        "found",
        "remaining",
        "repaired",
    ];
    for name in kinds.iter().chain(&fields) {
        assert!(
            documented.contains(&format!("`{name}`")),
            "{name} is not documented"
        );
    }
}

/// O5: 3 for a server that is not there, 2 for what cannot be typed.
#[tokio::test(flavor = "multi_thread")]
async fn scrub_ends_with_the_status_of_its_failure() {
    let mut program = Program::start(&[]).await;
    let mistyped = program.run(&["scrub", "--verify", "--dry-run"]).await;
    assert_eq!(mistyped.code, Some(2), "{mistyped}");
    let top = program.blobs().join("sha256");
    std::fs::remove_dir(&top).unwrap();
    let lost = program.run(&["scrub"]).await;
    assert_eq!(lost.code, Some(1), "{lost}");
    assert!(lost.stderr.contains("the server gave up: read storage"), "{lost}");
    assert_eq!(program.stop().await, Some(0));
    let away = program.run(&["scrub", "--verify", "--repair"]).await;
    assert_eq!(away.code, Some(3), "{away}");
}
