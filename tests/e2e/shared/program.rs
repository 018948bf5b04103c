//! C4, O1, O5: the real program on a database and a bucket, and its commands.

use quayside_tests::eventually::eventually;
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::CANARY;
use quayside_tests::images::Image;
use quayside_tests::program::{Edition, Program};
use serde_json::json;
use tempfile::TempDir;

use super::Ground;

/// A program that is not started yet, and where its secrets and its spool lie.
async fn prepare(ground: &Ground, organizations: &[serde_json::Value]) -> (Program, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let url = home.path().join("database.url");
    std::fs::write(&url, format!("{}\n", ground.url)).unwrap();
    let settings = json!({
        "database": { "postgres": { "urlFile": url } },
        "storage": { "s3": ground.bucket.describe(home.path(), &json!({})) },
        "peer": { "listen": "127.0.0.1:0" },
    });
    let program = Program::prepare(Edition::Plain, organizations, settings).await;
    (program, home)
}

/// O5, O1, C4: every command finds the running server by the same file; nothing that is printed or logged shows the
/// password, and the log says which database and bucket are used.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_beside_a_server() {
    let (ground, upstream) = (Ground::new(), FakeUpstream::start().await);
    let image = Image::random(1, &[1000]);
    upstream.push("app", "1", &image);
    let acme = json!({
        "name": "acme",
        "remoteRegistry": upstream.authority(),
        "visibility": "Internal",
        "tls": { "plainHttp": true },
    });
    let (mut program, home) = prepare(&ground, &[acme]).await;
    assert!(program.run(&["check"]).await.ok().contains("is good"));
    let migrated = program.run(&["migrate"]).await.ok();
    assert!(migrated.contains("quayside at 127.0.0.1"), "{migrated}");
    program.resume().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v2/acme/app/manifests/1", program.address());
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    // Both blobs are filled in the background.
    eventually("both blobs are stored", || async {
        let compared = program.run(&["scrub", "--verify"]).await.ok();
        compared.starts_with("2 stored blobs compared: nothing is wrong")
    })
    .await;
    let mut said = migrated;
    for words in [
        &["gc", "--once"][..],
        &["gc", "--dry-run"],
        &["recount"],
        &["why", "acme/app:1"],
    ] {
        said += &program.run(words).await.ok();
    }
    assert!(home.path().join("admin.token").is_file(), "beside the spool");
    let log = program.log();
    assert_eq!(program.stop().await, Some(0));
    for name in [
        "quayside at 127.0.0.1",
        "s3://blobs/team/cache at http://127.0.0.1",
    ] {
        assert!(log.contains(name), "{name}: {log}");
    }
    assert!(!(log + &said).contains(CANARY));
}

/// C4: a bucket whose database was lost is refused with a sentence and status 1, and accepted by `storage adopt`.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_adopted_on_request() {
    let ground = Ground::new();
    ground.house().start().await.stop().await;
    let id = std::fs::read_to_string(ground.bucket.directory().join("quayside-storage-id")).unwrap();
    let lost = Ground {
        url: ground.another_database("lost"),
        ..ground
    };
    let (mut program, _home) = prepare(&lost, &[]).await;
    let refused = program.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused}");
    for name in ["s3://blobs/team/cache", "lost at 127.0.0.1", "storage adopt"] {
        assert!(refused.stderr.contains(name), "{refused}");
    }
    let adopted = program.run(&["storage", "adopt"]).await.ok();
    for name in [id.trim(), "s3://blobs/team/cache", "lost at 127.0.0.1"] {
        assert!(adopted.contains(name), "{adopted}");
    }
    program.resume().await;
    assert_eq!(program.stop().await, Some(0));
}
