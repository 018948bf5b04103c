//! What the tests of uploads ask of a bucket.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use quayside_blobs::{Ingest, Patience, StorageKey, Store};
use quayside_test_servers::{Versitygw, versitygw::Versions};
use tokio::time::Instant;

use crate::{
    bucket::depot::{Depot, NAME},
    scene::{MIB, append, digest, files, ingest, until},
};

/// The length of a part in bytes.
pub(super) const PART: usize = 8 * MIB;

/// Long enough for whatever works on a busy machine, short enough to wait for what does not move.
pub(super) const WAKEFUL: Patience = Patience {
    silence: Duration::from_millis(1500),
    outage: Duration::from_mins(1),
};

/// Short enough to wait for its end.
pub(super) const SHORT: Patience = Patience {
    silence: Duration::from_millis(400),
    outage: Duration::from_secs(2),
};

impl Depot {
    /// One that waits like this.
    pub(super) async fn waiting(patience: Patience) -> Self {
        Self::on(Versitygw::start(), Versions::Off, patience, |_| {})
            .await
            .unwrap()
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
            found.eq(lengths.iter().map(|length| i64::try_from(*length).unwrap()))
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
        until("the spool is empty", || files(&self.settings.spool).is_empty()).await;
    }
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
    append(&mut ingest, content, MIB).await;
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
