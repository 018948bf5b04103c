//! Everything that the registry says, searched for what it must not say.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Every password and token of the tests begins with this, so one search finds any of them (A6).
pub const CANARY: &str = "canary-";

#[derive(Debug, Default)]
struct Captured {
    /// Encoded forms of secrets, which do not begin with [`CANARY`].
    encoded: Vec<String>,
    /// Lines with a secret in them.
    leaks: Vec<String>,
    /// How many lines were searched.
    searched: usize,
}

fn captured() -> MutexGuard<'static, Captured> {
    static CAPTURED: OnceLock<Mutex<Captured>> = OnceLock::new();
    CAPTURED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Sends the log of this process through the search, at the most talkative level of our own crates.
pub(super) fn capture() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let filter = EnvFilter::new("debug,quayside_registry=trace,quayside_upstream=trace,sqlx=warn");
        // A test that installed its own subscriber first keeps it.
        let _ = tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter)
            .with_writer(Searched)
            .try_init();
    });
}

/// Makes the base64 form of Basic credentials a thing to search for.
pub(super) fn watch_for(username: &str, password: &str) {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    let mut captured = captured();
    if !captured.encoded.contains(&encoded) {
        captured.encoded.push(encoded);
    }
}

/// Whether a secret is in `bytes`.
pub(super) fn betrays(bytes: &[u8]) -> bool {
    // The search of the standard library is compiled with optimisation, one of our own would not be.
    let text = String::from_utf8_lossy(bytes);
    text.contains(CANARY)
        || captured()
            .encoded
            .iter()
            .any(|secret| text.contains(secret.as_str()))
}

/// Panics if a secret was in any line of the log so far.
pub fn assert_nothing_leaked() {
    let captured = captured();
    assert!(
        captured.searched > 0,
        "the registry logged nothing, so nothing was searched"
    );
    assert!(
        captured.leaks.is_empty(),
        "secrets in the log: {:#?}",
        captured.leaks
    );
}

struct Searched;

impl<'a> MakeWriter<'a> for Searched {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for Searched {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        captured().searched += 1;
        if betrays(line) {
            captured().leaks.push(String::from_utf8_lossy(line).into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
