//! C4: which database belongs to which bucket, told at the start.

use http::Method;
use quayside_test_servers::versitygw::Versions;
use quayside_tests::house::{Bucket, CANARY, House, HouseBuilder};

use super::Ground;

/// The id of the storage that the database belongs to.
async fn known(house: &House) -> String {
    house
        .text("SELECT convert_from(value, 'UTF8') FROM setting WHERE name = 'storage-id'")
        .await
}

/// The sentence of a refusal, in which everything of `names` stands, and no password.
async fn refused(builder: HouseBuilder, names: &[&str]) -> String {
    let started = builder.try_start().await;
    let sentence = format!("{:#}", started.err().expect("the registry is refused"));
    for name in names {
        assert!(sentence.contains(name), "{name} is not named: {sentence}");
    }
    assert!(!sentence.contains(CANARY), "{sentence}");
    sentence
}

/// C4, A1: replicas that start at once on nothing agree on the id of the storage and on the key of tokens.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_agree_on_everything() {
    let ground = Ground::new();
    for round in 0..4 {
        let name = format!("round{round}");
        let (url, bucket) = (ground.another_database(&name), ground.another_bucket(&name));
        let house = || ground.house().database(&url).blobs_in_bucket(&bucket).start();
        let (first, second, third) = tokio::join!(house(), house(), house());
        let id = std::fs::read_to_string(bucket.directory().join("quayside-storage-id")).unwrap();
        assert_eq!(known(&first).await, id.trim());
        let path = "/v2/auth?service=registry.test";
        let answer = first.call(Method::GET, path).user("alice").send().await;
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        for house in [&second, &third] {
            let call = house.call(Method::GET, "/v2/").bearer(&token);
            assert_eq!(call.send().await.status, 200);
        }
    }
}

/// C4: another installation's bucket, an empty one, one whose database was lost, and one that is not there: each
/// refused with a sentence that names bucket and database. Nothing is changed, and the right one is accepted.
#[tokio::test]
async fn a_bucket_that_does_not_belong_is_refused() {
    let ground = Ground::new();
    let theirs = ground.another_bucket("theirs");
    let other = ground.another_database("other");
    let endpoint = ground.door.url();
    let mut house = ground.house().start().await;
    house.stop().await;
    let start = |url: &str, bucket: &Bucket| ground.house().database(url).blobs_in_bucket(bucket);
    start(&other, &theirs).start().await.stop().await;

    let names = ["theirs/team/cache", &endpoint, "quayside at", "storage adopt"];
    refused(start(&ground.url, &theirs), &names).await;
    let empty = ground.another_bucket("empty");
    let names = ["empty/team/cache", &endpoint, "quayside at", "storage adopt"];
    refused(start(&ground.url, &empty), &names).await;
    assert!(!empty.directory().exists(), "an empty bucket stays as it is");
    let lost = ground.another_database("lost");
    let names = ["blobs/team/cache", &endpoint, "lost at", "storage adopt"];
    refused(start(&lost, &ground.bucket), &names).await;
    let nowhere = ground.another_bucket("nowhere");
    std::fs::remove_dir_all(nowhere.root()).unwrap();
    refused(start(&ground.url, &nowhere), &["nowhere", &endpoint]).await;
    start(&ground.url, &ground.bucket).start().await;
}

/// C4: a directory of its own for each replica is no storage that they share.
#[tokio::test]
async fn a_private_disk_for_each_replica_is_refused() {
    let ground = Ground::new();
    let build = || House::builder().database(&ground.url);
    let mut first = build().start().await;
    refused(build(), &["/blobs", "quayside at", "storage adopt"]).await;
    first.restart().await;
    assert_eq!(first.admin("/livez").await.status, 200);
}

/// G2: a bucket that keeps what is deleted is refused unless that is wanted.
#[tokio::test]
async fn a_versioned_bucket_is_refused_unless_it_is_allowed() {
    let ground = Ground::new();
    let bucket = Bucket::create_with(&ground.server, "versioned", Versions::Kept);
    let build = || ground.house().blobs_in_bucket(&bucket);
    refused(build(), &["versioned", "allowVersioned"]).await;
    build()
        .config("/storage/s3/allowVersioned", true.into())
        .start()
        .await;
}

/// C4: credentials that are wrong are told at once, without being repeated.
#[tokio::test]
async fn wrong_credentials_are_refused_at_once() {
    let ground = Ground::new();
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{CANARY}s3-77aa01")).unwrap();
    let build = ground.house();
    let build = build.config("/storage/s3/secretAccessKeyFile", serde_json::json!(secret));
    let began = std::time::Instant::now();
    refused(build, &["blobs/team/cache", &ground.door.url()]).await;
    assert!(began.elapsed().as_secs() < 30, "it was tried again and again");
}
