//! Blobs as objects of a bucket.

mod bucket;
mod client;
mod connections;
mod credentials;
mod deletion;
mod identity;
mod keys;
mod listing;
mod object;
mod presign;
mod reader;
mod refusal;
mod settings;
mod upload;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, future::BoxFuture};

pub(crate) use self::{bucket::Bucket, reader::Reader};
use self::{client::Clients, presign::Signer, upload::Uploads};
pub use self::{
    object::Object,
    refusal::Refusal,
    settings::{PathStyle, S3Credentials, S3Settings, Versioned},
    upload::Patience,
};
use crate::{
    Arriving, Backend, DeleteError, Found, OpenError, Opened, StorageFault, StorageId, StorageKey,
    StoreError, Upload,
    directory::{Lock, take_spool},
    frames::Buffers,
};

/// A bucket, and the spool directory in front of it.
#[derive(Debug)]
pub(crate) struct S3 {
    bucket: Bucket,
    uploads: Arc<Uploads>,
    signer: Signer,
    /// Keeps other processes out of the spool.
    _lock: Lock,
}

impl S3 {
    /// Takes possession of the spool, and looks whether the bucket is fit for us.
    pub(crate) async fn open(
        settings: &S3Settings,
        buffers: Arc<Buffers>,
        patience: Patience,
    ) -> Result<Self, StoreError> {
        let lock = take_spool(&settings.spool)?;
        let clients = Clients::new(settings).await.map_err(|error| {
            let refusal = Refusal::broken(&error);
            StoreError::Storage(StorageFault::bucket(
                "set up TLS for objects",
                &settings.bucket,
                refusal,
            ))
        })?;
        let bucket = Bucket::new(&clients, &settings.bucket, &settings.prefix);
        if settings.versioned == Versioned::Refused {
            bucket.refuse_versions().await?;
        }
        Ok(Self {
            uploads: Uploads::new(bucket.clone(), buffers, patience),
            bucket,
            signer: Signer::new(clients.urls, clients.keys),
            _lock: lock,
        })
    }
}

impl Backend for S3 {
    fn upload(&self, arriving: Arriving, key: &StorageKey) -> Box<dyn Upload> {
        self.uploads.begin(arriving, key)
    }

    fn uploads_early(&self) -> bool {
        true
    }

    fn open<'a>(&'a self, key: &'a StorageKey, size: u64) -> BoxFuture<'a, Result<Opened, OpenError>> {
        async move {
            let object = Object::open(&self.bucket, key, size).await?;
            Ok(Opened::Object(Arc::new(object)))
        }
        .boxed()
    }

    fn presign<'a>(
        &'a self,
        key: &'a StorageKey,
        size: u64,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Option<String>, OpenError>> {
        async move {
            let url = self.signer.url(&self.bucket, (key, size), lifetime, now);
            url.await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), DeleteError>> {
        async move {
            let result = self.bucket.delete(keys).await;
            self.signer.forget(keys);
            result
        }
        .boxed()
    }

    fn abort<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), DeleteError>> {
        self.bucket.abort(keys).boxed()
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a Found>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        async move {
            let after = after.map(|found| found.path().to_string_lossy());
            let found = self.bucket.list(after.as_deref(), limit).await;
            found.map_err(StoreError::Storage)
        }
        .boxed()
    }

    fn is_there<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move { self.bucket.is_there(found).await.map_err(StoreError::Storage) }.boxed()
    }

    fn id(&self) -> BoxFuture<'_, Result<Option<StorageId>, StoreError>> {
        self.bucket.id().boxed()
    }

    fn set_id<'a>(&'a self, id: &'a StorageId) -> BoxFuture<'a, Result<(), StoreError>> {
        self.bucket.set_id(id).boxed()
    }

    fn claim_id<'a>(&'a self, id: &'a StorageId) -> BoxFuture<'a, Result<(), StoreError>> {
        self.bucket.claim_id(id).boxed()
    }
}
