//! What is made once on a machine and used by every test from then on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The folder `name` in `${QUAYSIDE_CACHE:-~/.cache/quayside}`, filled by `make` if it is not there yet.
pub(crate) fn folder(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = root();
    let folder = cache.join(name);
    if folder.is_dir() {
        return folder;
    }
    fs::create_dir_all(folder.parent().unwrap_or(&cache)).unwrap();
    // Tests that run side by side wait for the first of them.
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !folder.is_dir() {
        let unfinished = folder.with_extension("new");
        let _ = fs::remove_dir_all(&unfinished);
        make(&unfinished);
        fs::rename(&unfinished, &folder).unwrap();
    }
    folder
}

/// A program that `tests/tools/install.sh` has built.
pub(crate) fn built(name: &str) -> PathBuf {
    let program = root().join("bin").join(name);
    assert!(program.is_file(), "{name} is missing: run tests/tools/install.sh");
    program
}

fn root() -> PathBuf {
    let cache = std::env::var_os("QUAYSIDE_CACHE").filter(|value| !value.is_empty());
    cache.map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/quayside"),
        PathBuf::from,
    )
}
