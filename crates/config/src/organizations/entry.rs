//! One entry of the organizations file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quayside_oci::OrganizationName;
use secrecy::SecretString;
use serde_json::json;

use super::access::{read_robots, read_teams};
use super::{Credentials, FailurePolicy, Organization, Remote, Tls, Visibility};
use crate::fault::{Fault, shown};
use crate::kind::{self, FLAG, Kind, POSITIVE_BYTES, REVISION, SECONDS, text};
use crate::names::PLAIN_NAME;
use crate::section::{self, Findings, Key, Section};
use crate::tree::Node;

/// One entry, read or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Every field is good.
    Good(Box<Organization>),
    /// Some are not: the organization is neither changed nor absent (C3, G5).
    Bad(BadEntry),
}

/// An entry with bad fields, and what it can be recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// The name as it is written, when there is one.
    pub name: Option<String>,
    /// The id; the name when the entry has none; `None` when it is the bad field.
    pub id: Option<String>,
    /// The upstream's [`Remote::identity`]; `None` when it is missing or bad.
    pub upstream: Option<String>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

/// The file's CA bundles by name; `Err` says why one cannot be used.
pub(super) type Bundles = BTreeMap<String, Result<Arc<str>, String>>;

const NAME: Kind<OrganizationName> = Kind {
    schema: || json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
    read: |node| OrganizationName::parse(text(node)?).map_err(|error| error.to_string()),
};

const REMOTE: Kind<Remote> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| Remote::parse(text(node)?),
};

const UPSTREAM_USER: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| match text(node)? {
        "" => Err("must not be empty".to_owned()),
        name if name.contains(':') || name.chars().any(char::is_control) => {
            Err("must not contain ':' or control characters".to_owned())
        }
        name => Ok(name.to_owned()),
    },
};

const PASSWORD: Kind<SecretString> = Kind {
    schema: || json!({ "type": "string", "minLength": 1 }),
    read: |node| match text(node)? {
        "" => Err("must not be empty".to_owned()),
        password => Ok(password.into()),
    },
};

const POLICIES: [(&str, FailurePolicy); 2] = [
    ("ServeLive", FailurePolicy::ServeLive),
    ("ServeStored", FailurePolicy::ServeStored),
];
const POLICY: Kind<FailurePolicy> = Kind {
    schema: || kind::words(&POLICIES),
    read: |node| kind::pick(node, &POLICIES),
};

const VISIBILITIES: [(&str, Visibility); 3] = [
    ("Private", Visibility::Private),
    ("Internal", Visibility::Internal),
    ("Public", Visibility::Public),
];
const VISIBILITY: Kind<Visibility> = Kind {
    schema: || kind::words(&VISIBILITIES),
    read: |node| kind::pick(node, &VISIBILITIES),
};

/// Reads the entry at `path`; unknown keys are added to `unknown`.
pub(super) fn read(node: &Node, path: &str, bundles: &Bundles, unknown: &mut Vec<Fault>) -> Entry {
    let mut findings = Findings::default();
    let organization = match node {
        Node::Null => {
            findings.faults.push(Fault {
                path: path.to_owned(),
                message: "must be a mapping, not nothing".to_owned(),
            });
            None
        }
        node => section::read(node, path, &mut findings, |entry| {
            read_organization(entry, bundles)
        })
        .flatten(),
    };
    unknown.append(&mut findings.unknown);
    match organization {
        Some(organization) if findings.faults.is_empty() => Entry::Good(Box::new(organization)),
        _ => Entry::Bad(recognise(node, findings.faults)),
    }
}

/// What a bad entry can still be recognised by. Written more than once is as good as not readable.
fn recognise(node: &Node, faults: Vec<Fault>) -> BadEntry {
    let entries: &[(String, Node)] = if let Node::Map(entries) = node {
        entries
    } else {
        &[]
    };
    let field = |key: &str| {
        let mut values = entries
            .iter()
            .filter(|(name, value)| name == key && *value != Node::Null);
        (values.next().map(|(_, value)| value), values.next().is_some())
    };
    let name = match field("name") {
        (Some(Node::Text(name)), false) => Some(name.clone()),
        (Some(Node::Integer(name)), false) => Some(name.to_string()),
        _ => None,
    };
    let id = match field("id") {
        (None, _) => name.clone(),
        (Some(Node::Text(id)), false) => Some(id.clone()),
        _ => None,
    };
    let upstream = match field("remoteRegistry") {
        (Some(Node::Text(remote)), false) => Remote::parse(remote).ok().map(|remote| remote.identity()),
        _ => None,
    };
    BadEntry {
        name,
        id,
        upstream,
        faults,
    }
}

