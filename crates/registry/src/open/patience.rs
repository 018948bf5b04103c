//! A database or bucket that is away while we start comes back, mostly (O2).

use std::time::Duration;

use futures::future::BoxFuture;
use quayside_blobs::{StorageFault, StoreError};
use quayside_metadata::MetadataError;
use tokio::time::{Instant, sleep, timeout_at};

use crate::chain::Chain;
use crate::storage_id::StorageIdError;

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long something may be away while it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    in_all: Duration,
    /// The first pause; it doubles.
    pause: Duration,
}

/// What cannot be opened now, and perhaps later.
pub(crate) trait PerhapsAway: std::error::Error + 'static {
    fn is_away(&self) -> bool;
}

impl PerhapsAway for MetadataError {
    fn is_away(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl PerhapsAway for StoreError {
    fn is_away(&self) -> bool {
        let (Self::Storage(StorageFault::Bucket { source, .. })
        | Self::VersioningUnknown {
            source: StorageFault::Bucket { source, .. },
            ..
        }) = self
        else {
            return false;
        };
        // An answer below 500 is about the request: another bucket, other credentials.
        source.status().is_none_or(|status| status >= 500)
    }
}

impl PerhapsAway for StorageIdError {
    fn is_away(&self) -> bool {
        match self {
            Self::Storage { source, .. } => source.is_away(),
            Self::Database(source) => source.is_away(),
            _ => false,
        }
    }
}

impl Patience {
    /// For a command: whoever typed it wants to know.
    pub(crate) const NONE: Self = Self {
        in_all: Duration::ZERO,
        pause: Duration::ZERO,
    };
    /// For a server. Afterwards whatever started it may start it again.
    pub(crate) const SERVER: Self = Self {
        in_all: Duration::from_mins(1),
        pause: Duration::from_millis(500),
    };

    #[cfg(test)]
    pub(super) const fn of(in_all: Duration, pause: Duration) -> Self {
        Self { in_all, pause }
    }

    /// Calls `open` again for as long as what it opens is away.
    pub(crate) async fn open<'a, T, E: PerhapsAway>(
        self,
        place: &str,
        open: impl Fn() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        let end = Instant::now() + self.in_all;
        let mut pause = self.pause;
        loop {
            let error = match open().await {
                Err(error) if error.is_away() && Instant::now() < end => error,
                opened => return opened,
            };
            tracing::warn!(place, error = %Chain(&error), "not reachable, trying again");
            let _ = timeout_at(end, sleep(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
