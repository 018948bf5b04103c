//! Which credentials sign at the moment: a presigned URL dies with them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};

use super::credentials::FromFiles;

/// What may be told of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    access_key_id: String,
    /// When they end; never, if there is none.
    pub(super) expiry: Option<SystemTime>,
}

/// Tells which credentials sign.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// Those that lie in files now.
    Files(FromFiles),
    /// Those that the library asked for last, and uses until it asks again.
    Chain(Last),
}

impl Keys {
    /// None: nothing has been signed yet, or there are no credentials.
    pub(super) async fn current(&self) -> Option<Key> {
        match self {
            Self::Files(files) => files.provide_credentials().await.ok().map(|now| Key::of(&now)),
            Self::Chain(last) => last.0.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Key {
    fn of(credentials: &Credentials) -> Self {
        Self {
            access_key_id: credentials.access_key_id().to_owned(),
            expiry: credentials.expiry(),
        }
    }
}

/// What a provider gave last.
#[derive(Clone, Debug, Default)]
pub(super) struct Last(Arc<Mutex<Option<Key>>>);

/// Notes what another provider gives.
#[derive(Clone)]
pub(super) struct Noted {
    provider: SharedCredentialsProvider,
    last: Last,
}

impl Noted {
    pub(super) fn new(provider: SharedCredentialsProvider, last: Last) -> Self {
        Self { provider, last }
    }
}

impl ProvideCredentials for Noted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let credentials = self.provider.provide_credentials().await?;
            let mut last = self.last.0.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(Key::of(&credentials));
            drop(last);
            Ok(credentials)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}

impl fmt::Debug for Noted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Noted").finish_non_exhaustive()
    }
}
