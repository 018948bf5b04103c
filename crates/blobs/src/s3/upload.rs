//! Bringing a blob from the spool into a bucket, while it arrives.
//!
//! A blob that is larger than a part is uploaded in parts as they come to lie in the spool; what is smaller is put
//! in one piece when it was verified. Nothing becomes an object before it was verified (B3). Parts are read from the
//! spool file, so an upload holds no bytes but those that are on their way, and whoever writes or reads the spool
//! never waits for the bucket.

mod body;
mod finish;
mod gate;
mod multipart;
mod parts;
mod patience;
mod trouble;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use futures::{FutureExt, future::BoxFuture};
use quayside_oci::{Algorithm, Digest};
use tokio::task::JoinHandle;

use self::{gate::Gate, multipart::Multipart, parts::PART, patience::Tries};
use super::{Bucket, Refusal};
use crate::{
    Arriving, Progress, Spool, SpoolFile, StorageFault, StorageKey, StoreError, Upload, frames::Buffers,
};

pub use self::patience::Patience;

/// What blobs are to whoever reads them from the bucket (B7).
const CONTENT_TYPE: &str = "application/octet-stream";

/// Everything that the uploads of one store have in common.
#[derive(Debug)]
pub(crate) struct Uploads {
    bucket: Bucket,
    buffers: Arc<Buffers>,
    patience: Patience,
    gate: Gate,
    /// Whether the server lacks writes on condition, as it has said.
    unconditional: AtomicBool,
}

/// One blob on its way to its key.
#[derive(Clone, Debug)]
struct Freight {
    uploads: Arc<Uploads>,
    spool: Arc<Spool>,
    /// The spool file.
    path: PathBuf,
    digest: Digest,
    key: StorageKey,
    /// The name of the object in the bucket.
    object: String,
}

/// An upload of a [`Freight`]; dropping it gives up.
#[derive(Debug)]
struct Shipment {
    freight: Freight,
    parts: Option<Parts>,
}

/// The task that sends parts; dropping it stops it.
#[derive(Debug)]
struct Parts(JoinHandle<Result<Sent, StorageFault>>);

/// All parts are in the bucket.
#[derive(Debug)]
struct Sent {
    multipart: Multipart,
    tags: Vec<parts::Tag>,
}

impl Uploads {
    pub(crate) fn new(bucket: Bucket, buffers: Arc<Buffers>, patience: Patience) -> Arc<Self> {
        Arc::new(Self {
            bucket,
            buffers,
            patience,
            gate: Gate::new(),
            unconditional: AtomicBool::new(false),
        })
    }

    /// Begins to bring a blob to `key`. Has to be called within a runtime.
    pub(crate) fn begin(self: &Arc<Self>, arriving: Arriving, key: &StorageKey) -> Box<dyn Upload> {
        let freight = Freight {
            uploads: Arc::clone(self),
            object: self.bucket.object_key(key),
            spool: arriving.spool,
            path: arriving.path,
            digest: arriving.digest,
            key: key.clone(),
        };
        let parts = (freight.size() > PART).then(|| Parts(tokio::spawn(parts::send(freight.clone()))));
        Box::new(Shipment { freight, parts })
    }
}

impl Upload for Shipment {
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<SpoolFile, StoreError>> {
        let Self { freight, parts } = *self;
        async move {
            match parts {
                Some(parts) => {
                    let sent = parts.finish(&freight).await.map_err(StoreError::Storage)?;
                    finish::complete(&freight, sent).await?;
                }
                None => finish::put(&freight).await?,
            }
            Ok(SpoolFile::Left)
        }
        .boxed()
    }
}

impl Parts {
    async fn finish(mut self, freight: &Freight) -> Result<Sent, StorageFault> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) => Err(freight.refused("upload blob", Refusal::Transport(error.to_string()))),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Freight {
    /// The length of the blob in bytes.
    fn size(&self) -> u64 {
        self.spool.size()
    }

    /// The digest as servers want it: base64 of its bytes, if they know its algorithm.
    fn checksum(&self) -> Option<String> {
        (self.digest.algorithm() == Algorithm::Sha256).then(|| base64_of_hex(self.digest.hex()))
    }

    /// Waits until the first `length` bytes are on disk.
    async fn spooled(&self, length: u64) -> Result<(), StorageFault> {
        match self.spool.wait_written(length).await {
            Progress::Failed { .. } => Err(StorageFault::new(
                "upload",
                &self.path,
                io::Error::other("the blob did not arrive"),
            )),
            Progress::Running { .. } | Progress::Verified => Ok(()),
        }
    }

    /// Waits before a call is made again that a blob needs before all of it is there.
    async fn again(&self, tries: &mut Tries, refusal: Refusal) -> Result<(), Refusal> {
        if matches!(self.spool.progress(), Progress::Running { .. }) {
            tries.have_time();
        }
        tries.again(refusal).await
    }

    fn refused(&self, action: &'static str, refusal: Refusal) -> StorageFault {
        self.uploads.bucket.refused(action, refusal)
    }
}

/// The base64 of the bytes that lower-case hexadecimal digits stand for.
fn base64_of_hex(hex: &str) -> String {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte - b'a' + 10,
    };
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| (digit(pair[0]) << 4) | digit(pair[1]))
        .collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_digests_as_servers_want_them() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        assert_eq!(
            base64_of_hex(digest.hex()),
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
    }
}
