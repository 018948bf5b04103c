//! Puts the parts together; the one place that sees all of them.

use std::net::SocketAddr;
use std::sync::Arc;

use quayside_config::Config;

use crate::clock::Clock;

/// A running registry.
pub struct Server {
    address: SocketAddr,
    admin_address: SocketAddr,
}

impl Server {
    /// Starts everything that `config` asks for; returns once both ports accept connections.
    pub async fn start(_config: Config, _clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        anyhow::bail!("not there yet")
    }

    /// Where the OCI API is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the probes are served.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Reads the organizations file at once instead of at the next tick.
    pub async fn reload_now(&self) {}

    /// Stops accepting, finishes transfers, flushes renewals.
    pub async fn shutdown(self) {}
}