pub(super) fn read_organization(entry: &mut Section<'_>, bundles: &Bundles) -> Option<Organization> {
    let name = entry.required(Key("name", "The first component of the image names."), &NAME);
    let id = entry.optional(
        Key(
            "id",
            "With the upstream the identity of the content; default: the name.",
        ),
        &PLAIN_NAME,
    );
    let revision = entry.defaulted(
        Key("revision", "The operator's number for this form."),
        &REVISION,
        0,
    );
    let remote = entry.required(
        Key("remoteRegistry", "host[:port][/namespace] of the upstream."),
        &REMOTE,
    );
    let credentials = entry.optional_section(
        Key("credentials", "With what the upstream is contacted."),
        |section| {
            let username = section.required(Key("username", "The user name."), &UPSTREAM_USER);
            let password = section.required(Key("password", "The password or token."), &PASSWORD);
            Some(Credentials {
                username: username?,
                password: password?,
            })
        },
    );
    let tls = entry.section(
        Key("tls", "How the connection to the upstream is secured."),
        |section| read_tls(section, bundles),
    );
    let ttl = seconds(
        entry,
        "expirationSeconds",
        "How long a pull keeps a tag alive; 0: for ever.",
        86_400,
    );
    let window = seconds(
        entry,
        "timeMachineSeconds",
        "How long a dead tag stays stored.",
        1_209_600,
    );
    let storage_quota_bytes = entry.optional(
        Key("storageQuotaBytes", "The quota in bytes; absent: unlimited."),
        &POSITIVE_BYTES,
    );
    let revalidate = seconds(
        entry,
        "revalidateSeconds",
        "How old a check may be to stand for another.",
        0,
    );
    let upstream_failure_policy = entry.defaulted(
        Key("upstreamFailurePolicy", "What is served when the upstream fails."),
        &POLICY,
        "ServeLive",
    );
    let visibility = entry.defaulted(
        Key("visibility", "Who may pull beside the members."),
        &VISIBILITY,
        "Private",
    );
    let background_fill = entry.defaulted(
        Key(
            "backgroundFill",
            "Whether blobs are fetched before a client asks for them.",
        ),
        &FLAG,
        true,
    );
    let teams = read_teams(entry, name.as_ref().map(OrganizationName::as_str));
    let robots = read_robots(entry);
    let name = name?;
    Some(Organization {
        id: id.unwrap_or_else(|| name.to_string()),
        name,
        revision: revision?,
        remote: remote?,
        credentials,
        tls: tls.flatten()?,
        ttl: Some(ttl?).filter(|ttl| !ttl.is_zero()),
        window: window?,
        storage_quota_bytes,
        revalidate: revalidate?,
        upstream_failure_policy: upstream_failure_policy?,
        visibility: visibility?,
        background_fill: background_fill?,
        teams,
        robots,
    })
}

fn seconds(
    entry: &mut Section<'_>,
    key: &'static str,
    about: &'static str,
    default: i32,
) -> Option<Duration> {
    entry.defaulted(Key(key, about), &SECONDS, default)
}

fn read_tls(section: &mut Section<'_>, bundles: &Bundles) -> Option<Tls> {
    let bundle = section.optional(
        Key(
            "caBundle",
            "The name of a bundle in caBundles, trusted beside the system's.",
        ),
        &PLAIN_NAME,
    );
    let ca_bundle = match bundle.as_ref().map(|name| (name, bundles.get(name))) {
        None => None,
        Some((_, Some(Ok(pem)))) => Some(Arc::clone(pem)),
        Some((name, Some(Err(reason)))) => {
            section.fault(
                "caBundle",
                format!("caBundles has no usable {}: {reason}", shown(name)),
            );
            None
        }
        Some((name, None)) => {
            section.fault("caBundle", format!("there is no {} in caBundles", shown(name)));
            None
        }
    };
    let insecure_skip_verify = section.defaulted(
        Key(
            "insecureSkipVerify",
            "Whether any certificate of the upstream is accepted.",
        ),
        &FLAG,
        false,
    );
    let plain_http = section.defaulted(
        Key("plainHttp", "Whether the upstream speaks plain HTTP."),
        &FLAG,
        false,
    );
    Some(Tls {
        ca_bundle,
        insecure_skip_verify: insecure_skip_verify?,
        plain_http: plain_http?,
    })
}
