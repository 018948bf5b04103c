//! A store in a bucket of its own, behind a door where things go wrong.

use std::{fs, future::Future, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region},
    primitives::ByteStream,
};
use quayside_blobs::{PathStyle, Patience, S3Credentials, S3Settings, Store, StoreError, Versioned};
use quayside_test_servers::{
    S3Door, Versitygw,
    versitygw::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Versions},
};
use tempfile::TempDir;

/// The bucket.
pub(crate) const NAME: &str = "blobs";

/// What stands before every key.
pub(crate) const PREFIX: &str = "cache";

pub(crate) struct Depot {
    pub(crate) store: Store,
    pub(crate) settings: S3Settings,
    pub(crate) door: S3Door,
    pub(crate) server: Versitygw,
    /// Goes past the door.
    pub(crate) client: Client,
    pub(crate) home: TempDir,
}

impl Depot {
    pub(crate) async fn new() -> Self {
        Self::with(Versions::Off, |_| {}).await.unwrap()
    }

    /// One with other settings, and perhaps with versions.
    pub(crate) async fn with(
        versions: Versions,
        change: impl FnOnce(&mut S3Settings),
    ) -> Result<Self, StoreError> {
        let server = Versitygw::start();
        Self::on(server, versions, Patience::default(), change).await
    }

    /// One in a bucket of this server, which waits for it as long as `patience` says.
    pub(crate) async fn on(
        server: Versitygw,
        versions: Versions,
        patience: Patience,
        change: impl FnOnce(&mut S3Settings),
    ) -> Result<Self, StoreError> {
        server.create_bucket(NAME, versions);
        let door = S3Door::in_front_of(server.address());
        let home = tempfile::tempdir().unwrap();
        let mut settings = settings(&home, &door.url());
        change(&mut settings);
        let store = Store::open_s3_with(&settings, patience).await?;
        door.forget();
        let client = client_of(&server.url());
        Ok(Self {
            store,
            settings,
            door,
            server,
            client,
            home,
        })
    }

    /// Puts an object past the store.
    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) {
        let put = self.client.put_object().bucket(NAME).key(key);
        let body = ByteStream::from(bytes.to_vec());
        put.body(body).send().await.unwrap();
    }

    /// Begins an upload with one part, past the store.
    pub(crate) async fn begin_upload(&self, key: &str) {
        let begin = self.client.create_multipart_upload().bucket(NAME).key(key);
        let id = begin.send().await.unwrap().upload_id.unwrap();
        let part = self.client.upload_part().bucket(NAME).key(key).upload_id(id);
        let body = ByteStream::from_static(b"a part");
        part.part_number(1).body(body).send().await.unwrap();
    }

    /// Everything that lies in the bucket: names of objects, and of uploads with a question mark behind.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let objects = self.client.list_objects_v2().bucket(NAME).send();
        let uploads = self.client.list_multipart_uploads().bucket(NAME).send();
        let (objects, uploads) = (objects.await.unwrap(), uploads.await.unwrap());
        let objects = objects.contents().iter().filter_map(|object| object.key());
        let uploads = uploads.uploads().iter().filter_map(|upload| upload.key());
        let mut all: Vec<String> = objects.map(str::to_owned).collect();
        all.extend(uploads.map(|key| format!("{key}?")));
        all.sort();
        all
    }
}

/// The settings of a store in `home` that reaches its server under `endpoint`.
pub(crate) fn settings(home: &TempDir, endpoint: &str) -> S3Settings {
    let (id, secret) = (home.path().join("id"), home.path().join("secret"));
    fs::write(&id, ACCESS_KEY_ID).unwrap();
    fs::write(&secret, SECRET_ACCESS_KEY).unwrap();
    S3Settings {
        bucket: NAME.to_owned(),
        region: REGION.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        public_endpoint: None,
        prefix: PREFIX.to_owned(),
        path_style: PathStyle::Path,
        versioned: Versioned::Refused,
        credentials: S3Credentials::Files {
            access_key_id: id,
            secret_access_key: secret,
        },
        spool: home.path().join("spool"),
        max_spool_bytes: None,
    }
}

/// A client of nobody's store, for what stores cannot do.
pub(crate) fn client_of(endpoint: &str) -> Client {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test");
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(credentials);
    Client::from_conf(config.build())
}

/// What has to be over soon.
pub(crate) async fn soon<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, work)
        .await
        .expect("it takes too long")
}
