//! One entry of the organizations file.

use serde_json::{Value, json};

use super::output;
use crate::fake::FakeUpstream;

/// An entry of the organizations file: plain HTTP, `visibility: Internal`, no background filling, until told
/// otherwise.
#[derive(Clone, Debug)]
pub struct Organization(pub(super) Value);

impl Organization {
    /// `acme`, bound to all of `upstream`.
    pub fn of(upstream: &FakeUpstream) -> Self {
        Self::at(&upstream.authority())
    }

    /// `acme`, bound to `host[:port][/namespace]`.
    pub fn at(remote: &str) -> Self {
        Self(json!({
            "name": "acme",
            "remoteRegistry": remote,
            "visibility": "Internal",
            "backgroundFill": false,
            "tls": { "plainHttp": true },
        }))
    }

    /// Another name than `acme`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.set("name", json!(name))
    }

    /// Any field.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    /// Seconds until a tag that nobody pulls dies; 0: never.
    #[must_use]
    pub fn ttl(self, seconds: u64) -> Self {
        self.set("expirationSeconds", json!(seconds))
    }

    /// Seconds that a dead tag is kept.
    #[must_use]
    pub fn window(self, seconds: u64) -> Self {
        self.set("timeMachineSeconds", json!(seconds))
    }

    /// Seconds that a check of a tag stays good.
    #[must_use]
    pub fn revalidate(self, seconds: u64) -> Self {
        self.set("revalidateSeconds", json!(seconds))
    }

    /// Fills wanted blobs in the background.
    #[must_use]
    pub fn background(self) -> Self {
        self.set("backgroundFill", json!(true))
    }

    /// `upstreamFailurePolicy: ServeStored`.
    #[must_use]
    pub fn serve_stored(self) -> Self {
        self.set("upstreamFailurePolicy", json!("ServeStored"))
    }

    /// For members only.
    #[must_use]
    pub fn private(self) -> Self {
        self.set("visibility", json!("Private"))
    }

    /// For everybody, as far as it is cached and live.
    #[must_use]
    pub fn public(self) -> Self {
        self.set("visibility", json!("Public"))
    }

    /// Makes a user of the configuration a member.
    #[must_use]
    pub fn member(self, user: &str) -> Self {
        self.set(
            "teams",
            json!([{ "name": "developers", "role": "member", "members": [{ "kind": "User", "name": user }] }]),
        )
    }

    /// Gives it a robot, `<organization>+<name>`, whose password is random enough for a plain SHA-256.
    #[must_use]
    pub fn robot(self, name: &str, password: &str) -> Self {
        let owner = self.0["name"].as_str().unwrap_or_default();
        output::watch_for(&format!("{owner}+{name}"), password);
        let digest = crate::images::sha256(password.as_bytes());
        let hash = digest.replace("sha256:", "$sha256$");
        self.set(
            "robots",
            json!([{ "name": name, "passwordHashes": [{ "hash": hash }] }]),
        )
    }

    /// What it logs in to its upstream with.
    #[must_use]
    pub fn credentials(self, username: &str, password: &str) -> Self {
        output::watch_for(username, password);
        self.set(
            "credentials",
            json!({ "username": username, "password": password }),
        )
    }

    /// The PEM that its upstream's certificate is checked against, over HTTPS.
    #[must_use]
    pub fn ca_bundle(self, pem: &str) -> Self {
        self.set(
            "tls",
            json!({ "caBundle": super::bundle_name(pem), "plainHttp": false }),
        )
    }
}
