//! Generated content: any number of different blobs out of one pool of random bytes.
//!
//! Origin and client generate the same bytes, so a client can compare all that it receives, which costs a
//! tenth of hashing it and leaves the cores to the subjects.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

/// Larger than the caches of the machine, so that nobody serves out of them by luck.
const POOL_BYTES: usize = 32 << 20;

/// Random bytes, the same in every process.
#[derive(Clone)]
pub(crate) struct Pool(Arc<[u8]>);

impl Pool {
    pub(crate) fn generate() -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self(words.take(POOL_BYTES / 8).flatten().collect())
    }
}

/// One blob: the pool, read round and round from a place that the seed decides. Seeds below 2^25 give
/// different content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) size: u64,
}

impl Content {
    /// The bytes from `offset` on: as many as lie in one piece, at most up to the end. Empty at the end.
    pub(crate) fn piece(self, pool: &Pool, offset: u64) -> &[u8] {
        let length = pool.0.len() as u64;
        // A stride that is odd visits every place of the pool once.
        let start = (self.seed.wrapping_mul(0x9E37_79B1) + offset) % length;
        let end = length.min(start + self.size.saturating_sub(offset));
        let index = |place| usize::try_from(place).unwrap_or(usize::MAX);
        pool.0.get(index(start)..index(end)).unwrap_or_default()
    }

    /// Whether the blob has these bytes at `offset`.
    pub(crate) fn matches(self, pool: &Pool, offset: u64, bytes: &[u8]) -> bool {
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let piece = self.piece(pool, offset);
            let length = piece.len().min(rest.len());
            let (head, tail) = rest.split_at(length);
            if length == 0 || piece.get(..length) != Some(head) {
                return false;
            }
            offset += length as u64;
            rest = tail;
        }
        true
    }

    /// All bytes; for small blobs.
    pub(crate) fn bytes(self, pool: &Pool) -> Vec<u8> {
        self.pieces(pool).flatten().copied().collect()
    }

    /// `sha256:…`
    pub(crate) fn digest(self, pool: &Pool) -> String {
        let mut hash = Context::new(&SHA256);
        self.pieces(pool).for_each(|piece| hash.update(piece));
        named(hash.finish().as_ref())
    }

    /// All pieces in order.
    pub(crate) fn pieces(self, pool: &Pool) -> impl Iterator<Item = &[u8]> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let piece = self.piece(pool, offset);
            offset += piece.len() as u64;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// The digest of bytes, `sha256:…`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    named(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref())
}

fn named(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_longer_than_the_pool_is_as_long_as_it_says() {
        let pool = Pool::generate();
        let content = Content {
            seed: 7,
            size: POOL_BYTES as u64 * 2 + 5,
        };
        let lengths = content.pieces(&pool).map(|piece| piece.len() as u64);
        assert_eq!(lengths.sum::<u64>(), content.size);
    }

    #[test]
    fn one_wrong_byte_does_not_match() {
        let pool = Pool::generate();
        let content = Content { seed: 3, size: 5000 };
        let mut bytes = content.bytes(&pool);
        assert_eq!(digest(&bytes), content.digest(&pool));
        assert!(content.matches(&pool, 0, &bytes));
        assert!(content.matches(&pool, 1000, &bytes[1000..]));
        bytes[4999] ^= 1;
        assert!(!content.matches(&pool, 0, &bytes));
        assert!(
            !content.matches(&pool, 4999, &[bytes[4999] ^ 1, 0]),
            "longer than the blob"
        );
    }
}
