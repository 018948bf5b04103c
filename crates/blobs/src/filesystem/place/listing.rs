//! What lies in storage, in order and by pages.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{Place, TOPS, failed};
use crate::{Listed, StorageFault, StorageKey};

/// How many levels of directories lie between a digest algorithm and its blobs: shard, digest, token, file.
const LEVELS: usize = 4;

impl Place {
    /// The first `limit` blobs whose key sorts after `after`. Directories that sort wholly before it are not read.
    /// What is no blob is passed over.
    pub(in super::super) fn list(
        &self,
        after: Option<&StorageKey>,
        limit: usize,
    ) -> Result<Vec<Listed>, StorageFault> {
        let mut page = Page {
            root: self.root(),
            after: after.map_or("", StorageKey::as_str),
            limit,
            found: Vec::new(),
        };
        for top in TOPS {
            page.walk(top, LEVELS)?;
        }
        Ok(page.found)
    }
}

struct Page<'a> {
    root: &'a Path,
    after: &'a str,
    limit: usize,
    found: Vec<Listed>,
}

impl Page<'_> {
    fn walk(&mut self, prefix: &str, levels: usize) -> Result<(), StorageFault> {
        if self.found.len() >= self.limit || self.is_behind(prefix) {
            return Ok(());
        }
        let path = self.root.join(prefix);
        if levels == 0 {
            return self.take(prefix, &path);
        }
        for name in names(&path)? {
            self.walk(&format!("{prefix}/{name}"), levels - 1)?;
        }
        Ok(())
    }

    /// True if nothing at or below `prefix` sorts after the last key of the page before.
    fn is_behind(&self, prefix: &str) -> bool {
        let same_depth = self.after.get(..prefix.len()).unwrap_or(self.after);
        prefix < same_depth
    }

    fn take(&mut self, text: &str, path: &PathBuf) -> Result<(), StorageFault> {
        let Ok(key) = StorageKey::parse(text) else {
            return Ok(());
        };
        if text <= self.after {
            return Ok(());
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => self.found.push(Listed {
                key,
                size: found.len(),
            }),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", path)(error)),
        }
        Ok(())
    }
}

/// The names in a directory in their order; none if it is gone, or is no directory.
fn names(directory: &Path) -> Result<Vec<String>, StorageFault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", directory))?;
        // Our own names are ASCII.
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
