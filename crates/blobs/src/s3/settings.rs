//! Which bucket, and how it is reached.

use std::path::PathBuf;

/// A bucket as storage (B7, G2, C4). Holds no secrets, only where they lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The server's URL; none: Amazon's in the region.
    pub endpoint: Option<String>,
    /// The URL under which clients reach the server, for presigned URLs; none: `endpoint`.
    pub public_endpoint: Option<String>,
    /// What stands before every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Where the bucket's name stands in a URL.
    pub path_style: PathStyle,
    /// Whether the bucket may keep old versions of objects (G2).
    pub versioned: Versioned,
    /// Who we are.
    pub credentials: S3Credentials,
    /// The spool directory, which one process has for itself.
    pub spool: PathBuf,
    /// The most bytes that the spool may take; none: 20 GiB or half of its volume, the smaller of the two.
    pub max_spool_bytes: Option<u64>,
}

/// Where the name of a bucket stands in a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStyle {
    /// In the path: `https://server/bucket/key`.
    Path,
    /// In the name of the host: `https://bucket.server/key`.
    Host,
}

/// Whether a bucket may keep old versions. Where it does, nothing that is deleted ever makes room (G2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Versioned {
    /// It may not.
    Refused,
    /// Nobody looks.
    Allowed,
}

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum S3Credentials {
    /// From where every client of Amazon's looks: the environment, profiles, web identity, the container's or the
    /// machine's metadata service.
    Chain,
    /// From two files, which are read again every few seconds.
    Files {
        /// Holds the access key id.
        access_key_id: PathBuf,
        /// Holds the secret access key.
        secret_access_key: PathBuf,
    },
}
