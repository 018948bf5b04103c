//! An open file that is read by position.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
};

/// An open file, read by position from any number of places at once.
///
/// Closing the last descriptor of an unlinked file frees its blocks and pages, which takes long for a large one;
/// so the file is closed on the blocking pool.
#[derive(Debug)]
pub struct OpenFile {
    /// Always there until drop takes it.
    file: Option<File>,
    /// Whether reads without waiting make sense on this file system.
    resident_reads: AtomicBool,
    /// Whether it ended before its time.
    cut_short: AtomicBool,
}

/// What a read that must not wait came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resident {
    /// So many bytes; 0 is the end of the file.
    Read(usize),
    /// The bytes are not in memory, or the system cannot tell.
    Absent,
}

impl OpenFile {
    /// Takes over an open file.
    pub fn new(file: File) -> Self {
        Self {
            file: Some(file),
            resident_reads: AtomicBool::new(cfg!(target_os = "linux")),
            cut_short: AtomicBool::new(false),
        }
    }

    /// Remembers that it ended before its time: whoever opens the blob next looks at the file anew (B8).
    pub(crate) fn ends_early(&self) {
        self.cut_short.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Relaxed)
    }

    /// The open file.
    pub fn file(&self) -> io::Result<&File> {
        self.file
            .as_ref()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Reads what is in memory at `offset`, without waiting for a disk.
    pub(crate) fn read_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Resident> {
        if !self.resident_reads.load(Ordering::Relaxed) {
            return Ok(Resident::Absent);
        }
        match read_nowait(self.file()?, buffer, offset) {
            Ok(length) => Ok(Resident::Read(length)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Resident::Absent),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => {
                    self.resident_reads.store(false, Ordering::Relaxed);
                    Ok(Resident::Absent)
                }
                _ => Err(error),
            },
        }
    }

    /// Reads at `offset` until `buffer` is full or the file ends; gives the number of bytes. May wait.
    pub(crate) fn read_waiting(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.file()?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let (Some(file), Ok(runtime)) = (self.file.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

#[cfg(target_os = "linux")]
fn read_nowait(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    Ok(preadv2(
        file,
        &mut [io::IoSliceMut::new(buffer)],
        offset,
        ReadWriteFlags::NOWAIT,
    )?)
}

#[cfg(not(target_os = "linux"))]
fn read_nowait(_file: &File, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> OpenFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        OpenFile::new(file)
    }

    #[test]
    fn reads_by_position_up_to_the_end() {
        let descriptor = file(b"0123456789");
        let mut buffer = [0; 4];
        assert_eq!(descriptor.read_waiting(&mut buffer, 7).unwrap(), 3);
        assert_eq!(&buffer[..3], b"789");
        assert_eq!(descriptor.read_waiting(&mut buffer, 10).unwrap(), 0);
    }

    #[test]
    fn reads_without_waiting_what_is_in_memory() {
        let descriptor = file(b"0123456789");
        let mut buffer = [0; 4];
        match descriptor.read_resident(&mut buffer, 2).unwrap() {
            Resident::Read(length) => assert_eq!(&buffer[..length], &b"2345"[..length]),
            Resident::Absent => assert!(!descriptor.resident_reads.load(Ordering::Relaxed)),
        }
    }

    #[test]
    fn gives_up_reads_without_waiting_where_the_system_knows_none() {
        let descriptor = file(b"0123456789");
        descriptor.resident_reads.store(false, Ordering::Relaxed);
        assert_eq!(
            descriptor.read_resident(&mut [0; 4], 0).unwrap(),
            Resident::Absent
        );
    }
}
