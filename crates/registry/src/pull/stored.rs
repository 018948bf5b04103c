//! Sending what is stored in a bucket (B7, O2): through us, from upstream where the bucket fails on the way, or by the
//! client itself.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use quayside_blobs::{Blob, Frames, OpenError, ReadError, StorageKey};

use super::Engine;
use super::blobs::BodyError;
use super::passthrough::PassThrough;
use super::readers::Reader;
use super::resume::Order;
use crate::chain::Chain;
use crate::clock::Millis;

/// The longest life that a signature of this kind can have.
const LONGEST_LIFE: Duration = Duration::from_hours(7 * 24);
/// With redirects, how long bytes stay at least that became garbage (B7): who was sent to them may still read them.
const AFTER_REDIRECTS: Duration = Duration::from_hours(1);

/// How stored bytes get to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// From an open file, which outlives its deletion.
    Files,
    /// From a bucket, through us.
    Streamed,
    /// Clients fetch them from the bucket.
    Redirected,
}

impl Delivery {
    /// How long bytes stay that became garbage, `grace` being what is configured (G3, B7).
    pub(crate) fn garbage_stays(self, grace: Duration) -> Duration {
        match self {
            Self::Files | Self::Streamed => grace,
            Self::Redirected => grace.max(AFTER_REDIRECTS),
        }
    }
}

/// A stored blob that is to be sent.
pub(super) struct Stored {
    pub(super) blob: Blob,
    pub(super) key: StorageKey,
    /// What is ordered from upstream if storage fails; `None` if upstream is not to be asked (B1, C2).
    pub(super) order: Option<Order>,
}

/// What a look at storage came to.
pub(super) enum Opened {
    Here(Blob),
    /// The client is to fetch it from there.
    At(String),
}

impl Engine {
    /// Opens a stored blob, or finds where the client is to fetch it.
    pub(super) async fn open_stored(&self, key: &StorageKey, size: u64) -> Result<Opened, OpenError> {
        if self.delivery == Delivery::Files {
            return self.store.open(key, size).await.map(Opened::Here);
        }
        if let Some(fault) = self.outage.at(Instant::now()) {
            return Err(OpenError::Io(fault));
        }
        let opened = self.open_in_bucket(key, size).await;
        match &opened {
            Err(OpenError::Io(fault)) => self.outage.failed(fault, Instant::now()),
            // What is known of a blob may be a minute old; the first byte of it is not.
            Ok(Opened::Here(_)) => {}
            _ => self.outage.ended(),
        }
        opened
    }

    async fn open_in_bucket(&self, key: &StorageKey, size: u64) -> Result<Opened, OpenError> {
        if self.delivery == Delivery::Redirected {
            let life = self.grace.min(LONGEST_LIFE);
            let now = SystemTime::UNIX_EPOCH + since_epoch(self.now());
            if let Some(url) = self.store.presign(key, size, life, now).await? {
                return Ok(Opened::At(url));
            }
        }
        self.store.open(key, size).await.map(Opened::Here)
    }

    /// The bytes of a blob in a bucket, which are renewed while they are read (G3).
    pub(super) fn send_stored(
        self: &Arc<Self>,
        stored: Stored,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, BodyError>> {
        let sending = Sending {
            engine: Arc::clone(self),
            reading: Reading::Bucket(stored.blob.reader(range.clone())),
            order: stored.order,
            rest: range,
            heard: Heard::No,
            _reader: self.readers.enter(&stored.key, self.clock.monotonic()),
        };
        stream::unfold(sending, Sending::step).boxed()
    }
}

fn since_epoch(now: Millis) -> Duration {
    Duration::from_millis(u64::try_from(now).unwrap_or(0))
}

struct Sending {
    engine: Arc<Engine>,
    reading: Reading,
    order: Option<Order>,
    rest: Range<u64>,
    heard: Heard,
    _reader: Reader,
}

/// Whether the bucket has sent anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    No,
    Yes,
}

enum Reading {
    Bucket(Frames),
    Passing(Box<PassThrough>),
    Over,
}

impl Sending {
    async fn step(mut self) -> Option<(Result<Bytes, BodyError>, Self)> {
        let next = self.next().await?;
        if next.is_err() {
            self.reading = Reading::Over;
        }
        Some((next, self))
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let error = match &mut self.reading {
            Reading::Over => return None,
            Reading::Passing(passing) => {
                return passing.next().await.map_err(BodyError::Pull).transpose();
            }
            Reading::Bucket(frames) => match frames.next().await? {
                Ok(frame) => {
                    if mem::replace(&mut self.heard, Heard::Yes) == Heard::No {
                        self.engine.outage.ended();
                    }
                    self.rest.start += frame.len() as u64;
                    return Some(Ok(frame));
                }
                Err(error) => error,
            },
        };
        if let ReadError::Storage(fault) = &error {
            self.engine.outage.failed(fault, Instant::now());
        }
        let Some(order) = self.order.take() else {
            return Some(Err(BodyError::Read(error)));
        };
        tracing::warn!(digest = %order.digest, error = %Chain(&error), "stored blob cannot be read on, passing through");
        match PassThrough::start(&self.engine.passthrough, order, self.rest.clone()).await {
            Ok(mut passing) => {
                let first = passing.next().await.map_err(BodyError::Pull).transpose();
                self.reading = Reading::Passing(Box::new(passing));
                first
            }
            Err(error) => Some(Err(BodyError::Pull(error))),
        }
    }
}
