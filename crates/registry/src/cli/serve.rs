//! `serve`: the registry itself, until somebody stops it.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quayside_config::Config;
use quayside_registry::{Server, SystemClock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long a call to the system may outlast everything else.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn run(config: Config) -> anyhow::Result<()> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(serve(config));
    // A disk that hangs must not keep the process.
    runtime.shutdown_timeout(LAST_PATIENCE);
    ended
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let server = Server::start(config, Arc::new(SystemClock)).await?;
    tracing::info!(address = %server.address(), admin_address = %server.admin_address(), "listening");
    signals.next().await;
    tracing::info!("stopping");
    tokio::select! {
        () = server.shutdown() => tracing::info!("stopped"),
        () = signals.next() => anyhow::bail!("told to stop a second time: transfers were cut"),
    }
    Ok(())
}

/// What asks the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).with_current_span(false).init();
    }
}
