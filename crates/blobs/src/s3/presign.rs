//! URLs by which a client reads a blob from the bucket itself (B7).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{Client, presigning::PresigningConfig};

use super::{Bucket, Object, Refusal};
use crate::{OpenError, StorageKey};

/// How old the last look at an object may be for its URL to be given out (B8).
const SEEN: Duration = Duration::from_mins(1);

/// How many URLs are kept.
const MOST: usize = 10_000;

/// Signs URLs, and keeps each for half its life.
#[derive(Debug)]
pub(super) struct Signer {
    client: Client,
    urls: Mutex<HashMap<StorageKey, Entry>>,
}

#[derive(Clone)]
struct Entry {
    url: Arc<str>,
    signed: SystemTime,
    lifetime: Duration,
    size: u64,
    seen: SystemTime,
}

impl Entry {
    /// A clock that was set back makes nothing fresh for longer.
    fn is_young(&self, now: SystemTime) -> bool {
        now.duration_since(self.signed)
            .is_ok_and(|age| age < self.lifetime / 2)
    }

    fn is_seen(&self, now: SystemTime) -> bool {
        now.duration_since(self.seen).is_ok_and(|age| age < SEEN)
    }
}

impl Signer {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            urls: Mutex::default(),
        }
    }

    /// A URL of the object of `key`, which has to be of `size` bytes; it lives for `lifetime` at most.
    pub(super) async fn url(
        &self,
        bucket: &Bucket,
        (key, size): (&StorageKey, u64),
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, OpenError> {
        let known = self.urls().get(key).cloned();
        let known = known.filter(|known| (known.size, known.lifetime) == (size, lifetime));
        let seen = match &known {
            Some(known) if known.is_seen(now) && known.is_young(now) => return Ok(known.url.to_string()),
            Some(known) if known.is_seen(now) => known.seen,
            _ => {
                self.look(bucket, key, size).await?;
                now
            }
        };
        let entry = match known {
            Some(known) if known.is_young(now) => Entry { seen, ..known },
            _ => Entry {
                url: self.sign(bucket, key, lifetime, now).await?.into(),
                signed: now,
                lifetime,
                size,
                seen,
            },
        };
        let url = entry.url.to_string();
        self.keep(key, entry);
        Ok(url)
    }

    /// Forgets the URLs of objects that are being deleted.
    pub(super) fn forget(&self, keys: &[StorageKey]) {
        let mut urls = self.urls();
        for key in keys {
            urls.remove(key);
        }
    }

    async fn look(&self, bucket: &Bucket, key: &StorageKey, size: u64) -> Result<(), OpenError> {
        let seen = Object::open(bucket, key, size).await;
        if seen.is_err() {
            self.urls().remove(key);
        }
        seen.map(drop)
    }

    async fn sign(
        &self,
        bucket: &Bucket,
        key: &StorageKey,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, OpenError> {
        let fault = |refusal| OpenError::Io(bucket.refused("sign a URL", refusal));
        let times = PresigningConfig::builder()
            .start_time(now)
            .expires_in(lifetime)
            .build();
        let times = times.map_err(|error| fault(Refusal::broken(&error)))?;
        let get = self
            .client
            .get_object()
            .bucket(&bucket.name)
            .key(bucket.object_key(key));
        let signed = get.presigned(times).await;
        let signed = signed.map_err(|error| fault(Refusal::of(&error)))?;
        Ok(signed.uri().to_owned())
    }

    fn keep(&self, key: &StorageKey, entry: Entry) {
        let mut urls = self.urls();
        if urls.len() >= MOST {
            urls.clear();
        }
        urls.insert(key.clone(), entry);
    }

    fn urls(&self) -> MutexGuard<'_, HashMap<StorageKey, Entry>> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL is as good as a password while it lives.
        out.debug_struct("Entry")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
