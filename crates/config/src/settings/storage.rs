//! Where blobs are kept (C4).

use std::path::PathBuf;

use serde_json::json;
use url::Url;

use crate::fault::shown;
use crate::kind::{BYTES, FLAG, Kind, PATH, POSITIVE_BYTES, text};
use crate::section::{Key, Section};

/// The backend that keeps blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A directory.
    Filesystem(Filesystem),
    /// A bucket.
    S3(S3),
}

/// Blobs in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// The directory; created when it is missing.
    pub path: PathBuf,
    /// Fills stop while the file system has fewer free bytes than this (O2).
    pub min_free_bytes: u64,
}

/// Blobs in a bucket of an S3-compatible server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket, which has to exist.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The server, without a final slash; `None` is AWS in `region`.
    pub endpoint: Option<String>,
    /// The server as clients reach it, in the URLs that they are redirected to (B7); `None` is `endpoint`.
    pub public_endpoint: Option<String>,
    /// What precedes every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Whether the bucket stands in the path and not in the host name.
    pub path_style: bool,
    /// Whether clients are sent to the bucket for stored blobs (B7).
    pub redirect: bool,
    /// Whether a bucket that keeps what is deleted is accepted (G2).
    pub allow_versioned: bool,
    /// Where blobs lie while they are received.
    pub spool: Spool,
    /// Files with the credentials; `None` is the usual chain of AWS: environment, web identity, profile, instance.
    pub key_files: Option<S3KeyFiles>,
}

/// Where blobs lie while they are received, before they are in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The directory, which belongs to one process and is emptied by it.
    pub path: PathBuf,
    /// The most bytes in it; `None` is 20 GiB or half of its volume, whichever is less.
    pub max_bytes: Option<u64>,
}

/// Files with credentials for the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3KeyFiles {
    /// A file with the access key id.
    pub access_key_id: PathBuf,
    /// A file with the secret access key.
    pub secret_access_key: PathBuf,
}

const DEFAULT_FREE_BYTES: i32 = 512 << 20;
const DEFAULT_DIRECTORY: &str = "/var/lib/quayside/blobs";

/// The rules that every S3-compatible server has in common; it is the server that knows its buckets.
const BUCKET: Kind<String> = Kind {
    schema: || json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,255}$" }),
    read: |node| {
        let text = text(node)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=255).contains(&text.len()) && text.chars().all(fits) {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "must be the name of a bucket: letters, digits, '.', '_', '-', not {}",
                shown(text)
            ))
        }
    },
};

const REGION: Kind<String> = Kind {
    schema: || json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
    read: |node| {
        let text = text(node)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "must be a region, like eu-central-1, not {}",
                shown(text)
            ))
        }
    },
};

/// The message never repeats the text, which may hold a password.
const ENDPOINT: Kind<String> = Kind {
    schema: || json!({ "type": "string", "format": "uri", "pattern": "^https?://" }),
    read: |node| {
        let wrong = "must be a URL like https://s3.example.com:9000";
        let url = Url::parse(text(node)?).map_err(|_| wrong)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong.to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{wrong}, without a user or password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "{wrong}, without anything behind the host; the bucket and a prefix have keys of their own"
            ));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    },
};

const MAX_PREFIX: usize = 512;

/// Keys become paths on some servers and parts of URLs on all.
const PREFIX: Kind<String> = Kind {
    schema: || json!({ "type": "string", "maxLength": MAX_PREFIX }),
    read: |node| {
        let text = text(node)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(fits);
        if text.is_empty() || (text.len() <= MAX_PREFIX && text.split('/').all(part)) {
            return Ok(text.to_owned());
        }
        Err(format!(
            "must be parts of letters, digits, '.', '_', '-', with slashes between them and none at the ends, not {}",
            shown(text)
        ))
    },
};

