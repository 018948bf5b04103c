//! The image library of present-day podman, which behaves in places unlike Debian's podman and skopeo.

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::tools::{self, Outcome};

/// A copier and the directory that it copies into.
#[derive(Debug)]
pub struct ImageCopy {
    home: TempDir,
}

impl Default for ImageCopy {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageCopy {
    /// A copier that has copied nothing yet.
    ///
    /// # Panics
    /// If no directory can be made.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("make a directory for copies"),
        }
    }

    /// Copies an image of this platform over plain HTTP.
    pub async fn copy(&self, image: &str) -> Outcome {
        let home = self.home.path();
        let mut command = tools::command(&tools::built("image-copy"));
        command
            .arg(image)
            .arg(home.join("copy"))
            .env("HOME", home)
            .env("TMPDIR", home);
        tools::run(command).await
    }

    /// The digests of everything that was copied, computed from the bytes.
    pub fn copied(&self) -> BTreeSet<String> {
        tools::digests_in(&self.home.path().join("copy"))
    }
}
