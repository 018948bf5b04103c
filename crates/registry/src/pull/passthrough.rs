//! O2: when storage fails, blobs go from upstream to the one client that asked, verified on the way.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quayside_blobs::{Frames, WITHHELD_TAIL};
use quayside_oci::Hasher;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::PullError;
use super::resume::{Order, Source};

/// Transfers that pass through at the same time, per upstream host.
const PER_HOST: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// Bounds the transfers that pass through.
#[derive(Default)]
pub(crate) struct Gates {
    hosts: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

impl Gates {
    /// Waits up to 10 s for a place.
    async fn enter(&self, host: &Arc<str>) -> Result<OwnedSemaphorePermit, PullError> {
        let gate = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(PER_HOST));
            Arc::clone(hosts.entry(Arc::clone(host)).or_insert_with(new))
        };
        let busy = || PullError::Busy {
            upstream: Arc::clone(host),
        };
        tokio::time::timeout(PATIENCE, gate.acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(busy)
    }
}

/// A part of a blob on its way from upstream to one client. The last 64 KiB of the blob are withheld until all of
/// it is verified, as in a fill (B3); memory is bounded by that and one chunk.
pub(crate) struct PassThrough {
    order: Order,
    source: Source,
    hasher: Option<Hasher>,
    /// Read and hashed, not yet due.
    held: VecDeque<Bytes>,
    /// Where `held` begins.
    position: u64,
    /// What was read in all.
    read: u64,
    wanted: Range<u64>,
    _place: OwnedSemaphorePermit,
}

impl PassThrough {
    /// Asks upstream for the whole blob, of which the client gets `wanted`.
    pub(crate) async fn start(gates: &Gates, order: Order, wanted: Range<u64>) -> Result<Self, PullError> {
        let hasher = Hasher::new(order.digest.algorithm());
        Self::resume(gates, order, hasher, wanted, 0).await
    }

    /// Goes on where a spool ended: the client has everything before `wanted`, `prefix` are the bytes that precede
    /// `from`, which are hashed again and not sent.
    pub(crate) async fn take_over(
        gates: &Gates,
        order: Order,
        mut prefix: Frames,
        wanted: Range<u64>,
    ) -> Result<Self, PullError> {
        let mut hasher = Hasher::new(order.digest.algorithm());
        let mut from = 0;
        while let Some(frame) = prefix.next().await {
            match frame {
                Ok(frame) => {
                    hasher.update(&frame);
                    from += frame.len() as u64;
                }
                Err(error) => return Err(order.mismatch(error.to_string())),
            }
        }
        Self::resume(gates, order, hasher, wanted, from).await
    }

    async fn resume(
        gates: &Gates,
        order: Order,
        hasher: Hasher,
        wanted: Range<u64>,
        from: u64,
    ) -> Result<Self, PullError> {
        let place = gates.enter(&order.served.address).await?;
        let source = Source::open(order.clone(), from).await?;
        let held = VecDeque::new();
        Ok(Self {
            order,
            source,
            hasher: Some(hasher),
            held,
            position: from,
            read: from,
            wanted,
            _place: place,
        })
    }

    /// The next bytes for the client; an error cuts its body short.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, PullError> {
        loop {
            if self.position >= self.wanted.end {
                return Ok(None);
            }
            if let Some(chunk) = self.release() {
                return Ok(Some(chunk));
            }
            if self.hasher.is_none() {
                return Ok(None);
            }
            match self.source.next().await? {
                Some(chunk) => self.take(chunk)?,
                None => self.verify()?,
            }
        }
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), PullError> {
        self.read += chunk.len() as u64;
        if self.read > self.order.size {
            return Err(self.order.mismatch("it goes on after its declared size"));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.held.push_back(chunk);
        Ok(())
    }

    fn verify(&mut self) -> Result<(), PullError> {
        if self.read != self.order.size {
            return Err(self.order.mismatch("it ends before its declared size"));
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(digest) if digest == self.order.digest => Ok(()),
            _ => Err(self.order.mismatch("the bytes do not hash to the digest")),
        }
    }

    /// Takes from the held bytes what is due and wanted.
    fn release(&mut self) -> Option<Bytes> {
        let verified = self.hasher.is_none();
        let due = if verified {
            self.order.size
        } else {
            self.order.size.saturating_sub(WITHHELD_TAIL)
        };
        loop {
            let (position, until) = (self.position, due.min(self.wanted.end));
            let chunk = self.held.front_mut().filter(|_| position < until)?;
            let room = usize::try_from(until - position).unwrap_or(usize::MAX);
            let mut part = chunk.split_to(room.min(chunk.len()));
            if chunk.is_empty() {
                self.held.pop_front();
            }
            self.position += part.len() as u64;
            let early = self.wanted.start.saturating_sub(position).min(part.len() as u64);
            let part = part.split_off(usize::try_from(early).unwrap_or(part.len()));
            if !part.is_empty() {
                return Some(part);
            }
        }
    }
}
