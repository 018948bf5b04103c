//! A multipart upload in the bucket, which does not stay there.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::timeout};

use super::{
    super::Refusal,
    CONTENT_TYPE, Freight, Uploads,
    patience::{Pulse, attended},
};
use crate::StorageFault;

/// How long an abort in the background may take. What it leaves goes with the garbage.
const ABORT: Duration = Duration::from_secs(30);

/// An upload that was created. Dropping it aborts it, in the background and if the bucket lets us.
#[derive(Debug)]
pub(super) struct Multipart {
    uploads: Arc<Uploads>,
    object: String,
    id: String,
    runtime: Handle,
    end: End,
}

/// What is to become of an upload that is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Abort,
    Completed,
}

impl Multipart {
    /// Creates one. If the future is dropped meanwhile, what it created is aborted.
    pub(super) async fn create(freight: &Freight) -> Result<Self, StorageFault> {
        let refused = |refusal| freight.refused("create upload of blob", refusal);
        let mut tries = freight.uploads.patience.tries();
        loop {
            let creation = tokio::spawn(try_create(freight.clone()));
            match creation.await {
                Ok(Ok(multipart)) => return Ok(multipart),
                Ok(Err(refusal)) => freight.again(&mut tries, refusal).await.map_err(refused)?,
                Err(error) => return Err(refused(Refusal::Transport(error.to_string()))),
            }
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// It is an object now.
    pub(super) fn completed(mut self) {
        self.end = End::Completed;
    }
}

async fn try_create(freight: Freight) -> Result<Multipart, Refusal> {
    let Freight { uploads, object, .. } = &freight;
    let bucket = &uploads.bucket;
    let call = bucket
        .client
        .create_multipart_upload()
        .content_type(CONTENT_TYPE)
        .bucket(&bucket.name)
        .key(object);
    let answer = attended(&Pulse::default(), uploads.patience.silence, call.send()).await;
    let answer = answer?.map_err(|error| Refusal::of(&error))?;
    Ok(Multipart {
        uploads: Arc::clone(uploads),
        object: object.clone(),
        id: answer.upload_id.unwrap_or_default(),
        runtime: Handle::current(),
        end: End::Abort,
    })
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.end == End::Completed {
            return;
        }
        let (uploads, object) = (Arc::clone(&self.uploads), std::mem::take(&mut self.object));
        let id = std::mem::take(&mut self.id);
        drop(self.runtime.spawn(async move {
            let bucket = &uploads.bucket;
            let call = bucket
                .client
                .abort_multipart_upload()
                .bucket(&bucket.name)
                .key(&object)
                .upload_id(id);
            if !matches!(timeout(ABORT, call.send()).await, Ok(Ok(_))) {
                tracing::debug!(object, "upload not aborted, it goes with the garbage");
            }
        }));
    }
}
