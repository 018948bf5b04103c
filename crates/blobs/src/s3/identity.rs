//! The id of the storage, in an object beside the blobs; and whether the bucket keeps old versions.

use std::path::PathBuf;

use aws_sdk_s3::{error::ProvideErrorMetadata as _, primitives::ByteStream, types::BucketVersioningStatus};

use super::{Bucket, Refusal};
use crate::{StorageId, StoreError};

/// The object that holds the id.
const OBJECT: &str = "quayside-storage-id";

/// The longest object that is read as an id, in bytes.
const LONGEST: i64 = 1024;

impl Bucket {
    pub(super) async fn id(&self) -> Result<Option<StorageId>, StoreError> {
        const ACTION: &str = "read storage id";
        let name = format!("{}{OBJECT}", self.prefix);
        let get = self.prompt.get_object().bucket(&self.name).key(&name);
        let answer = match get.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(StoreError::Storage(self.fault(ACTION, &error))),
        };
        if answer.content_length().is_some_and(|length| length > LONGEST) {
            let nonsense = Refusal::Nonsense("an object that is too long for an id".to_owned());
            return Err(StoreError::Storage(self.refused(ACTION, nonsense)));
        }
        let bytes = answer.body.collect().await.map_err(|error| {
            let broken = Refusal::broken(&error);
            StoreError::Storage(self.refused(ACTION, broken))
        })?;
        let bytes = bytes.into_bytes();
        let id = String::from_utf8_lossy(&bytes).trim().parse();
        id.map(Some).map_err(|source| StoreError::Id {
            path: PathBuf::from(format!("{}/{name}", self.name)),
            source,
        })
    }

    pub(super) async fn set_id(&self, id: &StorageId) -> Result<(), StoreError> {
        let put = self
            .prompt
            .put_object()
            .bucket(&self.name)
            .key(format!("{}{OBJECT}", self.prefix))
            .content_type("text/plain")
            .body(ByteStream::from(format!("{id}\n").into_bytes()));
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::Storage(self.fault("write storage id", &error))),
        }
    }

    /// Refuses a bucket that keeps old versions (G2): what is deleted there makes no room. A server that knows no
    /// versions keeps none.
    pub(super) async fn refuse_versions(&self) -> Result<(), StoreError> {
        const ACTION: &str = "look at versioning";
        let bucket = self.name.clone();
        let status = match self
            .prompt
            .get_bucket_versioning()
            .bucket(&self.name)
            .send()
            .await
        {
            Ok(answer) => answer.status,
            Err(error) => match Refusal::of(&error) {
                refusal if refusal.is_unknown_operation() => None,
                refusal if refusal.status() == Some(403) && refusal.code() == Some("AccessDenied") => {
                    let source = self.refused(ACTION, refusal);
                    return Err(StoreError::VersioningUnknown { bucket, source });
                }
                refusal => return Err(StoreError::Storage(self.refused(ACTION, refusal))),
            },
        };
        match status {
            Some(BucketVersioningStatus::Enabled) => Err(StoreError::Versioned { bucket }),
            Some(BucketVersioningStatus::Suspended) => {
                tracing::warn!(
                    bucket,
                    "the bucket's versioning is suspended: deletions leave markers"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
