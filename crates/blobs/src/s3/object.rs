//! Finding an object.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::{error::ProvideErrorMetadata, operation::head_object::HeadObjectOutput};

use super::{Bucket, Refusal};
use crate::{OpenError, StorageFault, StorageKey};

/// An object that was found in its bucket, with the length that it ought to have.
#[derive(Debug)]
pub struct Object {
    pub(super) bucket: Bucket,
    /// Its name in the bucket.
    pub(super) name: String,
    pub(super) size: u64,
    /// Tells its content from another one, if the server says it.
    pub(super) tag: Option<String>,
    /// Whether it ended before its time, or is gone.
    cut_short: AtomicBool,
}

/// What a look at an object tells.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) size: u64,
    tag: Option<String>,
}

impl Object {
    /// Looks at the object of `key`, which has to be of `size` bytes (B8).
    pub(super) async fn open(bucket: &Bucket, key: &StorageKey, size: u64) -> Result<Self, OpenError> {
        let name = bucket.object_key(key);
        let Some(seen) = bucket.look_at(&name).await.map_err(OpenError::Io)? else {
            return Err(OpenError::Missing { key: key.clone() });
        };
        if seen.size != size {
            return Err(OpenError::WrongLength {
                key: key.clone(),
                expected: size,
                found: seen.size,
            });
        }
        Ok(Self {
            bucket: bucket.clone(),
            name,
            size,
            tag: seen.tag,
            cut_short: AtomicBool::new(false),
        })
    }

    /// Remembers that it ended before its time: whoever opens the blob next looks at it anew (B8).
    pub(super) fn ends_early(&self) {
        self.cut_short.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Relaxed)
    }
}

impl Bucket {
    /// Looks at an object; none if there is none.
    pub(super) async fn look_at(&self, name: &str) -> Result<Option<Seen>, StorageFault> {
        const ACTION: &str = "look at object";
        let head = self.prompt.head_object().bucket(&self.name).key(name);
        let error = match head.send().await {
            Ok(head) => return self.seen(ACTION, &head).map(Some),
            Err(error) => error,
        };
        let refusal = Refusal::of(&error);
        if refusal.status() != Some(404) {
            return Err(self.refused(ACTION, refusal));
        }
        self.is_missing(name).await.map(|()| None)
    }

    fn seen(&self, action: &'static str, head: &HeadObjectOutput) -> Result<Seen, StorageFault> {
        let size = head
            .content_length()
            .and_then(|length| u64::try_from(length).ok());
        let size = size.ok_or_else(|| {
            let nonsense = Refusal::Nonsense("no length of the object".to_owned());
            self.refused(action, nonsense)
        })?;
        let tag = head.e_tag().filter(|tag| !tag.trim_matches('"').is_empty());
        Ok(Seen {
            size,
            tag: tag.map(str::to_owned),
        })
    }

    /// The answer to a HEAD has no words: a 404 may come from a bucket that is gone, or from something that is no
    /// S3 server, and neither has lost a blob (B8). The answer to a GET says which it is.
    async fn is_missing(&self, name: &str) -> Result<(), StorageFault> {
        const ACTION: &str = "look for object";
        let get = self.prompt.get_object().bucket(&self.name).key(name);
        match get.range("bytes=0-0").send().await {
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(self.fault(ACTION, &error)),
            Ok(_) => {
                let nonsense = Refusal::Nonsense("answers that contradict each other".to_owned());
                Err(self.refused(ACTION, nonsense))
            }
        }
    }
}
