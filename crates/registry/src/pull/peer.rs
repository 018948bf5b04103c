//! Reading a fill that runs on another replica (B2, ENGINE §3.4).

pub(crate) mod failure;

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use quayside_metadata::HeldFill;
use quayside_oci::Digest;

use self::failure::Failure;
use crate::auth::peer::PeerTokens;
use crate::clock::Millis;

/// How long a replica that says nothing counts as reachable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a transfer may stand still before the replica is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(1);
/// A failure is a few lines.
const LONGEST_FAILURE: u64 = 64 << 10;

/// The client's end of the peer ports.
pub(crate) struct Peers {
    client: reqwest::Client,
    tokens: PeerTokens,
}

/// What a replica that was asked for a fill answers.
pub(crate) enum Opened {
    /// The bytes follow.
    Bytes(PeerBody),
    /// It is there, and there are no bytes yet.
    Waiting,
    /// The fill failed, and this is what its clients are told.
    Failed(Failure),
    /// It has no such fill any more, or is about to end it.
    Gone,
}

/// Why a replica could not be read from. Who follows it does without.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It did not answer within 2 s, or sent nothing for one.
    #[error("hear from the replica in time")]
    Silent,
    #[error("ask the replica")]
    Unreachable(#[from] reqwest::Error),
    /// It answered something that makes no sense.
    #[error("understand the replica: status {0}")]
    Status(StatusCode),
    /// It would send other bytes than the missing ones.
    #[error("follow the replica: it announces {announced:?} bytes where {missing} are missing")]
    Length { announced: Option<u64>, missing: u64 },
    #[error("sign the request to the replica")]
    Unsigned,
}

impl Peers {
    /// Plain HTTP, straight to the replica: what the environment says about proxies is meant for upstreams.
    pub(crate) fn new(tokens: PeerTokens) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            // A follower reads one long answer; nobody else has a use for its connection.
            .pool_max_idle_per_host(0)
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { client, tokens })
    }

    /// Signs and verifies what replicas ask each other with.
    pub(crate) fn tokens(&self) -> &PeerTokens {
        &self.tokens
    }

    /// Asks for the bytes of a running fill from `from` on; returns within 2 s.
    pub(crate) async fn open(
        &self,
        held: &HeldFill,
        digest: &Digest,
        from: u64,
        now: Millis,
    ) -> Result<Opened, PeerError> {
        let token = self.tokens.issue(digest, now).ok_or(PeerError::Unsigned)?;
        let url = format!("http://{}/peer/fills/{}?from={from}", held.address, held.token);
        let asked = self.client.get(url).bearer_auth(token).send();
        tokio::time::timeout(PATIENCE, async { read_head(asked.await?, held.size, from).await })
            .await
            .unwrap_or(Err(PeerError::Silent))
    }
}

async fn read_head(answer: reqwest::Response, size: u64, from: u64) -> Result<Opened, PeerError> {
    match answer.status() {
        StatusCode::OK => {
            let missing = size.saturating_sub(from);
            let announced = length(&answer);
            if announced != Some(missing) {
                return Err(PeerError::Length { announced, missing });
            }
            Ok(Opened::Bytes(PeerBody(answer)))
        }
        StatusCode::ACCEPTED => Ok(Opened::Waiting),
        StatusCode::CONFLICT if length(&answer).is_some_and(|length| length <= LONGEST_FAILURE) => {
            Ok(Opened::Failed(answer.json().await?))
        }
        StatusCode::NOT_FOUND => Ok(Opened::Gone),
        status => Err(PeerError::Status(status)),
    }
}

fn length(answer: &reqwest::Response) -> Option<u64> {
    let value = answer.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// The bytes that another replica sends while it receives them.
pub(crate) struct PeerBody(reqwest::Response);

impl PeerBody {
    /// The next bytes; `None` at the end, which is where the announced length ends.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        match tokio::time::timeout(SILENCE, self.0.chunk()).await {
            Ok(chunk) => Ok(chunk?),
            Err(_) => Err(PeerError::Silent),
        }
    }
}
