//! What can be typed, and how it ends.

mod migrate;
mod password;
mod prune;
mod scrub;
mod serve;
mod storage;
mod tools;
mod why;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quayside_config::Config;
use quayside_registry::scrub::Depth;
use quayside_registry::tools::Repair;

use tools::{Output, Pass};

/// Something went wrong that no other status is for.
const EXIT_FAILURE: u8 = 1;
/// A usage or configuration fault.
const EXIT_CONFIGURATION: u8 = 2;
/// The server that was to be asked is not reachable (O5).
const EXIT_UNREACHABLE: u8 = 3;

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
    /// Bring the tables of the database up to date. A registry does so itself when it starts; this is for who wants it
    /// done before.
    Migrate {
        /// config.yaml.
        #[arg(long)]
        config: PathBuf,
    },
    /// About the storage of blobs.
    Storage {
        #[command(subcommand)]
        command: StorageCommand,
    },
    /// Ask the running registry to collect garbage.
    Gc {
        #[command(flatten)]
        pass: Pass,
        /// config.yaml of the running registry.
        #[arg(long)]
        config: PathBuf,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Ask the running registry to compare what it has counted with what is there.
    Recount {
        /// Put right what is wrong.
        #[arg(long)]
        repair: bool,
        /// config.yaml of the running registry.
        #[arg(long)]
        config: PathBuf,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Ask the running registry to compare its storage with its database.
    Scrub {
        /// Hash all bytes that are stored, and compare them with their digests.
        #[arg(long)]
        verify: bool,
        /// Put right what is wrong.
        #[arg(long)]
        repair: bool,
        /// config.yaml of the running registry.
        #[arg(long)]
        config: PathBuf,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Ask the running registry what would be pruned to make room.
    Prune {
        /// Only say so; nothing is changed. (The registry prunes by itself, when a pull needs it.)
        #[arg(long, required = true)]
        plan: bool,
        /// The organization.
        organization: String,
        /// Room for how many bytes: 41000000, 41MB, 40MiB.
        #[arg(value_parser = prune::bytes)]
        bytes: u64,
        /// config.yaml of the running registry.
        #[arg(long)]
        config: PathBuf,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Ask the running registry what it knows of an image, who may pull it, and what the next pull would do.
    Why {
        /// `[host/]organization/repository[:tag][@digest]`
        image: String,
        /// Whose pull it would be: a user, or a robot as `<organization>+<name>`. Else somebody who does not log in.
        #[arg(long = "as", value_name = "USER")]
        login: Option<String>,
        /// config.yaml of the running registry.
        #[arg(long)]
        config: PathBuf,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Hash a password, typed or from the standard input, for `auth.users` in config.yaml.
    Password {
        /// Draw a random password for a robot instead, and print it with its hash.
        #[arg(long)]
        robot: bool,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON schema of config.yaml.
    Schema,
}

#[derive(Subcommand)]
enum StorageCommand {
    /// Make the database belong to the storage that is configured, whatever it belonged to: after one of them was
    /// lost. The registry has to be stopped.
    Adopt {
        /// config.yaml.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Why a command ends badly; each has its exit status.
enum Failure {
    Configuration(anyhow::Error),
    /// The server that a tool asks is not there.
    Unreachable(anyhow::Error),
    /// Something was found and not repaired; it was printed.
    Found,
    Other(anyhow::Error),
}

/// Runs what was typed.
pub(crate) fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(error)) => complain(&error, EXIT_CONFIGURATION),
        Err(Failure::Unreachable(error)) => complain(&error, EXIT_UNREACHABLE),
        Err(Failure::Found) => ExitCode::from(EXIT_FAILURE),
        Err(Failure::Other(error)) => complain(&error, EXIT_FAILURE),
    }
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
        Command::Serve { config } => serve::run(read(&config)?).map_err(Failure::Other),
        Command::Check { config } => {
            read(&config)?;
            println!("{} is good", config.display());
            Ok(())
        }
        Command::Config {
            command: ConfigCommand::Schema,
        } => {
            println!("{:#}", quayside_config::schema());
            Ok(())
        }
        Command::Migrate { config } => migrate::migrate(&read(&config)?).map_err(Failure::Other),
        Command::Storage {
            command: StorageCommand::Adopt { config },
        } => storage::adopt(&read(&config)?).map_err(Failure::Other),
        Command::Gc { pass, config, output } => tools::gc(&read(&config)?, &pass, output),
        Command::Recount {
            repair,
            config,
            output,
        } => {
            let repair = if repair { Repair::PutRight } else { Repair::Leave };
            tools::recount(&read(&config)?, repair, output)
        }
        Command::Scrub {
            verify,
            repair,
            config,
            output,
        } => {
            let depth = if verify { Depth::Content } else { Depth::Presence };
            let repair = if repair { Repair::PutRight } else { Repair::Leave };
            scrub::scrub(&read(&config)?, depth, repair, output)
        }
        Command::Prune {
            plan: _,
            organization,
            bytes,
            config,
            output,
        } => prune::plan(&read(&config)?, &organization, bytes, output),
        Command::Why {
            image,
            login,
            config,
            output,
        } => why::why(&read(&config)?, &image, login.as_deref(), output),
        Command::Password { robot: false } => password::hash().map_err(Failure::Other),
        Command::Password { robot: true } => password::draw().map_err(Failure::Other),
    }
}

/// Reads config.yaml; whatever is wrong with it is a fault of configuration.
fn read(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let config =
        text.and_then(|text| Config::parse(&text).with_context(|| format!("{} is not good", path.display())));
    config.map_err(Failure::Configuration)
}
