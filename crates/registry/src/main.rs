//! `quayside-registry`: the command line.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quayside_config::Config;
use quayside_registry::{Server, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A usage or configuration fault.
const EXIT_CONFIGURATION: u8 = 2;

/// A pull-through cache for container registries.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Serve {
        /// config.yaml.
        #[arg(long)]
        config: PathBuf,
    },
    /// Say whether a config.yaml is good, without starting anything.
    Check {
        /// config.yaml.
        #[arg(long)]
        config: PathBuf,
    },
    /// About config.yaml itself.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON schema of config.yaml.
    Schema,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(error)) => complain(&error, EXIT_CONFIGURATION),
        Err(Failure::Other(error)) => complain(&error, 1),
    }
}

enum Failure {
    Configuration(anyhow::Error),
    Other(anyhow::Error),
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a program that ends, perhaps before it can log"
)]
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("quayside-registry: {error:#}");
    ExitCode::from(code)
}

#[expect(clippy::print_stdout, reason = "what these commands are for")]
fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { config } => {
            let config = read(&config).map_err(Failure::Configuration)?;
            serve(config).map_err(Failure::Other)
        }
        Command::Check { config } => {
            read(&config).map_err(Failure::Configuration)?;
            println!("{} is good", config.display());
            Ok(())
        }
        Command::Config {
            command: ConfigCommand::Schema,
        } => {
            println!("{:#}", quayside_config::schema());
            Ok(())
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Config::parse(&text).with_context(|| format!("{} is not good", path.display()))
}

fn serve(config: Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).with_current_span(false).init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let server = Server::start(config, Arc::new(SystemClock)).await?;
        tracing::info!(address = %server.address(), admin_address = %server.admin_address(), "listening");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        server.shutdown().await;
        tracing::info!("stopped");
        Ok(())
    })
}
