//! URLs by which a client reads a blob from the bucket itself (B7).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{Client, presigning::PresigningConfig};

use super::{
    Bucket, Object, Refusal,
    keys::{Key, Keys},
};
use crate::{OpenError, StorageKey};

/// How old the last look at an object may be for its URL to be given out (B8).
const SEEN: Duration = Duration::from_mins(1);

/// How many URLs are kept.
const MOST: usize = 10_000;

/// Signs URLs, and keeps each for half its life.
#[derive(Debug)]
pub(super) struct Signer {
    client: Client,
    /// What `client` signs with.
    keys: Keys,
    urls: Mutex<HashMap<StorageKey, Entry>>,
}

#[derive(Clone)]
struct Entry {
    url: Arc<str>,
    signed: SystemTime,
    lifetime: Duration,
    /// What it was signed with, and dies with.
    key: Key,
    size: u64,
    seen: SystemTime,
}

impl Entry {
    /// Whether more than half of its life is left. A clock that was set back makes nothing fresh for longer.
    fn is_young(&self, now: SystemTime) -> bool {
        let half = self.lifetime / 2;
        let age = now.duration_since(self.signed);
        age.is_ok_and(|age| age < half) && self.key.expiry.is_none_or(|end| now + half < end)
    }

    fn is_seen(&self, now: SystemTime) -> bool {
        now.duration_since(self.seen).is_ok_and(|age| age < SEEN)
    }
}

impl Signer {
    pub(super) fn new(client: Client, keys: Keys) -> Self {
        Self {
            client,
            keys,
            urls: Mutex::default(),
        }
    }

    /// A URL of the object of `key`, which has to be of `size` bytes; it lives for `lifetime` at most, and for more than
    /// half of that. None: the credentials end too soon.
    pub(super) async fn url(
        &self,
        bucket: &Bucket,
        (key, size): (&StorageKey, u64),
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Option<String>, OpenError> {
        let known = self.urls().get(key).cloned();
        let known = known.filter(|known| (known.size, known.lifetime) == (size, lifetime));
        // Credentials that were exchanged may be revoked.
        let signer = self.keys.current().await;
        let is_good = |known: &Entry| known.is_young(now) && signer.as_ref() == Some(&known.key);
        let seen = match &known {
            Some(known) if known.is_seen(now) && is_good(known) => {
                return Ok(Some(known.url.to_string()));
            }
            Some(known) if known.is_seen(now) => known.seen,
            _ => {
                self.look(bucket, key, size).await?;
                now
            }
        };
        let entry = match known {
            Some(known) if is_good(&known) => Entry { seen, ..known },
            _ => {
                let (url, signer) = self.sign_by_one(bucket, key, lifetime, now).await?;
                Entry {
                    url: url.into(),
                    signed: now,
                    lifetime,
                    key: signer,
                    size,
                    seen,
                }
            }
        };
        if !entry.is_young(now) {
            self.urls().remove(key);
            return Ok(None);
        }
        let url = entry.url.to_string();
        self.keep(key, entry);
        Ok(Some(url))
    }

    /// Signs, and says what with: again if the credentials were exchanged meanwhile.
    async fn sign_by_one(
        &self,
        bucket: &Bucket,
        key: &StorageKey,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(String, Key), OpenError> {
        let mut before = self.keys.current().await;
        loop {
            let url = self.sign(bucket, key, lifetime, now).await?;
            let after = self.keys.current().await;
            match after {
                Some(signer) if before.as_ref() == Some(&signer) => return Ok((url, signer)),
                Some(_) => before = after,
                None => {
                    let unknown = Refusal::Transport("the credentials are gone".to_owned());
                    return Err(OpenError::Io(bucket.refused("sign a URL", unknown)));
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Region};
    use quayside_oci::{Algorithm, Digest};

    use super::*;
    use crate::s3::keys::{Last, Noted};

    const LIFETIME: Duration = Duration::from_mins(5);
    const SECOND: Duration = Duration::from_secs(1);

    /// One that has signed for a key, which was just seen, with credentials of this name and end.
    struct Scene {
        signer: Signer,
        bucket: Bucket,
        key: StorageKey,
    }

    impl Scene {
        fn new(access_key_id: &str, expiry: Option<SystemTime>) -> Self {
            let credentials = Credentials::new(access_key_id, "secret", None, expiry, "test");
            let last = Last::default();
            let noted = Noted::new(SharedCredentialsProvider::new(credentials), last.clone());
            let config = Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("nowhere"))
                .credentials_provider(noted);
            let client = Client::from_conf(config.build());
            let bucket = Bucket {
                client: client.clone(),
                prompt: client.clone(),
                name: "blobs".to_owned(),
                prefix: String::new(),
            };
            Self {
                signer: Signer::new(client, Keys::Chain(last)),
                bucket,
                key: StorageKey::new(&Digest::of(Algorithm::Sha256, b""), "t1").unwrap(),
            }
        }

        async fn sign(&self, now: SystemTime) -> Entry {
            let signed = self.signer.sign_by_one(&self.bucket, &self.key, LIFETIME, now);
            let (url, key) = signed.await.unwrap();
            Entry {
                url: url.into(),
                signed: now,
                lifetime: LIFETIME,
                key,
                size: 10,
                seen: now,
            }
        }

        async fn url(&self, now: SystemTime) -> Option<String> {
            let blob = (&self.key, 10);
            self.signer.url(&self.bucket, blob, LIFETIME, now).await.unwrap()
        }
    }

    /// B7: a URL is given out no longer than half its life is left to the credentials that signed it.
    #[tokio::test]
    async fn no_url_outlives_its_credentials() {
        let now = SystemTime::now();
        let scene = Scene::new("one", Some(now + LIFETIME / 2 + 30 * SECOND));
        let entry = scene.sign(now).await;
        let first = entry.url.to_string();
        scene.signer.keep(&scene.key, entry);
        assert_eq!(scene.url(now + 29 * SECOND).await, Some(first));
        assert_eq!(scene.url(now + 30 * SECOND).await, None);
        let endless = Scene::new("one", None);
        let entry = endless.sign(now).await;
        let first = entry.url.to_string();
        endless.signer.keep(&endless.key, entry);
        assert_eq!(endless.url(now + 59 * SECOND).await, Some(first));
    }

    /// B7, C4: what credentials signed that were exchanged since is forgotten, and signed again by those of now.
    #[tokio::test]
    async fn no_url_is_kept_of_credentials_that_were_exchanged() {
        let now = SystemTime::now();
        let (before, after) = (Scene::new("before", None), Scene::new("after", None));
        after.sign(now).await;
        after.signer.keep(&after.key, before.sign(now).await);
        let url = after.url(now + SECOND).await.unwrap();
        assert!(url.contains("X-Amz-Credential=after%2F"), "{url}");
    }
}
