//! Layers that can be unpacked: gzipped tar archives, the same bytes every time.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Blob, OCI_LAYER, random_bytes, sha256};

const BLOCK: usize = 512;

/// A compressed layer and the digest of what is in it, which the image configuration names.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The compressed archive.
    pub blob: Blob,
    /// `sha256:<hex>` of the archive before compression.
    pub diff_id: String,
}

/// A layer of regular files `(path, content)`, readable by all.
pub fn layer(files: &[(&str, &[u8])]) -> Layer {
    let files: Vec<_> = files
        .iter()
        .map(|(path, content)| (*path, *content, 0o644))
        .collect();
    archive(&files)
}

/// A layer with one file of `length` incompressible bytes, so about `length` bytes on the wire.
pub fn random_layer(seed: u64, length: usize) -> Layer {
    layer(&[(&format!("data/{seed}"), &random_bytes(seed, length))])
}

/// A layer with a static busybox as `/bin/busybox` and `/bin/sh`, if the machine has one (`busybox-static`).
pub fn busybox_layer() -> Option<Layer> {
    let program = std::fs::read(Path::new("/bin/busybox"))
        .or_else(|_| std::fs::read("/usr/bin/busybox"))
        .ok()?;
    Some(archive(&[
        ("bin/busybox", &program, 0o755),
        ("bin/sh", &program, 0o755),
    ]))
}

fn archive(files: &[(&str, &[u8], u32)]) -> Layer {
    let mut tar = Vec::new();
    let mut made = Vec::new();
    for (path, content, mode) in files {
        for (end, _) in path.match_indices('/') {
            let directory = &path[..=end];
            if !made.contains(&directory) {
                tar.extend(header(directory, 0, 0o755, b'5'));
                made.push(directory);
            }
        }
        tar.extend(header(path, content.len(), *mode, b'0'));
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    let diff_id = sha256(&tar);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar).unwrap();
    Layer {
        blob: Blob::new(OCI_LAYER, encoder.finish().unwrap()),
        diff_id,
    }
}

/// One header of the POSIX ustar format.
fn header(path: &str, size: usize, mode: u32, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