pub(super) fn read_storage(section: &mut Section<'_>) -> Option<Storage> {
    let filesystem = Key("filesystem", "A directory, for one process.");
    let s3 = Key(
        "s3",
        "A bucket of an S3-compatible server, for any number of processes.",
    );
    let (filesystem_is_there, s3_is_there) = (section.has(filesystem.0), section.has(s3.0));
    let filesystem = section.alternative(filesystem, read_filesystem);
    let s3 = section.alternative(s3, read_s3);
    match (filesystem_is_there, s3_is_there) {
        (true, true) => {
            section.fault_of_all("filesystem and s3 exclude each other: blobs are kept in one of them");
            None
        }
        (true, false) => filesystem.map(Storage::Filesystem),
        (false, true) => s3.map(Storage::S3),
        (false, false) => Some(Storage::Filesystem(Filesystem {
            path: DEFAULT_DIRECTORY.into(),
            min_free_bytes: DEFAULT_FREE_BYTES.unsigned_abs().into(),
        })),
    }
}

fn read_filesystem(section: &mut Section<'_>) -> Option<Filesystem> {
    let path = section.defaulted(
        Key("path", "The directory; created when it is missing."),
        &PATH,
        DEFAULT_DIRECTORY,
    );
    let min_free_bytes = section.defaulted(
        Key(
            "minFreeBytes",
            "Blobs are passed through without being stored while fewer bytes are free.",
        ),
        &BYTES,
        DEFAULT_FREE_BYTES,
    );
    Some(Filesystem {
        path: path?,
        min_free_bytes: min_free_bytes?,
    })
}

fn read_s3(section: &mut Section<'_>) -> Option<S3> {
    let bucket = section.required(Key("bucket", "The bucket, which has to exist."), &BUCKET);
    let region = section.defaulted(
        Key("region", "The region that requests are signed for."),
        &REGION,
        "us-east-1",
    );
    let endpoint = section.optional(
        Key("endpoint", "The URL of the server. Absent: AWS in `region`."),
        &ENDPOINT,
    );
    let public_endpoint = section.optional(
        Key(
            "publicEndpoint",
            "The URL of the server as clients reach it, for `redirect`. Absent: the same as `endpoint`.",
        ),
        &ENDPOINT,
    );
    let prefix = section.defaulted(
        Key(
            "prefix",
            "What precedes every key, so that a bucket can be shared.",
        ),
        &PREFIX,
        "",
    );
    let path_style = section.optional(
        Key(
            "pathStyle",
            "Whether the bucket stands in the path of URLs instead of the host name. Absent: if there is an `endpoint`.",
        ),
        &FLAG,
    );
    let redirect = section.defaulted(
        Key(
            "redirect",
            "Whether clients are sent to the bucket for stored blobs.",
        ),
        &FLAG,
        false,
    );
    let allow_versioned = section.defaulted(
        Key(
            "allowVersioned",
            "Whether a bucket with versioning is accepted, which keeps what is deleted.",
        ),
        &FLAG,
        false,
    );
    let spool = section.section(
        Key("spool", "Where blobs lie while they are received."),
        read_spool,
    );
    let key_files = read_key_files(section);
    Some(S3 {
        bucket: bucket?,
        region: region?,
        path_style: path_style.unwrap_or(endpoint.is_some()),
        endpoint,
        public_endpoint,
        prefix: prefix?,
        redirect: redirect?,
        allow_versioned: allow_versioned?,
        spool: spool.flatten()?,
        key_files,
    })
}

fn read_spool(section: &mut Section<'_>) -> Option<Spool> {
    let path = section.defaulted(
        Key(
            "path",
            "The directory, of one process alone; created when it is missing, emptied at the start.",
        ),
        &PATH,
        "/var/lib/quayside/spool",
    );
    let max_bytes = section.optional(
        Key(
            "maxBytes",
            "The most bytes in it. Absent: 20 GiB or half of its volume, whichever is less.",
        ),
        &POSITIVE_BYTES,
    );
    Some(Spool {
        path: path?,
        max_bytes,
    })
}

fn read_key_files(section: &mut Section<'_>) -> Option<S3KeyFiles> {
    let (id, secret) = ("accessKeyIdFile", "secretAccessKeyFile");
    let access_key_id = section.optional(
        Key(
            id,
            "File with the access key id. Absent: the usual chain of AWS credentials.",
        ),
        &PATH,
    );
    let secret_access_key = section.optional(
        Key(
            secret,
            "File with the secret access key; goes with `accessKeyIdFile`.",
        ),
        &PATH,
    );
    if section.has(id) != section.has(secret) {
        let missing = if section.has(id) { secret } else { id };
        section.fault(missing, format!("is required: {id} and {secret} go together"));
    }
    Some(S3KeyFiles {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
    })
}
