//! Which buckets are taken, and what is told of them.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use quayside_blobs::{PathStyle, S3Credentials, Store, StoreError, Versioned};
use quayside_test_servers::{
    s3_door::{Fault, Operation},
    versitygw::{SECRET_ACCESS_KEY, Versions},
};

use super::depot::{Depot, NAME, PREFIX, settings};
use crate::scene::{content, stored, whole};

/// G2: a bucket with versioning is refused at start unless that is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_a_bucket_that_keeps_versions() {
    let refused = Depot::with(Versions::Kept, |_| {}).await;
    let refused = refused.err().expect("it was taken");
    assert!(
        matches!(&refused, StoreError::Versioned { bucket } if bucket == NAME),
        "{refused:?}"
    );
    let allowed = Depot::with(Versions::Kept, |settings| {
        settings.versioned = Versioned::Allowed;
    });
    let depot = allowed.await.unwrap();
    assert_eq!(depot.door.count(Operation::Bucket), 0);
    stored(&depot.store, &content(10, 1)).await;
}

/// G2: who may not look at the versioning learns that, and can say that it does not matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_a_bucket_whose_versioning_is_hidden() {
    let depot = Depot::new().await;
    depot.door.break_all(Operation::Bucket, Fault::Denied);
    let home = tempfile::tempdir().unwrap();
    let mut settings = settings(&home, &depot.door.url());
    let refused = Store::open_s3(&settings).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::VersioningUnknown { .. }),
        "{refused:?}"
    );
    settings.versioned = Versioned::Allowed;
    Store::open_s3(&settings).await.unwrap();
}

/// C4: a bucket that is not there, and keys that are wrong, are told at start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_what_is_wrong_with_a_bucket() {
    let missing = Depot::with(Versions::Off, |settings| settings.bucket = "another".to_owned());
    let missing = missing.await.err().expect("it was taken");
    assert!(chain(&missing).contains("NoSuchBucket"), "{}", chain(&missing));
    let stranger = Depot::with(Versions::Off, |settings| {
        let S3Credentials::Files {
            secret_access_key, ..
        } = &settings.credentials
        else {
            return;
        };
        fs::write(secret_access_key, "an invented secret").unwrap();
    });
    let stranger = chain(&stranger.await.err().expect("it was taken"));
    assert!(stranger.contains("SignatureDoesNotMatch"), "{stranger}");
    assert!(stranger.contains(NAME), "{stranger}");
    assert!(!stranger.contains("invented"), "{stranger}");
}

/// O1: secrets are never shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_no_secret() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(10, 2)).await;
    let blob = depot.store.open(&key, 10).await.unwrap();
    let shown = format!("{:?} {:?} {blob:?}", depot.store, depot.settings);
    assert!(!shown.contains(SECRET_ACCESS_KEY), "{shown}");
}

/// G3, C4: the spool belongs to one process, the bucket to as many as there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_one_process_to_a_spool_and_many_to_a_bucket() {
    let depot = Depot::new().await;
    let refused = Store::open_s3(&depot.settings).await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
    let home = tempfile::tempdir().unwrap();
    let other = Store::open_s3(&settings(&home, &depot.door.url())).await.unwrap();
    let bytes = content(3000, 3);
    let key = stored(&depot.store, &bytes).await;
    assert_eq!(whole(&other.open(&key, 3000).await.unwrap()).await, bytes);
}

/// B7: keys lie below the prefix, and without one at the top.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_keys_below_the_prefix() {
    let depot = Depot::new().await;
    let key = stored(&depot.store, &content(10, 4)).await;
    assert_eq!(depot.everything().await, [format!("{PREFIX}/{key}")]);
    let bare = Depot::with(Versions::Off, |settings| settings.prefix = String::new());
    let bare = bare.await.unwrap();
    let key = stored(&bare.store, &content(10, 4)).await;
    assert_eq!(bare.everything().await, [key.as_str()]);
    assert_eq!(bare.store.list(None, 10).await.unwrap().len(), 1);
}

/// B7: the bucket's name can stand in the host's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_the_bucket_in_the_host_if_told_to() {
    // No name of a bucket goes before an address, so the store itself finds its server all the same.
    for (style, begin) in [
        (PathStyle::Host, "http://blobs.storage.invalid:1/cache/"),
        (PathStyle::Path, "http://storage.invalid:1/blobs/cache/"),
    ] {
        let depot = Depot::with(Versions::Off, |settings| {
            settings.path_style = style;
            settings.public_endpoint = Some("http://storage.invalid:1".to_owned());
        });
        let depot = depot.await.unwrap();
        let key = stored(&depot.store, &content(10, 5)).await;
        let lifetime = Duration::from_mins(1);
        let url = depot.store.presign(&key, 10, lifetime, SystemTime::now()).await;
        let url = url.unwrap().unwrap();
        assert!(url.starts_with(begin), "{url}");
    }
}

/// Everything that an error says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        words = format!("{words}: {error}");
        next = error.source();
    }
    words
}
