//! Which storage this is.

use std::{fmt, str::FromStr};

use thiserror::Error;
use uuid::Uuid;

const DIGITS: usize = 32;

/// The id that a storage carries, so that a database knows the storage it belongs to (C4): 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageId(String);

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("read storage id: not 32 hexadecimal digits")]
pub struct IdError;

impl StorageId {
    /// An id that no other storage has.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// The id as it is written down.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == DIGITS && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError)
        }
    }
}

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
