//! The id of the storage, in an object beside the blobs; and whether the bucket keeps old versions.

use std::path::PathBuf;

use aws_sdk_s3::{error::ProvideErrorMetadata as _, primitives::ByteStream, types::BucketVersioningStatus};

use super::{Bucket, Refusal};
use crate::{StorageId, StoreError};

/// The object that holds the id.
const OBJECT: &str = "quayside-storage-id";

/// The longest object that is read as an id, in bytes.
const LONGEST: i64 = 1024;

/// The status of a write whose condition does not hold.
const PRECONDITION_FAILED: u16 = 412;

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
        self.unwritten(self.write_id(id, None).await)
    }

    /// Leaves an id that is there. A server that does not know the condition is asked without it.
    pub(super) async fn claim_id(&self, id: &StorageId) -> Result<(), StoreError> {
        match self.write_id(id, Some("*")).await {
            Err(refusal) if refusal.status() == Some(PRECONDITION_FAILED) => Ok(()),
            Err(refusal) if refusal.is_unknown_operation() => match self.id().await? {
                Some(_) => Ok(()),
                None => self.set_id(id).await,
            },
            written => self.unwritten(written),
        }
    }

    async fn write_id(&self, id: &StorageId, unless: Option<&str>) -> Result<(), Refusal> {
        let put = self
            .prompt
            .put_object()
            .bucket(&self.name)
            .key(format!("{}{OBJECT}", self.prefix))
            .content_type("text/plain")
            .set_if_none_match(unless.map(str::to_owned))
            .body(ByteStream::from(format!("{id}\n").into_bytes()));
        let written = put.send().await;
        written.map(drop).map_err(|error| Refusal::of(&error))
    }

    fn unwritten(&self, written: Result<(), Refusal>) -> Result<(), StoreError> {
        written.map_err(|refusal| StoreError::Storage(self.refused("write storage id", refusal)))
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
