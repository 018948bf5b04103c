//! The real program is killed while it works.

use quayside_tests::crane::Crane;
use quayside_tests::eventually::eventually;
use quayside_tests::fake::{FakeUpstream, Fault, Gate, On};
use quayside_tests::images::archive::random_layer;
use quayside_tests::images::{Image, Index};
use quayside_tests::podman::Podman;
use quayside_tests::program::Program;
use serde_json::json;
use tokio::task::JoinSet;

/// One image for this machine, with layers large enough to be killed in.
fn image(seed: u64) -> Index {
    let image = Image::builder()
        .archive(random_layer(seed, 3_000_000))
        .archive(random_layer(seed + 1, 200_000));
    Index::builder().image(image.build(), "amd64").build()
}

/// How much of `index` is stored: files in the directory of blobs that bear one of its digests and are whole.
fn stored(program: &Program, index: &Index) -> usize {
    let files = files_below(&program.blobs());
    let blobs = index.images.iter().flat_map(Image::blobs);
    let whole = |digest: &str, size: u64| {
        let hex = digest.trim_start_matches("sha256:");
        files
            .iter()
            .any(|(path, length)| path.contains(hex) && *length == size)
    };
    blobs.filter(|blob| whole(&blob.digest, blob.size())).count()
}

fn files_below(directory: &std::path::Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        match entry.metadata() {
            Ok(data) if data.is_dir() => found.extend(files_below(&entry.path())),
            Ok(data) => found.push((entry.path().to_string_lossy().into_owned(), data.len())),
            // Renamed or removed a moment ago.
            Err(_) => {}
        }
    }
    found
}

/// B6, G3: `kill -9` under load loses no wanted mark; after the restart the image is filled without being asked
/// for, and pulled from a cache whose upstream is gone.
#[tokio::test(flavor = "multi_thread")]
async fn fills_what_was_wanted_after_being_killed_under_load() {
    let upstream = FakeUpstream::start().await;
    let (wanted, busy) = (image(1), image(10));
    upstream.push_index("wanted", "1", &wanted);
    upstream.push_index("busy", "1", &busy);
    // Every blob of the wanted image hangs in the middle of its transfer.
    let gate = Gate::closed();
    upstream.script(On::blob().of("wanted"), Fault::HoldAfter(1000, gate.clone()));
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "tls": { "plainHttp": true },
    });
    let mut program = Program::start(&[acme]).await;
    let name = |repository: &str| format!("{}/acme/{repository}:1", program.address());
    let (wanted_name, busy_name) = (name("wanted"), name("busy"));

    // The load: pulls that do not end while the program lives, and others that run through.
    let mut load = JoinSet::new();
    for _ in 0..2 {
        let (stuck, running) = (wanted_name.clone(), busy_name.clone());
        load.spawn(async move { Crane::new().pull(&stuck).await.success });
        load.spawn(async move { Crane::new().validate(&running).await.success });
    }
    gate.reached().await;
    // crane asks for one layer after the other. Whoever asks for the second has read the marks (B6).
    for layer in &wanted.images[0].layers {
        upstream
            .wait_for(1, |request| request.path.ends_with(&layer.digest))
            .await;
    }
    program.kill();
    load.abort_all();
    while load.join_next().await.is_some() {}

    gate.open();
    program.resume().await;
    let count = wanted.images[0].blobs().count();
    eventually("the wanted blobs are filled", || {
        std::future::ready(stored(&program, &wanted) == count)
    })
    .await;
    upstream.stopped().await;
    let podman = Podman::new();
    podman.pull(&wanted_name).await.ok();
    assert!(
        podman
            .digests(&wanted_name)
            .await
            .contains(&wanted.digest().to_owned())
    );
}

/// G3, B3: whatever `kill -9` cut short is never served: the next pull is right, for every byte.
#[tokio::test(flavor = "multi_thread")]
async fn serves_right_bytes_after_being_killed_in_the_middle_of_a_fill() {
    let upstream = FakeUpstream::start().await;
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "backgroundFill": false,
        "tls": { "plainHttp": true },
    });
    let mut program = Program::start(&[acme]).await;
    // How much of the first layer has arrived: nothing, some, all that goes to clients, nearly all.
    for (repository, arrived) in [("a", 0), ("b", 500_000), ("c", 2_940_000), ("d", 3_000_000)] {
        let index = image(20 + u64::from(repository.as_bytes()[0]) * 2);
        upstream.push_index(repository, "1", &index);
        let gate = Gate::closed();
        let layer = &index.images[0].layers[0];
        upstream.script(
            On::blob().at(&layer.digest).once(),
            Fault::HoldAfter(arrived, gate.clone()),
        );
        let name = format!("{}/acme/{repository}:1", program.address());
        let pull = tokio::spawn({
            let name = name.clone();
            async move { Crane::new().pull(&name).await }
        });
        gate.reached().await;
        program.kill();
        pull.await.unwrap().failed();
        program.resume().await;
        let printed = Crane::new().validate(&name).await.ok();
        assert!(printed.starts_with("PASS"), "{printed}");
    }
    // What the earlier lives left in the spool is gone with them.
    let spool = program.blobs().join("spool");
    eventually("the spool is empty", || {
        std::future::ready(files_below(&spool).is_empty())
    })
    .await;
}
