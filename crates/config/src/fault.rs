//! What is wrong with a file, and where.

use std::fmt;

/// One fault and the place where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the key, as in `storage.filesystem.minFreeBytes` or `organizations[2].teams[0].role`;
    /// empty when the file as a whole is at fault.
    pub path: String,
    /// What is wrong, for a person. Never the value of a key that holds a secret (A6).
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Everything that is wrong with a file, in the order of the file's description (C1). Never empty.
///
/// `Display` writes one line a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// `text` as it may appear in a message: quoted, control characters escaped, cut after 64 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(64).collect();
    let tail = if chars.next().is_some() { "…" } else { "" };
    format!("\"{}{tail}\"", head.escape_debug())
}
