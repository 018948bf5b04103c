//! Removing objects, and uploads that were never completed.

use std::collections::{BTreeMap, HashSet};

use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    types::{Delete, ObjectIdentifier},
};
use futures::{StreamExt as _, stream};

use super::{Bucket, Refusal, client::long, listing::Upload};
use crate::{DeleteError, StorageFault, StorageKey};

/// How many objects one call removes at most.
const BATCH: usize = 1000;

/// How many uploads are aborted at a time.
const AT_ONCE: usize = 4;

impl Bucket {
    /// Removes the objects of `keys`, and the uploads to them: those first, so that none of them can still be
    /// completed afterwards by whoever began it.
    pub(super) async fn delete(&self, keys: &[StorageKey]) -> Result<(), DeleteError> {
        let mut failed = BTreeMap::new();
        for batch in keys.chunks(BATCH) {
            self.abort_each(batch, &mut failed).await;
            if let Err(fault) = self.delete_batch(batch, &mut failed).await {
                failed.extend(batch.iter().map(|key| (key.clone(), fault.clone())));
            }
        }
        done(failed)
    }

    /// Aborts the uploads to `keys`; what was completed stays.
    pub(super) async fn abort(&self, keys: &[StorageKey]) -> Result<(), DeleteError> {
        let mut failed = BTreeMap::new();
        self.abort_each(keys, &mut failed).await;
        done(failed)
    }

    async fn delete_batch(
        &self,
        batch: &[StorageKey],
        failed: &mut BTreeMap<StorageKey, StorageFault>,
    ) -> Result<(), StorageFault> {
        const ACTION: &str = "delete objects";
        let names = batch.iter().map(|key| {
            let name = ObjectIdentifier::builder().key(self.object_key(key));
            name.build()
        });
        let names = names.collect::<Result<Vec<_>, _>>();
        let delete = names.and_then(|names| Delete::builder().set_objects(Some(names)).quiet(true).build());
        let delete = delete.map_err(|error| self.refused(ACTION, Refusal::broken(&error)))?;
        let call = self.client.delete_objects().bucket(&self.name).delete(delete);
        let answer = call.customize().config_override(long()).send().await;
        let answer = answer.map_err(|error| self.fault(ACTION, &error))?;
        for error in answer.errors() {
            let key = error.key().and_then(|name| self.path_of(name));
            let key = key.and_then(|path| StorageKey::parse(path).ok());
            let refusal = Refusal::Answer {
                status: 200,
                code: error.code().unwrap_or_default().to_owned(),
                message: error.message().unwrap_or_default().to_owned(),
            };
            let fault = self.refused("delete object", refusal);
            match key {
                Some(_) if error.code() == Some("NoSuchKey") => {}
                Some(key) => drop(failed.insert(key, fault)),
                None => return Err(fault),
            }
        }
        Ok(())
    }

    /// Aborts the uploads to `keys`. One listing finds them all: there are no more uploads than blobs that arrive.
    async fn abort_each(&self, keys: &[StorageKey], failed: &mut BTreeMap<StorageKey, StorageFault>) {
        let wanted: HashSet<&str> = keys.iter().map(StorageKey::as_str).collect();
        let uploads = match self.all_uploads().await {
            Ok(uploads) => uploads,
            Err(fault) => {
                failed.extend(keys.iter().map(|key| (key.clone(), fault.clone())));
                return;
            }
        };
        let ours = uploads
            .into_iter()
            .filter(|upload| wanted.contains(upload.path.as_str()));
        let aborted = stream::iter(ours)
            .map(|upload| async move { (self.abort_one(&upload).await, upload) })
            .buffer_unordered(AT_ONCE);
        let aborted: Vec<_> = aborted.collect().await;
        for (result, upload) in aborted {
            if let (Err(fault), Ok(key)) = (result, StorageKey::parse(&upload.path)) {
                failed.insert(key, fault);
            }
        }
    }

    async fn abort_one(&self, upload: &Upload) -> Result<(), StorageFault> {
        let name = format!("{}{}", self.prefix, upload.path);
        let abort = self
            .prompt
            .abort_multipart_upload()
            .bucket(&self.name)
            .key(name)
            .upload_id(&upload.id);
        match abort.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(self.fault("abort upload", &error)),
        }
    }
}

fn done(failed: BTreeMap<StorageKey, StorageFault>) -> Result<(), DeleteError> {
    if failed.is_empty() {
        Ok(())
    } else {
        Err(DeleteError {
            failed: failed.into_iter().collect(),
        })
    }
}
