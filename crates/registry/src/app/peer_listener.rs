//! The peer port as the others are told of it.

use std::net::SocketAddr;

use anyhow::Context as _;
use quayside_config::Config;
use tokio::net::TcpListener;

use super::bind;

/// The peer port, bound before anybody is told its address.
pub(super) struct PeerListener {
    pub(super) tcp: TcpListener,
    pub(super) bound: SocketAddr,
    /// `host:port`, as other replicas reach it.
    pub(super) advertised: Option<String>,
}

impl PeerListener {
    /// Nothing where the database is of one process.
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(peer) = &config.peer else {
            return Ok(None);
        };
        let tcp = bind(peer.listen).await?;
        let bound = tcp.local_addr()?;
        let advertised = peer.advertised(bound, |name| std::env::var(name).ok());
        let advertised = advertised
            .map_err(anyhow::Error::msg)
            .context("find the address that other replicas reach")?;
        if advertised.is_none() {
            tracing::warn!(
                "no address is known under which other replicas reach this one: they fetch by themselves"
            );
        }
        Ok(Some(Self {
            tcp,
            bound,
            advertised,
        }))
    }
}
