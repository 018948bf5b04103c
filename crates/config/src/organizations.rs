//! The organizations file: what is served, from where and to whom (SPEC C3, G5; DESIGN, "The two files").

mod access;
mod entry;
mod file;
mod merge;
mod remote;

use std::sync::Arc;
use std::time::Duration;

use quayside_oci::OrganizationName;
use secrecy::{ExposeSecret, SecretString};

pub use access::{Member, PasswordHash, Robot, Role, Team};
pub use entry::{BadEntry, Entry};
pub use file::{File, FileError, MAX_FILE_BYTES, parse};
pub use merge::{Merged, Present, Refused, merge};
pub use remote::Remote;

/// One organization as the file describes it, complete: what the entry leaves out has its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Organization {
    /// The first component of its image names.
    pub name: OrganizationName,
    /// The resource's UID; the name where a person writes the file. With the upstream it is the identity (G5).
    pub id: String,
    /// The operator's number for this form of the entry (K3); 0 where a person writes the file.
    pub revision: u64,
    /// The upstream.
    pub remote: Remote,
    /// With what the upstream is contacted; `None` is anonymously.
    pub credentials: Option<Credentials>,
    /// How the connection to the upstream is secured.
    pub tls: Tls,
    /// How long a pull keeps a tag alive (E1); `None`: for ever.
    pub ttl: Option<Duration>,
    /// How long a dead tag stays stored (E2).
    pub window: Duration,
    /// The quota in bytes (Q1); `None`: unlimited.
    pub storage_quota_bytes: Option<u64>,
    /// How old a check may be to stand for another (M3).
    pub revalidate: Duration,
    /// What is served when the upstream fails and the tag is dead (M8).
    pub upstream_failure_policy: FailurePolicy,
    /// Who may pull beside the members.
    pub visibility: Visibility,
    /// Whether blobs are fetched before a client asks for them (B6).
    pub background_fill: bool,
    /// Who may pull.
    pub teams: Vec<Team>,
    /// Logins that belong to this organization; names are unique.
    pub robots: Vec<Robot>,
}

impl Organization {
    /// What makes two forms of an entry the same organization (G5): id and normalised upstream.
    pub fn identity(&self) -> (&str, String) {
        (&self.id, self.remote.identity())
    }
}

/// A user name and a password for an upstream.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name, without `:`.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let Self { username, password } = self;
        *username == other.username && password.expose_secret() == other.password.expose_secret()
    }
}

/// How the connection to an upstream is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates in PEM that are trusted beside the system's.
    pub ca_bundle: Option<Arc<str>>,
    /// Whether any certificate is accepted.
    pub insecure_skip_verify: bool,
    /// Whether plain HTTP is spoken.
    pub plain_http: bool,
}

/// What is served when the upstream fails (M8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Live tags only.
    ServeLive,
    /// To members also dead tags that are in their window.
    ServeStored,
}

/// Who may pull beside the members (A3, A8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Nobody.
    Private,
    /// Clients in the trusted networks, as members may.
    Internal,
    /// Anybody, what is cached and live.
    Public,
}
