//! The organizations file as a whole.

use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::entry::{self, Bundles, Entry};
use crate::fault::{Fault, Faults};
use crate::kind::FLAG;
use crate::section::{self, Findings};
use crate::tree::{self, Node, SyntaxError};

/// The largest organizations file, unpacked, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ORGANIZATIONS: &str = "organizations";
const ALLOW_EMPTY: &str = "allowEmpty";
const CA_BUNDLES: &str = "caBundles";

/// A file that parses.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Its entries in their order, bad ones included.
    pub entries: Vec<Entry>,
    /// Whether no organizations is meant (G5).
    pub allow_empty: bool,
    /// Keys that are unknown and were ignored, each with its path (C3).
    pub warnings: Vec<String>,
}

impl File {
    /// Refuses a file without organizations that does not say that it means it, while the database knows
    /// `known` organizations that were not removed (G5).
    pub fn check_emptiness(&self, known: usize) -> Result<(), FileError> {
        if self.entries.is_empty() && !self.allow_empty && known > 0 {
            return Err(FileError::NotMeantEmpty { known });
        }
        Ok(())
    }
}

/// A file that is rejected whole (C3, G5).
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is nothing in it.
    #[error("the organizations file is empty")]
    Empty,
    /// It is larger than [`MAX_FILE_BYTES`], packed or unpacked.
    #[error("the organizations file is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It begins like gzip and is not.
    #[error("unpack gzipped organizations file")]
    Gzip(#[source] io::Error),
    /// It is not UTF-8.
    #[error("the organizations file is not UTF-8 text")]
    NotText,
    /// It is not YAML.
    #[error("read organizations file")]
    Syntax(#[source] SyntaxError),
    /// It has not the outline of an organizations file.
    #[error("read organizations file")]
    Outline(#[source] Faults),
    /// It has no organizations and does not say that it means it.
    #[error(
        "the organizations file has no organizations, {known} are known, and it does not say allowEmpty: true"
    )]
    NotMeantEmpty {
        /// How many organizations the database knows.
        known: usize,
    },
}

/// Reads an organizations file, gzipped or not (C3).
pub fn parse(bytes: &[u8]) -> Result<File, FileError> {
    let unpacked;
    let bytes = if bytes.starts_with(&GZIP_MAGIC) {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| FileError::NotText)?;
    if text.trim().is_empty() {
        return Err(FileError::Empty);
    }
    let node = tree::parse(text).map_err(FileError::Syntax)?;
    read(&node)
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut unpacked)
        .map_err(FileError::Gzip)?;
    Ok(unpacked)
}

fn read(node: &Node) -> Result<File, FileError> {
    let Node::Map(keys) = node else {
        return Err(match node {
            Node::Null => FileError::Empty,
            other => outline("", format!("must be a mapping, not {}", other.what())),
        });
    };
    let mut findings = Findings::default();
    for (index, (key, _)) in keys.iter().enumerate() {
        let path = section::printable(key);
        if keys[..index].iter().any(|(earlier, _)| earlier == key) {
            findings.faults.push(Fault {
                path,
                message: "is given more than once".to_owned(),
            });
        } else if ![ORGANIZATIONS, ALLOW_EMPTY, CA_BUNDLES].contains(&key.as_str()) {
            findings.unknown.push(Fault {
                path,
                message: "unknown key".to_owned(),
            });
        }
    }
    let value = |name: &str| keys.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let mut fault = |key: &str, message: String| {
        findings.faults.push(Fault {
            path: key.to_owned(),
            message,
        });
    };
    let list = match value(ORGANIZATIONS) {
        Some(Node::List(list)) => list.as_slice(),
        Some(other) => {
            fault(ORGANIZATIONS, format!("must be a list, not {}", other.what()));
            &[]
        }
        None => {
            fault(ORGANIZATIONS, "is required".to_owned());
            &[]
        }
    };
    let allow_empty = match value(ALLOW_EMPTY)
        .filter(|node| **node != Node::Null)
        .map(FLAG.read)
    {
        None => false,
        Some(Ok(flag)) => flag,
        Some(Err(message)) => {
            fault(ALLOW_EMPTY, message);
            false
        }
    };
    let bundles = read_bundles(value(CA_BUNDLES)).unwrap_or_else(|message| {
        fault(CA_BUNDLES, message);
        Bundles::new()
    });
    let Findings { faults, mut unknown } = findings;
    if !faults.is_empty() {
        return Err(FileError::Outline(Faults(faults)));
    }
    let entries = list
        .iter()
        .enumerate()
        .map(|(index, node)| entry::read(node, &format!("{ORGANIZATIONS}[{index}]"), &bundles, &mut unknown))
        .collect();
    let warnings = unknown.iter().map(ToString::to_string).collect();
    Ok(File {
        entries,
        allow_empty,
        warnings,
    })
}

/// A bundle that is no bundle is the fault of the entries that name it, not of the others (C3).
fn read_bundles(node: Option<&Node>) -> Result<Bundles, String> {
    let entries = match node {
        None | Some(Node::Null) => return Ok(Bundles::new()),
        Some(Node::Map(entries)) => entries,
        Some(other) => return Err(format!("must be a mapping, not {}", other.what())),
    };
    let mut bundles = Bundles::new();
    for (name, value) in entries {
        let bundle = match value {
            Node::Text(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(Arc::from(pem.as_str())),
            Node::Text(_) => Err("it holds no PEM certificate".to_owned()),
            other => Err(format!("it is {}, not text", other.what())),
        };
        let twice = bundles.contains_key(name);
        bundles.insert(
            name.clone(),
            if twice {
                Err("it is given more than once".to_owned())
            } else {
                bundle
            },
        );
    }
    Ok(bundles)
}

fn outline(path: &str, message: String) -> FileError {
    FileError::Outline(Faults(vec![Fault {
        path: path.to_owned(),
        message,
    }]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn keys(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            keys(value, &path, found);
            keys(&value["items"], &format!("{path}[]"), found);
            found.push(path);
        }
    }

    /// C3: every key of an entry, and of the file, has its row in the reference.
    #[test]
    fn the_reference_names_every_key_of_the_organizations_file() {
        let reference = include_str!("../../../../docs/configuration.md");
        let entry = section::describe(|entry| entry::read_organization(entry, &Bundles::new()));
        let mut found: Vec<String> = [ORGANIZATIONS, ALLOW_EMPTY, CA_BUNDLES].map(str::to_owned).into();
        keys(&entry, "", &mut found);
        assert!(found.len() > 30);
        for key in found {
            assert!(
                reference.contains(&format!("| `{key}` |")),
                "docs/configuration.md lacks {key}"
            );
        }
    }
}
