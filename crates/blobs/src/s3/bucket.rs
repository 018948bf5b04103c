//! A bucket, and the part of it that is ours.

use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{Refusal, client::Clients};
use crate::{StorageFault, StorageKey};

/// A bucket, and what stands before every key in it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Sets no limit on the time of a call but for connecting, and tries twice.
    pub(crate) client: Client,
    /// Fails soon.
    pub(super) prompt: Client,
    pub(crate) name: String,
    /// Empty, or ends with a slash.
    pub(crate) prefix: String,
}

impl Bucket {
    /// The bucket `name`, in which everything of ours lies below `prefix`: without slashes at its ends, perhaps
    /// empty.
    pub(super) fn new(clients: &Clients, name: &str, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        Self {
            client: clients.patient.clone(),
            prompt: clients.prompt.clone(),
            name: name.to_owned(),
            prefix,
        }
    }

    /// The name of the object that holds the bytes of `key`.
    pub(crate) fn object_key(&self, key: &StorageKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Where an object lies below our prefix; none if it lies elsewhere.
    pub(crate) fn path_of<'a>(&self, object: &'a str) -> Option<&'a str> {
        object.strip_prefix(&self.prefix)
    }

    /// The fault of an operation, `action`, that failed.
    pub(crate) fn fault<E>(&self, action: &'static str, error: &SdkError<E, HttpResponse>) -> StorageFault
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        self.refused(action, Refusal::of(error))
    }

    /// The fault of an operation, `action`, that was refused.
    pub(crate) fn refused(&self, action: &'static str, refusal: Refusal) -> StorageFault {
        StorageFault::bucket(action, &self.name, refusal)
    }
}
