//! What the subjects share: where their files lie, which ports are taken, where the origin is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

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
        Ok(directory)
    }
}

/// Writes a file and returns its path.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
