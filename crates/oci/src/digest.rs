//! Content addresses: `sha256:<64 hex>` and `sha512:<128 hex>`.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest as hash;

use crate::text::{quoted, text_type};

/// The hash functions that a digest may name (N3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the one that everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a digest of this algorithm has.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn function(self) -> &'static hash::Algorithm {
        match self {
            Self::Sha256 => &hash::SHA256,
            Self::Sha512 => &hash::SHA512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A digest of an algorithm that we can compute, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Arc<str>);

text_type!(Digest, DigestError);

/// Why a text is no digest (`DIGEST_INVALID`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon between an algorithm and an encoded part.
    #[error("digest {0} is not of the form algorithm:hex")]
    Form(String),
    /// The algorithm is none of [`Algorithm`].
    #[error("digest algorithm {0} is not supported, only sha256 and sha512 are")]
    Algorithm(String),
    /// The encoded part has the wrong length or characters other than 0-9 and a-f.
    #[error("digest {digest} is not {algorithm} followed by {} lower-case hexadecimal digits", algorithm.hex_len())]
    Encoding {
        /// The algorithm that the text names.
        algorithm: Algorithm,
        /// The text, quoted and cut.
        digest: String,
    },
}

impl Digest {
    /// Reads `algorithm:hex` (N3).
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let Some((name, encoded)) = text.split_once(':') else {
            return Err(DigestError::Form(quoted(text)));
        };
        let Some(algorithm) = Algorithm::parse(name) else {
            return Err(DigestError::Algorithm(quoted(name)));
        };
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if encoded.len() != algorithm.hex_len() || !encoded.bytes().all(hexadecimal) {
            return Err(DigestError::Encoding {
                algorithm,
                digest: quoted(text),
            });
        }
        Ok(Self(text.into()))
    }

    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm in front of the colon.
    pub fn algorithm(&self) -> Algorithm {
        self.0
            .split_once(':')
            .and_then(|(name, _)| Algorithm::parse(name))
            .unwrap_or(Algorithm::Sha256)
    }

    /// The hexadecimal digits behind the colon.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// Whether `bytes` hash to this digest (M12).
    pub fn matches(&self, bytes: &[u8]) -> bool {
        *self == Self::of(self.algorithm(), bytes)
    }
}

/// A running hash of bytes that arrive in pieces.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: hash::Context,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Hasher {
    /// A hash of no bytes yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            state: hash::Context::new(algorithm.function()),
        }
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest of everything appended so far.
    pub fn finish(self) -> Digest {
        let sum = self.state.finish();
        let mut text = String::with_capacity(self.algorithm.as_str().len() + 1 + self.algorithm.hex_len());
        text.push_str(self.algorithm.as_str());
        text.push(':');
        for byte in sum.as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text.into())
    }
}

#[cfg(test)]
mod tests;
