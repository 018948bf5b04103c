use std::cell::Cell;
use std::future::ready;
use std::time::Duration;

use quayside_metadata::MetadataError;

use super::*;

fn config(storage: &str, database: &str) -> Config {
    Config::parse(&format!(
        "{{ SERVER_HOSTNAME: a.test, storage: {storage}, database: {database} }}"
    ))
    .unwrap()
}

/// A6, O1: logs and refusals say which database and bucket, and never the password.
#[test]
fn a_place_names_no_password() {
    for (url, place) in [
        (
            "postgres://quay:canary@db.example:5433/cache?sslmode=verify-full",
            "cache at db.example:5433",
        ),
        ("postgresql://quay:canary@db.example/cache", "cache at db.example"),
        ("postgres://quay:canary@db.example", "quay at db.example"),
        (
            "postgres:///cache?host=/run/postgresql&user=quay&password=canary",
            "cache at /run/postgresql",
        ),
        ("host=db.example password=canary", "PostgreSQL"),
    ] {
        assert_eq!(place_of_postgres(&url.to_owned().into()), place);
    }
    let bucket = |storage: &str| match config(storage, "{}").storage {
        Storage::S3(s3) => place_of_bucket(&s3),
        Storage::Filesystem(directory) => panic!("{directory:?}"),
    };
    assert_eq!(
        bucket("{ s3: { bucket: b, region: eu-west-1 } }"),
        "s3://b at AWS in eu-west-1"
    );
    assert_eq!(
        bucket("{ s3: { bucket: b, prefix: a/b, endpoint: \"http://s3.test:9000\" } }"),
        "s3://b/a/b at http://s3.test:9000"
    );
}

/// A6: whatever is wrong with the file of the URL, its content is not repeated.
#[tokio::test]
async fn a_url_that_is_none_is_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    let config = config("{}", &format!("{{ postgres: {{ urlFile: {file:?} }} }}"));
    assert!(Places::of(&config).is_err(), "there is no file");
    std::fs::write(&file, " \n").unwrap();
    assert!(Places::of(&config).is_err(), "there is nothing in it");
    for url in ["canary", "http://u:canary@h/d", "postgres://u:canary@h:x/d"] {
        std::fs::write(&file, url).unwrap();
        let places = Places::of(&config).unwrap();
        let refused = database(&config, &places, Patience::NONE).await.unwrap_err();
        assert!(
            !format!("{refused:#} {places:?}").contains("canary"),
            "{refused:#}"
        );
    }
}

fn away() -> MetadataError {
    MetadataError::Unavailable {
        action: "open database",
        source: "refused".into(),
    }
}

/// O2: what is away is waited for, for a while; what is wrong is not, and a command does not wait at all.
#[tokio::test]
async fn waits_for_what_is_away() {
    let calls = Cell::new(0);
    let call = || calls.set(calls.get() + 1);
    let opened = Patience::SERVER.open("there", || {
        call();
        let opened = if calls.get() < 2 { Err(away()) } else { Ok(()) };
        ready(opened).boxed()
    });
    opened.await.unwrap();
    assert_eq!(calls.replace(0), 2);

    let never = || {
        call();
        ready(Err::<(), _>(away())).boxed()
    };
    let short = Patience::of(Duration::from_millis(50), Duration::from_millis(1));
    short.open("there", never).await.unwrap_err();
    assert!(calls.replace(0) > 2, "it is tried to the end");

    Patience::NONE.open("there", never).await.unwrap_err();
    assert_eq!(calls.replace(0), 1);
    let wrong = || {
        call();
        ready(Err::<(), _>(MetadataError::Url)).boxed()
    };
    Patience::SERVER.open("there", wrong).await.unwrap_err();
    assert_eq!(calls.get(), 1);
}
