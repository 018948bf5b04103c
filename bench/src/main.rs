//! `quayside-bench` measures the registry beside the best of its field on one machine in one run.
//!
//! `run` starts every program in a network namespace of its own, drives it with one client, and writes what it
//! measured; `scale` measures what grows with what is stored; `report` turns results into tables and plots.

mod client;
mod content;
mod http;
mod image;
mod load;
mod namespace;
mod origin;
mod output;
mod process;
mod relay;
mod report;
mod run;
mod scale;
mod site;
mod stage;
mod subject;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the registry beside nginx, varnish and distribution.
#[derive(Parser)]
#[command(name = "quayside-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure all subjects and write results to a directory.
    Run(run::Arguments),
    /// Measure what could grow with what is stored, at several sizes.
    Scale(scale::Arguments),
    /// Serve generated images to those that are measured.
    #[command(hide = true)]
    Origin(origin::Arguments),
    /// Print the tables of what was measured, or write docs/benchmarks.md.
    Report(report::command::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::main(&arguments),
        Command::Scale(arguments) => scale::main(&arguments),
        Command::Origin(arguments) => origin::main(&arguments),
        Command::Report(arguments) => report::command::main(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a program that fails says why where people look"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("quayside-bench: {error:#}");
}
