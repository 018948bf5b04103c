//! What the subjects share: where their files lie, which ports are taken, where the origin is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

/// Which way leads to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The loopback interface.
    Loopback,
    /// The thin link: 100 MB/s, 20 ms.
    Wire,
}

/// Where everything of one run is.
#[derive(Debug)]
pub(crate) struct Site {
    directory: PathBuf,
    made: Mutex<Vec<PathBuf>>,
    next_port: AtomicU16,
    /// The origin, directly.
    pub(crate) origin: SocketAddr,
    /// The origin behind the thin link.
    pub(crate) wire: SocketAddr,
}

impl Site {
    pub(crate) fn new(directory: PathBuf) -> Self {
        // Below those that the kernel hands out; in a namespace of its own the run is alone.
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            directory,
            made: Mutex::default(),
            next_port: AtomicU16::new(10_002),
            origin: address(10_000),
            wire: address(10_001),
        }
    }

    /// An address that nobody listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        (
            Ipv4Addr::LOCALHOST,
            self.next_port.fetch_add(1, Ordering::Relaxed),
        )
            .into()
    }

    /// The address of the origin behind a link.
    pub(crate) fn upstream(&self, link: Link) -> SocketAddr {
        match link {
            Link::Loopback => self.origin,
            Link::Wire => self.wire,
        }
    }

    /// A new directory, empty.
    pub(crate) fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let number = self.next_port.load(Ordering::Relaxed);
        let directory = self.directory.join(format!("{name}-{number}"));
        std::fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push(directory.clone());
        Ok(directory)
    }

    /// How many directories were made so far.
    pub(crate) fn mark(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The directories that were made since, to be removed with what is returned.
    pub(crate) fn made_since(&self, mark: usize) -> Litter {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Litter(made.iter().skip(mark).cloned().collect())
    }
}

/// Directories that nobody needs any more once this is dropped: what is fetched cold again and again would fill a disk.
#[derive(Debug)]
pub(crate) struct Litter(Vec<PathBuf>);

impl Drop for Litter {
    fn drop(&mut self) {
        for directory in &self.0 {
            // The directory of the whole run goes at its end in any case.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Writes a file and returns its path.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
