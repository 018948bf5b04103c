//! A reader of one mapping that collects faults instead of stopping at the first (C1).
//!
//! A section is described by the code that reads it: `section.required(Key("path", "…"), &PATH)` takes the
//! key, checks it, and, when a schema is asked for, writes the key's description down. So the JSON schema
//! and the reader cannot disagree.

use serde_json::{Map, Value, json};

use crate::fault::{Fault, shown};
use crate::kind::Kind;
use crate::tree::Node;

/// The name of a key and the sentence that describes it in the schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(pub(crate) &'static str, pub(crate) &'static str);

/// What reading found. Unknown keys are apart: the organizations file only warns about them (C3).
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) faults: Vec<Fault>,
    pub(crate) unknown: Vec<Fault>,
}

/// What the schema says of a section.
#[derive(Debug, Default)]
struct Description {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    /// How many keys may be there at once; all of them when it is absent.
    most: Option<u64>,
}

/// One mapping while it is read.
pub(crate) struct Section<'a> {
    path: String,
    entries: &'a [(String, Node)],
    taken: Vec<&'static str>,
    findings: &'a mut Findings,
    description: Option<Description>,
}

/// Reads `node` as a mapping; nothing at all is an empty one. `None` (with a fault) for anything else.
pub(crate) fn read<T>(
    node: &Node,
    path: &str,
    findings: &mut Findings,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> Option<T> {
    let entries: &[(String, Node)] = match node {
        Node::Map(entries) => entries,
        Node::Null => &[],
        other => {
            let message = format!("must be a mapping, not {}", other.what());
            findings.faults.push(Fault {
                path: path.to_owned(),
                message,
            });
            return None;
        }
    };
    let mut section = Section {
        path: path.to_owned(),
        entries,
        taken: Vec::new(),
        findings,
        description: None,
    };
    let value = read(&mut section);
    section.finish();
    Some(value)
}

/// The JSON schema of what `read` reads.
pub(crate) fn describe<T>(read: impl FnOnce(&mut Section<'_>) -> T) -> Value {
    let mut findings = Findings::default();
    let mut section = Section {
        path: String::new(),
        entries: &[],
        taken: Vec::new(),
        findings: &mut findings,
        description: Some(Description::default()),
    };
    read(&mut section);
    let Description {
        properties,
        required,
        most,
    } = section.description.take().unwrap_or_default();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let Some(most) = most {
        schema["maxProperties"] = json!(most);
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

impl Section<'_> {
    /// The value of a key that may be absent. A bad value is a fault and `None`.
    pub(crate) fn optional<T>(&mut self, key: Key, kind: &Kind<T>) -> Option<T> {
        self.describe_value(key, kind, None);
        let node = self.take(key)?;
        self.check(key, kind, node)
    }

    /// The value of a key that has to be there. `None` comes with a fault.
    pub(crate) fn required<T>(&mut self, key: Key, kind: &Kind<T>) -> Option<T> {
        self.describe_value(key, kind, None);
        if let Some(description) = &mut self.description {
            description.required.push(key.0);
        }
        let Some(node) = self.take(key) else {
            self.fault(key.0, "is required");
            return None;
        };
        self.check(key, kind, node)
    }

    /// The value of a key, or `default` when it is absent. `None` comes with a fault.
    pub(crate) fn defaulted<T>(&mut self, key: Key, kind: &Kind<T>, default: impl Into<Node>) -> Option<T> {
        let default = default.into();
        self.describe_value(key, kind, Some(&default));
        match self.take(key) {
            Some(node) => self.check(key, kind, node),
            None => self.check(key, kind, &default),
        }
    }

    /// A nested mapping; absent is the same as empty. `None` comes with a fault.
    pub(crate) fn section<T>(&mut self, key: Key, content: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        if self.description.is_some() {
            self.describe_with(key, describe(content));
            return None;
        }
        let node = self.take(key).unwrap_or(&Node::Null);
        read(node, &self.path_of(key.0), self.findings, content)
    }

    /// A nested mapping that means something by being there.
    pub(crate) fn optional_section<T>(
        &mut self,
        key: Key,
        content: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        if self.description.is_some() {
            self.describe_with(key, describe(content));
            return None;
        }
        let node = self.take(key)?;
        read(node, &self.path_of(key.0), self.findings, content).flatten()
    }

    /// A nested mapping that is one of several: it is chosen by being there, even without a value.
    pub(crate) fn alternative<T>(
        &mut self,
        key: Key,
        content: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(description) = &mut self.description {
            description.most = Some(1);
            self.describe_with(key, describe(content));
            return None;
        }
        self.taken.push(key.0);
        let entries = self.entries;
        let (_, node) = entries.iter().find(|(name, _)| name == key.0)?;
        read(node, &self.path_of(key.0), self.findings, content).flatten()
    }

    /// Whether the key is there, with or without a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    /// Notes a fault of this section as a whole.
    pub(crate) fn fault_of_all(&mut self, message: impl Into<String>) {
        self.findings.faults.push(Fault {
            path: self.path.clone(),
            message: message.into(),
        });
    }

    /// A list of mappings; absent is the same as empty. Items with a fault are left out.
    pub(crate) fn sections<T>(
        &mut self,
        key: Key,
        mut item: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Vec<T> {
        if self.description.is_some() {
            self.describe_with(key, json!({ "type": "array", "items": describe(item) }));
            return Vec::new();
        }
        let list = self.take_list(key);
        let path = self.path_of(key.0);
        list.iter()
            .enumerate()
            .filter_map(|(index, node)| {
                // An item that is nothing is a slip of the pen, not an item without keys.
                if *node == Node::Null {
                    let message = "must be a mapping, not nothing".to_owned();
                    self.findings.faults.push(Fault {
                        path: format!("{path}[{index}]"),
                        message,
                    });
                    return None;
                }
                read(node, &format!("{path}[{index}]"), self.findings, &mut item).flatten()
            })
            .collect()
    }

    /// A list of plain values; absent is the same as empty. Items with a fault are left out.
    pub(crate) fn values<T>(&mut self, key: Key, kind: &Kind<T>) -> Vec<T> {
        if self.description.is_some() {
            self.describe_with(key, json!({ "type": "array", "items": (kind.schema)() }));
            return Vec::new();
        }
        let list = self.take_list(key);
        list.iter()
            .enumerate()
            .filter_map(|(index, node)| {
                (kind.read)(node)
                    .map_err(|message| self.fault(&format!("{}[{index}]", key.0), message))
                    .ok()
            })
            .collect()
    }

    /// Notes a fault of `key`, which may be a path below this section.
    pub(crate) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        self.findings.faults.push(Fault {
            path,
            message: message.into(),
        });
    }

    fn check<T>(&mut self, key: Key, kind: &Kind<T>, node: &Node) -> Option<T> {
        (kind.read)(node)
            .map_err(|message| self.fault(key.0, message))
            .ok()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn describe_value<T>(&mut self, key: Key, kind: &Kind<T>, default: Option<&Node>) {
        if self.description.is_none() {
            return;
        }
        let mut schema = (kind.schema)();
        match default {
            Some(Node::Flag(flag)) => schema["default"] = json!(flag),
            Some(Node::Integer(number)) => {
                schema["default"] = json!(i64::try_from(*number).unwrap_or(i64::MAX));
            }
            Some(Node::Text(text)) => schema["default"] = json!(text),
            _ => {}
        }
        self.describe_with(key, schema);
    }

    fn describe_with(&mut self, key: Key, mut schema: Value) {
        if let Some(description) = &mut self.description {
            schema["description"] = json!(key.1);
            description.properties.insert(key.0.to_owned(), schema);
        }
    }

    fn finish(self) {
        for (index, (key, _)) in self.entries.iter().enumerate() {
            let path = self.path_of(&printable(key));
            if self.entries[..index].iter().any(|(earlier, _)| earlier == key) {
                self.findings.faults.push(Fault {
                    path,
                    message: "is given more than once".to_owned(),
                });
            } else if !self.taken.contains(&key.as_str()) {
                let message = unknown(key, &self.taken);
                self.findings.unknown.push(Fault { path, message });
            }
        }
    }
}

impl<'a> Section<'a> {
    /// The node of a key; a key without a value counts as absent.
    fn take(&mut self, key: Key) -> Option<&'a Node> {
        self.taken.push(key.0);
        let entries: &'a [(String, Node)] = self.entries;
        entries
            .iter()
            .find(|(name, _)| name == key.0)
            .map(|(_, node)| node)
            .filter(|node| **node != Node::Null)
    }

    fn take_list(&mut self, key: Key) -> &'a [Node] {
        match self.take(key) {
            None => &[],
            Some(Node::List(items)) => items,
            Some(other) => {
                self.fault(key.0, format!("must be a list, not {}", other.what()));
                &[]
            }
        }
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    match known.iter().find(|name| name.eq_ignore_ascii_case(key)) {
        Some(name) => format!("unknown key; did you mean {name}?"),
        None => "unknown key".to_owned(),
    }
}

/// A key as it may stand in a path: one that could be taken for several, or breaks a line, is quoted.
pub(crate) fn printable(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
        key.to_owned()
    } else {
        shown(key)
    }
}
