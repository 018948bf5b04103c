//! A YAML document as a tree that keeps what a typed reader needs to name every fault.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy};

/// What a tree may weigh, so that aliases cannot turn a small file into a large one.
const MAX_TREE_BYTES: usize = 256 << 20;
/// What a node weighs beside its text.
const NODE_BYTES: usize = 48;
const TOO_LARGE: &str = "the document is too large or too deep";

/// One node. A mapping keeps the order of its keys and also keys that occur twice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Flag(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What this is, for a message: "must be a list, not text".
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Flag(_) => "true or false",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a fraction",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i32> for Node {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The text is not one YAML document, or is one that is too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    place: Option<(u64, u64)>,
    message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse YAML: ")?;
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

impl From<&Error> for SyntaxError {
    // The parser's own text is used only where it is known to quote nothing from the file: a broken line
    // may be the one with a password (A6).
    fn from(error: &Error) -> Self {
        let message = match error {
            Error::ExternalMessage { msg, .. } => msg.clone(),
            Error::Message { msg, .. } if msg == TOO_LARGE => msg.clone(),
            Error::MultipleDocuments { .. } => "there is more than one document".to_owned(),
            Error::UnknownAnchor { .. } => {
                "an alias (`*…`) names no anchor; put the value in quotes".to_owned()
            }
            Error::UnsupportedTag { .. } => {
                "a value begins with an unknown tag (`!…`); put it in quotes".to_owned()
            }
            Error::Eof { .. } => "the document ends too early".to_owned(),
            Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => TOO_LARGE.to_owned(),
            _ => "this is not a document that can be read".to_owned(),
        };
        let place = error.location().map(|at| (at.line(), at.column()));
        Self { place, message }
    }
}

/// Reads one document. An empty one is [`Node::Null`].
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 8_000_000,
            max_nodes: 4_000_000,
            max_depth: 64,
        },
        // A key that occurs twice is a fault with a path like any other, so the tree keeps both.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `NO` is a text here as in YAML 1.2 and in whatever writes these files.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let left = Cell::new(MAX_TREE_BYTES);
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        NodeSeed { left: &left }.deserialize(deserializer)
    })
    .map_err(|error| SyntaxError::from(&error))
}

#[derive(Clone, Copy)]
struct NodeSeed<'a> {
    left: &'a Cell<usize>,
}

impl NodeSeed<'_> {
    fn weigh<E: de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(bytes.saturating_add(NODE_BYTES));
        self.left.set(left.ok_or_else(|| E::custom(TOO_LARGE))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.weigh(0).map(|()| Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.weigh(0).map(|()| Node::Flag(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.visit_i128(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.visit_i128(value.into())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        self.weigh(0).map(|()| Node::Integer(value))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Node, E> {
        self.visit_i128(i128::try_from(value).unwrap_or(i128::MAX))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        self.weigh(0).map(|()| Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node, E> {
        self.weigh(value.len()).map(|()| Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        self.weigh(0)?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        self.weigh(0)?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            self.weigh(key.len())?;
            entries.push((key, map.next_value_seed(self)?));
        }
        Ok(Node::Map(entries))
    }
}

/// A key is text, however it is written.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}
