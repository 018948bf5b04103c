//! A store on a bucket of its own, behind a door where things go wrong.

use std::{fs, future::Future, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region},
};
use bytes::Bytes;
use quayside_blobs::{Ingest, PathStyle, Patience, S3Credentials, S3Settings, StorageKey, Store, Versioned};
use quayside_test_servers::{
    S3Door, Versitygw,
    versitygw::{ACCESS_KEY_ID, Disk, REGION, SECRET_ACCESS_KEY, Versions},
};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::scene::{MIB, digest, files, ingest, until};

/// The length of a part in bytes.
pub(super) const PART: usize = 8 * MIB;

/// The bucket.
const NAME: &str = "blobs";

/// Long enough for whatever works, short enough to wait for its end.
pub(super) const SHORT: Patience = Patience {
    silence: Duration::from_millis(400),
    outage: Duration::from_millis(2000),
};

pub(super) struct Depot {
    pub(super) store: Store,
    pub(super) settings: S3Settings,
    pub(super) door: S3Door,
    pub(super) server: Versitygw,
    client: Client,
    pub(super) home: TempDir,
}

impl Depot {
    pub(super) async fn new() -> Self {
        Self::on(Disk::Machine, Patience::default(), None).await
    }

    /// One that does not wait for long.
    pub(super) async fn impatient() -> Self {
        Self::on(Disk::Machine, SHORT, None).await
    }

    pub(super) async fn on(disk: Disk, patience: Patience, max_spool_bytes: Option<u64>) -> Self {
        let server = Versitygw::start_on(disk);
        server.create_bucket(NAME, Versions::Off);
        let door = S3Door::in_front_of(server.address());
        let home = tempfile::tempdir().unwrap();
        let (id, secret) = (home.path().join("id"), home.path().join("secret"));
        fs::write(&id, ACCESS_KEY_ID).unwrap();
        fs::write(&secret, SECRET_ACCESS_KEY).unwrap();
        let settings = S3Settings {
            bucket: NAME.to_owned(),
            region: REGION.to_owned(),
            endpoint: Some(door.url()),
            public_endpoint: None,
            prefix: "cache".to_owned(),
            path_style: PathStyle::Path,
            versioned: Versioned::Refused,
            credentials: S3Credentials::Files {
                access_key_id: id,
                secret_access_key: secret,
            },
            spool: home.path().join("spool"),
            max_spool_bytes,
        };
        let store = Store::open_s3_with(&settings, patience).await.unwrap();
        door.forget();
        let client = client(&server);
        Self {
            store,
            settings,
            door,
            server,
            client,
            home,
        }
    }

    /// The objects of the bucket, asked behind the door.
    pub(super) async fn objects(&self) -> Vec<String> {
        let listed = self.client.list_objects_v2().bucket(NAME).send().await.unwrap();
        listed
            .contents()
            .iter()
            .map(|object| object.key().unwrap().to_owned())
            .filter(|key| key.starts_with("cache/sha"))
            .collect()
    }

    /// The uploads of the bucket, as key and id.
    pub(super) async fn uploads(&self) -> Vec<(String, String)> {
        let listed = self
            .client
            .list_multipart_uploads()
            .bucket(NAME)
            .send()
            .await
            .unwrap();
        listed
            .uploads()
            .iter()
            .map(|upload| {
                (
                    upload.key().unwrap().to_owned(),
                    upload.upload_id().unwrap().to_owned(),
                )
            })
            .collect()
    }

    /// Waits until the only upload has parts of these lengths.
    pub(super) async fn has_parts(&self, lengths: &[usize]) {
        eventually("the parts are in the bucket", || async {
            let uploads = self.uploads().await;
            let [(key, id)] = &uploads[..] else { return false };
            let call = self.client.list_parts().bucket(NAME).key(key).upload_id(id);
            let Ok(listed) = call.send().await else {
                return false;
            };
            let found = listed.parts().iter().map(|part| part.size().unwrap());
            found.eq(lengths.iter().map(|length| *length as i64))
        })
        .await;
    }

    pub(super) async fn has_no_uploads(&self) {
        self.has_no_uploads_but(0).await;
    }

    /// Waits until only so many uploads are left.
    pub(super) async fn has_no_uploads_but(&self, left: usize) {
        eventually("uploads are aborted", || async {
            self.uploads().await.len() == left
        })
        .await;
    }

    pub(super) async fn spool_is_empty(&self) {
        let spool = self.home.path().join("spool");
        until("the spool is empty", || files(&spool).is_empty()).await;
    }
}

fn client(server: &Versitygw) -> Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(server.url())
        .force_path_style(true)
        .credentials_provider(Credentials::new(
            ACCESS_KEY_ID,
            SECRET_ACCESS_KEY,
            None,
            None,
            "test",
        ));
    Client::from_conf(config.build())
}

/// An ingest that expects `content`, on its way to its key already.
pub(super) async fn begin(store: &Store, content: &[u8]) -> Ingest {
    let mut ingest = ingest(store, content).await;
    let key = key_of(&ingest, content);
    ingest.upload_to(&key);
    ingest
}

pub(super) fn key_of(ingest: &Ingest, content: &[u8]) -> StorageKey {
    StorageKey::new(&digest(content), ingest.token()).unwrap()
}

/// Begins `content`, appends it and verifies it.
pub(super) async fn received(store: &Store, content: &Bytes) -> (Ingest, StorageKey) {
    let mut ingest = begin(store, content).await;
    let key = key_of(&ingest, content);
    crate::scene::append(&mut ingest, content, MIB).await;
    ingest.verify().await.unwrap();
    (ingest, key)
}

/// Waits for a condition that has to be asked for.
pub(super) async fn eventually<F, Fut>(what: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let end = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}
