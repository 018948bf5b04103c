//! The kinds of plain values: how each is checked and how the schema describes it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::fault::shown;
use crate::tree::Node;

/// One kind of value.
pub(crate) struct Kind<T> {
    /// The schema of the value.
    pub(crate) schema: fn() -> Value,
    /// Checks the value. The message never repeats what may be a secret (A6).
    pub(crate) read: fn(&Node) -> Result<T, String>,
}

/// The longest time that can be set: a hundred years, so that sums of times in ms stay far from overflow.
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

pub(crate) const FLAG: Kind<bool> = Kind {
    schema: || json!({ "type": "boolean" }),
    read: |node| match node {
        Node::Flag(flag) => Ok(*flag),
        other => Err(format!("must be true or false, not {}", other.what())),
    },
};

pub(crate) const SECONDS: Kind<Duration> = Kind {
    schema: || json!({ "type": "integer", "minimum": 0, "maximum": MAX_SECONDS }),
    read: |node| integer(node, 0, MAX_SECONDS).map(Duration::from_secs),
};

pub(crate) const POSITIVE_SECONDS: Kind<Duration> = Kind {
    schema: || json!({ "type": "integer", "minimum": 1, "maximum": MAX_SECONDS }),
    read: |node| integer(node, 1, MAX_SECONDS).map(Duration::from_secs),
};

/// Sizes fit the signed 64-bit columns they end up in.
const MAX_BYTES: u64 = i64::MAX as u64;

pub(crate) const BYTES: Kind<u64> = Kind {
    schema: || json!({ "type": "integer", "minimum": 0, "maximum": MAX_BYTES }),
    read: |node| integer(node, 0, MAX_BYTES),
};

pub(crate) const POSITIVE_BYTES: Kind<u64> = Kind {
    schema: || json!({ "type": "integer", "minimum": 1, "maximum": MAX_BYTES }),
    read: |node| integer(node, 1, MAX_BYTES),
};

/// How many connections to one database are of any use; one alone would let a long read stop everything.
const CONNECTIONS_RANGE: (u64, u64) = (2, 1000);

pub(crate) const CONNECTIONS: Kind<u32> = Kind {
    schema: || json!({ "type": "integer", "minimum": CONNECTIONS_RANGE.0, "maximum": CONNECTIONS_RANGE.1 }),
    read: |node| {
        let number = integer(node, CONNECTIONS_RANGE.0, CONNECTIONS_RANGE.1)?;
        u32::try_from(number).map_err(|error| error.to_string())
    },
};

pub(crate) const REVISION: Kind<u64> = BYTES;

pub(crate) const PATH: Kind<PathBuf> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| match text(node)? {
        "" => Err("must not be empty".to_owned()),
        path if path.contains('\0') => Err("must be a path, without NUL".to_owned()),
        path => Ok(PathBuf::from(path)),
    },
};

pub(crate) const ADDRESS: Kind<SocketAddr> = Kind {
    schema: || json!({ "type": "string", "description": "address:port" }),
    read: |node| {
        let text = text(node)?;
        text.parse().map_err(|_| {
            format!(
                "must be an address and a port, like 0.0.0.0:8080 or [::]:8080, not {}",
                shown(text)
            )
        })
    },
};

pub(crate) const NETWORK: Kind<IpNet> = Kind {
    schema: || json!({ "type": "string" }),
    read: |node| {
        let text = text(node)?;
        network(text).ok_or_else(|| format!("must be a network, like 10.0.0.0/8 or ::1, not {}", shown(text)))
    },
};

/// The text of a node.
pub(crate) fn text(node: &Node) -> Result<&str, String> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Flag(_) | Node::Integer(_) | Node::Float(_) => {
            Err(format!("must be text, not {}: put it in quotes", node.what()))
        }
        other => Err(format!("must be text, not {}", other.what())),
    }
}

/// An integer between two bounds, both included.
pub(crate) fn integer(node: &Node, least: u64, most: u64) -> Result<u64, String> {
    let Node::Integer(number) = node else {
        return Err(format!("must be an integer, not {}", node.what()));
    };
    match u64::try_from(*number) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be between {least} and {most}, not {number}")),
    }
}

/// One of some words.
pub(crate) fn pick<T: Copy>(node: &Node, choices: &[(&str, T)]) -> Result<T, String> {
    let text = text(node)?;
    choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            format!("must be one of {}, not {}", words.join(", "), shown(text))
        })
}

/// The schema of [`pick`].
pub(crate) fn words<T>(choices: &[(&str, T)]) -> Value {
    json!({ "enum": choices.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

/// A network, or an address as the network that holds it alone.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let net = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(net.trunc())
}
