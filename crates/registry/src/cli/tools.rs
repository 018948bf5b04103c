//! `gc` and `recount`: what they print and how they end (O5).

use std::fmt::Write as _;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use quayside_config::Config;
use quayside_registry::gc::Mode;
use quayside_registry::tools::{Repair, RunningServer, ToolError};
use serde_json::Value;

use super::Failure;

/// How often somebody who waits is told so.
const PAUSE: Duration = Duration::from_secs(10);

/// How a tool says what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs, in a documented shape.
    Json,
}

/// One of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Pass {
    /// Do everything that is due now.
    #[arg(long)]
    once: bool,
    /// Say what is due, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Pass {
    fn mode(&self) -> Mode {
        if self.dry_run { Mode::DryRun } else { Mode::Run }
    }
}

/// What the fields of a report mean, in the order of the work.
const STEPS: [(&str, &str); 14] = [
    (
        "restingSeconds",
        "seconds until anything is done again, because the clock was stepped",
    ),
    ("limitedTags", "tags that got an end"),
    ("sweptTags", "tags past their time machine"),
    ("sweptPins", "digest pins past their time machine"),
    (
        "prunedImages",
        "images pruned, because their organization was over its quota",
    ),
    ("releasedManifests", "manifests released"),
    ("collectedManifests", "manifests collected"),
    ("collectedBlobs", "blobs collected"),
    ("collectedRepositories", "repositories removed"),
    ("departedOrganizations", "organizations removed"),
    ("expiredFills", "fills given up"),
    ("deletedKeys", "files deleted"),
    ("deletedBytes", "bytes deleted"),
    ("failedKeys", "files that could not be deleted"),
];

/// `gc --once` and `gc --dry-run`.
pub(super) fn gc(config: &Config, pass: &Pass, output: Output) -> Result<(), Failure> {
    let mode = pass.mode();
    let document = ask(config, async |server| patiently("gc", server.gc(mode)).await)?;
    let report = &document["report"];
    print(output, &document, || {
        let mut text = match mode {
            Mode::Run => "done:\n".to_owned(),
            Mode::DryRun => "due now:\n".to_owned(),
        };
        let mut lines = 0;
        for (field, meaning) in STEPS {
            let count = report[field].as_u64().unwrap_or(0);
            if count > 0 {
                lines += 1;
                let _ = writeln!(text, "{count:>12} {meaning}");
            }
        }
        if lines == 0 {
            "nothing to do\n".to_owned()
        } else {
            text
        }
    });
    let failed = report["failedKeys"].as_u64().unwrap_or(0);
    if mode == Mode::Run && failed > 0 {
        return Err(Failure::Found);
    }
    Ok(())
}

/// `recount` and `recount --repair`.
pub(super) fn recount(config: &Config, repair: Repair, output: Output) -> Result<(), Failure> {
    let document = ask(config, async |server| {
        patiently("recount", server.recount(repair)).await
    })?;
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let (found, remaining) = (list("found"), list("remaining"));
    print(output, &document, || {
        let mut text = String::new();
        for discrepancy in &found {
            let _ = writeln!(text, "{}", sentence(discrepancy));
        }
        let _ = match (found.len(), repair) {
            (0, _) => writeln!(text, "everything is counted right"),
            (count, Repair::Leave) => writeln!(text, "{count} found, none repaired; `--repair` does"),
            (count, Repair::PutRight) => {
                writeln!(text, "{count} found, {} left", remaining.len())
            }
        };
        text
    });
    if remaining.is_empty() {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

fn sentence(discrepancy: &Value) -> String {
    let text = |field: &str| discrepancy[field].as_str().unwrap_or("?").to_owned();
    let counted = |field: &str| match &discrepancy[field] {
        Value::Null => "not at all".to_owned(),
        count => format!("with {} bytes, {} times", count["bytes"], count["references"]),
    };
    match discrepancy["kind"].as_str() {
        Some("usage") => format!(
            "{}: uses {} bytes, recorded are {}",
            text("organization"),
            discrepancy["actualBytes"],
            discrepancy["recordedBytes"]
        ),
        Some("content") => format!(
            "{}: {} is counted {}, should be {}",
            text("organization"),
            text("digest"),
            counted("recorded"),
            counted("actual")
        ),
        Some("held") if discrepancy["held"] == true => {
            format!(
                "manifest {} is held and recorded as released",
                discrepancy["manifest"]
            )
        }
        Some("held") => format!(
            "manifest {} is released and recorded as held",
            discrepancy["manifest"]
        ),
        Some("unnamedBlob") => format!("no manifest names the blob {}", text("digest")),
        Some("sharedKey") => format!("the storage key {} is recorded more than once", text("key")),
        _ => discrepancy.to_string(),
    }
}

pub(super) fn ask(
    config: &Config,
    question: impl AsyncFnOnce(&RunningServer) -> Result<Value, ToolError>,
) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
        .map_err(Failure::Other)?;
    let asked = RunningServer::of(config).map(|server| runtime.block_on(question(&server)));
    asked.flatten().map_err(|error| match &error {
        ToolError::Port | ToolError::Token(_) | ToolError::Refused { .. } | ToolError::Unusable { .. } => {
            Failure::Configuration(error.into())
        }
        ToolError::Unreachable { .. } | ToolError::Stranger { .. } => Failure::Unreachable(error.into()),
        ToolError::Client(_) | ToolError::Failed { .. } => Failure::Other(error.into()),
    })
}

/// Says every now and then that the server still works: it answers at the end.
#[expect(clippy::print_stderr, reason = "progress is not the answer")]
async fn patiently<T>(command: &str, work: impl Future<Output = T>) -> T {
    let (started, mut work) = (Instant::now(), pin!(work));
    loop {
        match tokio::time::timeout(PAUSE, &mut work).await {
            Ok(done) => return done,
            Err(_) => eprintln!("{command}: at work for {} s", started.elapsed().as_secs()),
        }
    }
}

#[expect(clippy::print_stdout, reason = "what these commands are for")]
pub(super) fn print(output: Output, document: &Value, text: impl FnOnce() -> String) {
    match output {
        Output::Json => println!("{document}"),
        Output::Text => print!("{}", text()),
    }
}
