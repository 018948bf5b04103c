//! Where houses stand: a directory that is gone when the process of the tests is, however it ends.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

struct Scratch {
    root: PathBuf,
    /// Waits for the end of its input, which comes with our own, and clears up. A registry that still runs while its
    /// house is torn down may write into it once more, so the house alone cannot.
    _sweeper: Child,
}

/// A fresh directory for one house.
pub(super) fn directory() -> TempDir {
    static SCRATCH: OnceLock<Scratch> = OnceLock::new();
    let scratch = SCRATCH.get_or_init(|| {
        let root = tempfile::Builder::new()
            .prefix("quayside-test-")
            .tempdir()
            .unwrap()
            .keep();
        let sweeper = Command::new("sh")
            .args(["-c", "cat >/dev/null; rm -rf -- \"$0\""])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Scratch {
            root,
            _sweeper: sweeper,
        }
    });
    tempfile::Builder::new()
        .prefix("house-")
        .tempdir_in(&scratch.root)
        .unwrap()
}
