//! A bucket for the blobs of houses.

use std::path::{Path, PathBuf};

use quayside_test_servers::Versitygw;
use quayside_test_servers::versitygw::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Versions};
use serde_json::{Value, json};

/// What precedes every key, so that a bucket has things in it that are not ours.
const PREFIX: &str = "team/cache";

/// A bucket of a server that a test runs. Houses with the same one share their blobs.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    endpoint: String,
    root: PathBuf,
}

impl Bucket {
    /// Makes an empty bucket.
    pub fn create(server: &Versitygw, name: &str) -> Self {
        Self::create_with(server, name, Versions::Off)
    }

    /// As [`Self::create`], of this kind.
    pub fn create_with(server: &Versitygw, name: &str, versions: Versions) -> Self {
        server.create_bucket(name, versions);
        Self {
            name: name.to_owned(),
            endpoint: server.url(),
            root: server.bucket(name),
        }
    }

    /// The same bucket, reached through something that stands between.
    #[must_use]
    pub fn behind(&self, endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            ..self.clone()
        }
    }

    /// The directory that the server keeps the bucket in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The part of it that belongs to houses: objects are files named like their keys.
    pub fn directory(&self) -> PathBuf {
        self.root.join(PREFIX)
    }

    /// What precedes the keys of houses.
    pub fn prefix(&self) -> &'static str {
        PREFIX
    }

    /// `storage.s3` of config.yaml for a house in `home`, with the keys of `more`.
    pub fn describe(&self, home: &Path, more: &Value) -> Value {
        let file = |name: &str, content: &str| {
            let file = home.join(name);
            std::fs::write(&file, content).unwrap();
            file
        };
        let mut described = json!({
            "bucket": self.name,
            "endpoint": self.endpoint,
            "prefix": PREFIX,
            "accessKeyIdFile": file("access-key-id", ACCESS_KEY_ID),
            "secretAccessKeyFile": file("secret-access-key", SECRET_ACCESS_KEY),
            "spool": { "path": home.join("spool") },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            described[key] = value.clone();
        }
        if described["spool"]["path"].is_null() {
            described["spool"]["path"] = json!(home.join("spool"));
        }
        described
    }
}
