//! B3: reading a blob from upstream through any number of broken connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use quayside_metadata::OrganizationId;
use quayside_oci::{Digest, RepositoryName};
use quayside_upstream::{BlobAnswer, BlobBody, UpstreamError};

use super::error::{PullError, Subject};
use crate::chain::Chain;
use crate::organizations::Served;

const ATTEMPTS_WITHOUT_PROGRESS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// One blob to be read from one organization's upstream.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) served: Arc<Served>,
    /// The local name of the repository through which it is reachable.
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    /// The declared size; what upstream sends must have exactly this length (B10).
    pub(crate) size: u64,
}

/// Through which organization and repository an upstream is asked: another one may get another answer.
pub(crate) type Origin = (OrganizationId, RepositoryName);

impl Order {
    pub(crate) fn origin(&self) -> Origin {
        (self.served.id, self.repository.clone())
    }

    async fn get(&self, from: u64) -> Result<BlobAnswer, UpstreamError> {
        let name = self.served.spec.remote.upstream_repository(&self.repository);
        self.served.upstream.get_blob(&name, &self.digest, from).await
    }

    pub(crate) fn failed(&self, source: UpstreamError) -> PullError {
        PullError::Upstream {
            upstream: Arc::clone(&self.served.address),
            subject: Subject::Blob,
            source,
        }
    }

    pub(crate) fn mismatch(&self, reason: impl Into<Arc<str>>) -> PullError {
        PullError::Mismatch {
            upstream: Arc::clone(&self.served.address),
            reason: reason.into(),
        }
    }
}

/// The bytes of a blob in order, each once, from `from` to the end. Not verified.
pub(crate) struct Source {
    order: Order,
    body: BlobBody,
    /// What was handed out, counted from the start of the blob.
    position: u64,
    /// Bytes that upstream sends again because it ignored the Range.
    known: u64,
    failures: u32,
}

impl Source {
    /// Asks upstream; returns once it has answered with a head.
    pub(crate) async fn open(order: Order, from: u64) -> Result<Self, PullError> {
        let answer = order.get(from).await.map_err(|error| order.failed(error))?;
        let known = check(&order, &answer, from)?;
        Ok(Self {
            order,
            body: answer.body,
            position: from,
            known,
            failures: 0,
        })
    }

    /// As [`Source::open`], for a transfer that somebody else began: an upstream that cannot be reached is asked as often
    /// as after a connection of our own that broke.
    pub(crate) async fn go_on(order: Order, from: u64) -> Result<Self, PullError> {
        let mut failures = 0;
        let (body, known) = match order.get(from).await {
            Ok(answer) => {
                let known = check(&order, &answer, from)?;
                (answer.body, known)
            }
            Err(error) => ask_again(&order, from, &mut failures, error).await?,
        };
        Ok(Self {
            order,
            body,
            position: from,
            known,
            failures,
        })
    }

    /// The next bytes; `None` at upstream's end, which is where it should be only if the size says so.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, PullError> {
        loop {
            match self.body.next().await {
                None => return Ok(None),
                // All bytes are here, however the connection ended: the digest decides.
                Some(Err(_)) if self.position >= self.order.size => return Ok(None),
                Some(Err(error)) => self.resume(error).await?,
                Some(Ok(mut chunk)) => {
                    let again = self.known.min(chunk.len() as u64);
                    self.known -= again;
                    chunk.advance(usize::try_from(again).unwrap_or(chunk.len()));
                    if !chunk.is_empty() {
                        self.position += chunk.len() as u64;
                        self.failures = 0;
                        return Ok(Some(chunk));
                    }
                }
            }
        }
    }

    async fn resume(&mut self, error: UpstreamError) -> Result<(), PullError> {
        (self.body, self.known) = ask_again(&self.order, self.position, &mut self.failures, error).await?;
        Ok(())
    }
}

/// After `error`, until upstream answers: the body, and how much of it is known already.
async fn ask_again(
    order: &Order,
    from: u64,
    failures: &mut u32,
    mut error: UpstreamError,
) -> Result<(BlobBody, u64), PullError> {
    while error.is_outage() && *failures < ATTEMPTS_WITHOUT_PROGRESS {
        *failures += 1;
        tracing::debug!(
            digest = %order.digest, upstream = %order.served.address, position = from,
            attempt = *failures, error = %Chain(&error), "transfer broken, resuming"
        );
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(*failures - 1)).await;
        match order.get(from).await {
            Ok(answer) => {
                let known = check(order, &answer, from)?;
                return Ok((answer.body, known));
            }
            Err(next) => error = next,
        }
    }
    Err(order.failed(error))
}

/// How many bytes of the answer are known already; refuses an answer that cannot add up to the declared size.
fn check(order: &Order, answer: &BlobAnswer, from: u64) -> Result<u64, PullError> {
    if answer.start > from {
        return Err(order.mismatch(format!(
            "asked for bytes from {from}, got them from {}",
            answer.start
        )));
    }
    if let Some(length) = answer.length
        && answer.start.saturating_add(length) != order.size
    {
        return Err(PullError::Length {
            upstream: Arc::clone(&order.served.address),
            declared: order.size,
            announced: answer.start.saturating_add(length),
        });
    }
    Ok(from - answer.start)
}
