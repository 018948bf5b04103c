//! `scrub`: what it prints while it works, and how it ends (O5).

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use quayside_config::Config;
use quayside_registry::scrub::Depth;
use quayside_registry::tools::Repair;
use serde_json::Value;

use super::Failure;
use super::tools::{Output, ask, print};

/// How often progress is told where it is kept: in a log, in a file.
const PAUSE: Duration = Duration::from_secs(10);

/// `scrub`, with or without `--verify` and `--repair`.
pub(super) fn scrub(config: &Config, depth: Depth, repair: Repair, output: Output) -> Result<(), Failure> {
    let mut ticker = Ticker::new();
    let watch = |event: &Value| {
        let (progress, found) = (&event["progress"], &event["found"]);
        if !progress.is_null() {
            ticker.show(&sentence_of_progress(progress, depth));
        } else if !found.is_null() && output == Output::Text {
            ticker.clear();
            say(&sentence(found));
        }
    };
    let asked = ask(config, async |server| server.scrub(depth, repair, watch).await);
    ticker.clear();
    let document = asked?;
    let report = &document["report"];
    print(output, &document, || {
        let count = |field: &str| report[field].as_u64().unwrap_or(0);
        let end = match (count("found"), repair) {
            (0, _) => "nothing is wrong".to_owned(),
            (found, Repair::Leave) => {
                format!("{found} found, none repaired; `--repair` does what can be done")
            }
            (found, Repair::PutRight) => format!("{found} found, {} left", count("remaining")),
        };
        format!("{} stored blobs compared: {end}\n", count("blobs"))
    });
    if report["remaining"] == 0 {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

/// Where progress is shown: in place on a terminal, now and then elsewhere.
struct Ticker {
    terminal: bool,
    shown: Instant,
}

#[expect(clippy::print_stderr, reason = "progress is not the answer")]
impl Ticker {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            shown: Instant::now(),
        }
    }

    fn show(&mut self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{text}");
        } else if self.shown.elapsed() >= PAUSE {
            eprintln!("{text}");
            self.shown = Instant::now();
        }
    }

    /// Makes room for what is printed for good.
    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

#[expect(clippy::print_stdout, reason = "what these commands are for")]
fn say(line: &str) {
    println!("{line}");
}

fn sentence_of_progress(progress: &Value, depth: Depth) -> String {
    let count = |field: &str| progress[field].as_u64().unwrap_or(0);
    let blobs = format!("{} of {} blobs", count("blobs"), count("totalBlobs"));
    match depth {
        Depth::Presence => blobs,
        Depth::Content => format!(
            "{blobs}, {} of {} MB hashed",
            count("verifiedBytes") / 1_000_000,
            count("totalBytes") / 1_000_000
        ),
    }
}

fn sentence(found: &Value) -> String {
    let text = |field: &str| found[field].as_str().unwrap_or("?");
    let what = match found["kind"].as_str() {
        Some("orphan") => format!("{} belongs to nothing, {} bytes", text("key"), found["bytes"]),
        Some("emptyDirectory") => format!("{} is empty", text("path")),
        Some("abandonedUpload") => format!(
            "an upload to {} was begun, and nobody goes on with it",
            text("key")
        ),
        Some("leftover") => format!("{} is not ours", text("path")),
        Some("lost") => format!("{} has lost its bytes at {}", text("digest"), text("key")),
        Some("wrongLength") => format!(
            "{} has {} bytes instead of {} at {}",
            text("digest"),
            found["actualBytes"],
            found["expectedBytes"],
            text("key")
        ),
        Some("wrongContent") => format!(
            "{} has the bytes of {} at {}",
            text("digest"),
            text("actualDigest"),
            text("key")
        ),
        Some("unreadable") => format!("{} cannot be read: {}", text("digest"), text("reason")),
        Some("badKey") => format!(
            "{} is stored at {:?}, which is no key",
            text("digest"),
            text("key")
        ),
        _ => found.to_string(),
    };
    if found["repaired"] == true {
        format!("{what}: repaired")
    } else {
        what
    }
}
