//! Comparing storage with what is recorded of it (O5).

use std::collections::HashMap;

use quayside_oci::Digest;

use super::{Metadata, Result};
use crate::queries::scrub;
use crate::sql::signed;
use crate::{KeyPlace, StoredKey, StoredTotal};

impl Metadata {
    /// The first `limit` blobs with a key that sorts after `after`, in the order of their keys.
    pub async fn stored_keys(&self, after: Option<&str>, limit: u32) -> Result<Vec<StoredKey>> {
        scrub::stored(&self.engine, after, limit).await
    }

    /// How much is recorded as stored. Reads every stored blob's row.
    pub async fn stored_total(&self) -> Result<StoredTotal> {
        scrub::total(&self.engine).await
    }

    /// Where each of these keys is recorded, at one moment; those that are not are left out.
    pub async fn places_of_keys(&self, keys: &[String]) -> Result<HashMap<String, KeyPlace>> {
        let keys: Vec<_> = keys.iter().map(|key| (key.clone(),)).collect();
        scrub::places(&self.engine, &keys).await
    }

    /// Makes garbage of those keys, given with the bytes that lie there, that are recorded nowhere, and gives them
    /// back.
    pub async fn discard_unknown_keys(
        &self,
        keys: &[(String, u64)],
        garbage_not_before: i64,
    ) -> Result<Vec<String>> {
        let unknown = scrub::Unknown {
            keys: keys
                .iter()
                .map(|(key, size)| (key.clone(), signed(*size)))
                .collect(),
            garbage_not_before,
        };
        self.engine
            .write(unknown, |tx, unknown| {
                Box::pin(scrub::discard_unknown(tx, unknown))
            })
            .await
    }

    /// As [`forget_bytes`](Self::forget_bytes), of bytes that are there, `size` of them, and are not the blob's.
    pub async fn forget_wrong_bytes(
        &self,
        digest: &Digest,
        storage_key: &str,
        size: u64,
        garbage_not_before: i64,
    ) -> Result<bool> {
        let wrong = scrub::Wrong {
            digest: digest.clone(),
            storage_key: storage_key.to_owned(),
            size,
            garbage_not_before,
        };
        self.engine
            .write(wrong, |tx, wrong| Box::pin(scrub::forget_wrong(tx, wrong)))
            .await
    }
}
