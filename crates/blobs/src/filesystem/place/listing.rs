//! What lies in storage, in order and by pages.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io::ErrorKind,
    path::Path,
};

use super::{Place, TOPS, failed};
use crate::{Found, Listed, StorageFault, StorageKey, Stray, StrayKind};

/// What the names on the way to a blob stand for, by their number.
const SHARD: usize = 2;
const DIGEST: usize = 3;
const TOKEN: usize = 4;
const LEAF: usize = 5;

impl Place {
    /// The first `limit` things whose path comes after `after`, compared name by name. Directories that lie wholly
    /// before it are not read.
    pub(in super::super) fn list(
        &self,
        after: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<Found>, StorageFault> {
        // An unmounted volume is not an empty storage.
        self.check_mounted()?;
        let mut page = Page {
            root: self.root(),
            after: after.unwrap_or(Path::new("")),
            limit,
            found: Vec::new(),
        };
        for top in TOPS {
            page.walk(Path::new(top), 1)?;
        }
        Ok(page.found)
    }

    pub(in super::super) fn is_there(&self, found: &Found) -> Result<bool, StorageFault> {
        let path = self.root().join(found.path());
        let Some(there) = look(&path)? else {
            return Ok(false);
        };
        Ok(match found {
            Found::Blob(listed) => there.is_file() && there.len() == listed.size,
            Found::Stray(stray) => match stray.kind {
                StrayKind::Unused(_) => there.is_dir() && names(&path)?.is_empty(),
                StrayKind::Foreign | StrayKind::Upload(_) => true,
            },
        })
    }
}

struct Page<'a> {
    root: &'a Path,
    after: &'a Path,
    limit: usize,
    found: Vec<Found>,
}

impl Page<'_> {
    /// Looks at `at`, a path of `depth` names from the root.
    fn walk(&mut self, at: &Path, depth: usize) -> Result<(), StorageFault> {
        if self.found.len() >= self.limit || self.is_behind(at, depth) {
            return Ok(());
        }
        let path = self.root.join(at);
        let Some(there) = look(&path)? else {
            return Ok(());
        };
        match key_at(at, depth) {
            Some(key) if depth == LEAF && there.is_file() => {
                let size = there.len();
                self.take(Found::Blob(Listed { key, size }));
            }
            key if depth < LEAF && there.is_dir() && (key.is_some() || is_shard_or_above(at, depth)) => {
                let names = names(&path)?;
                for name in &names {
                    self.walk(&at.join(name), depth + 1)?;
                }
                // An empty directory of a digest is taken again by whoever needs it.
                if let Some(key) = key.filter(|_| names.is_empty() && depth == TOKEN) {
                    self.stray(at, StrayKind::Unused(key));
                }
            }
            _ => self.stray(at, StrayKind::Foreign),
        }
        Ok(())
    }

    /// True if nothing at or below `at` comes after the end of the page before.
    fn is_behind(&self, at: &Path, depth: usize) -> bool {
        at.iter().lt(self.after.iter().take(depth))
    }

    fn stray(&mut self, at: &Path, kind: StrayKind) {
        let path = at.to_owned();
        self.take(Found::Stray(Stray { path, kind }));
    }

    fn take(&mut self, found: Found) {
        if found.path() > self.after {
            self.found.push(found);
        }
    }
}

/// The key to which this path leads, or would lead if it went on; none if it leads to no key.
fn key_at(at: &Path, depth: usize) -> Option<StorageKey> {
    let at = at.to_str()?;
    let text = match depth {
        DIGEST => format!("{at}/0/data"),
        TOKEN => format!("{at}/data"),
        _ => at.to_owned(),
    };
    StorageKey::parse(&text).ok()
}

fn is_shard_or_above(at: &Path, depth: usize) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let name = at.file_name().map_or(&[][..], |name| name.as_encoded_bytes());
    depth < SHARD || (depth == SHARD && name.len() == 2 && name.iter().all(is_digit))
}

/// What is there, if anything is; a link is not followed.
fn look(path: &Path) -> Result<Option<Metadata>, StorageFault> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// The names in a directory in their order; none if it is gone, or is no directory.
fn names(directory: &Path) -> Result<Vec<OsString>, StorageFault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed("list", directory))?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}
