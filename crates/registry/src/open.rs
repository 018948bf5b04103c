//! Opens what the configuration names: a database and a storage (C4).

mod patience;

use std::path::Path;

use anyhow::Context as _;
use futures::FutureExt as _;
use quayside_blobs::{PathStyle, S3Credentials, S3Settings, Store, StoreError, Versioned};
use quayside_config::{Config, Database, S3, Storage};
use quayside_metadata::{Metadata, PostgresSettings};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub(crate) use patience::Patience;

/// Where database and storage lie, for people. Holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) storage: String,
    pub(crate) database: String,
}

impl Places {
    /// Reads the file with the URL of the database, if there is one.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let database = match &config.database {
            Database::Sqlite { path } => path.display().to_string(),
            Database::Postgres { url_file, .. } => place_of_postgres(&read_url(url_file)?),
        };
        let storage = match &config.storage {
            Storage::Filesystem(directory) => directory.path.display().to_string(),
            Storage::S3(s3) => place_of_bucket(s3),
        };
        Ok(Self { storage, database })
    }
}

/// Opens the database, and brings its tables up to date.
pub(crate) async fn database(
    config: &Config,
    places: &Places,
    patience: Patience,
) -> anyhow::Result<Metadata> {
    let context = || format!("open the database {}", places.database);
    match &config.database {
        Database::Sqlite { path } => Metadata::open_sqlite(path).await.context("open the database"),
        Database::Postgres {
            url_file,
            max_connections,
        } => {
            let settings = PostgresSettings {
                url: read_url(url_file)?,
                connections: *max_connections,
            };
            let opened = patience.open(&places.database, || Metadata::open_postgres(&settings).boxed());
            opened.await.with_context(context)
        }
    }
}

/// `migrate`: brings the tables of the database of `config` up to date, and says where it lies.
pub async fn migrate(config: &Config) -> anyhow::Result<String> {
    let places = Places::of(config)?;
    let metadata = database(config, &places, Patience::NONE).await?;
    metadata.close().await;
    Ok(places.database)
}

/// Opens the storage.
pub(crate) async fn storage(config: &Config, places: &Places, patience: Patience) -> anyhow::Result<Store> {
    let context = || format!("open the storage {}", places.storage);
    match &config.storage {
        Storage::Filesystem(directory) => {
            Store::open_filesystem(&directory.path, directory.min_free_bytes).context("open the storage")
        }
        Storage::S3(s3) => {
            let settings = settings(s3);
            let opened = patience.open(&places.storage, || Store::open_s3(&settings).boxed());
            opened.await.map_err(with_advice).with_context(context)
        }
    }
}

/// What a person can do about it, where the error itself does not say it.
fn with_advice(error: StoreError) -> anyhow::Error {
    let advice = match &error {
        StoreError::Versioned { .. } | StoreError::VersioningUnknown { .. } => {
            "turn versioning off, or accept it with `storage.s3.allowVersioned: true`"
        }
        _ => return error.into(),
    };
    anyhow::Error::new(error).context(advice)
}

fn settings(s3: &S3) -> S3Settings {
    let credentials = s3.key_files.as_ref().map_or(S3Credentials::Chain, |files| {
        let files = files.clone();
        S3Credentials::Files {
            access_key_id: files.access_key_id,
            secret_access_key: files.secret_access_key,
        }
    });
    S3Settings {
        bucket: s3.bucket.clone(),
        region: s3.region.clone(),
        endpoint: s3.endpoint.clone(),
        public_endpoint: s3.public_endpoint.clone(),
        prefix: s3.prefix.clone(),
        path_style: if s3.path_style {
            PathStyle::Path
        } else {
            PathStyle::Host
        },
        versioned: if s3.allow_versioned {
            Versioned::Allowed
        } else {
            Versioned::Refused
        },
        credentials,
        spool: s3.spool.path.clone(),
        max_spool_bytes: s3.spool.max_bytes,
    }
}

fn read_url(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("read the URL of the database in {}", file.display()))?;
    let url = text.trim();
    anyhow::ensure!(!url.is_empty(), "the file {} is empty", file.display());
    Ok(url.to_owned().into())
}

/// `database at host:port`. What is no URL is complained about when it is opened.
fn place_of_postgres(url: &SecretString) -> String {
    let Ok(url) = Url::parse(url.expose_secret()) else {
        return "PostgreSQL".to_owned();
    };
    let parameter = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let host = url.host_str().filter(|host| !host.is_empty()).map(str::to_owned);
    let host = host
        .or_else(|| parameter("host"))
        .unwrap_or_else(|| "localhost".to_owned());
    let port = url
        .port()
        .map(|port| port.to_string())
        .or_else(|| parameter("port"));
    let name = Some(url.path().trim_start_matches('/')).filter(|name| !name.is_empty());
    let name = name.map(str::to_owned).or_else(|| parameter("dbname"));
    let name = name.unwrap_or_else(|| url.username().to_owned());
    match port {
        Some(port) => format!("{name} at {host}:{port}"),
        None => format!("{name} at {host}"),
    }
}

fn place_of_bucket(s3: &S3) -> String {
    let slash = if s3.prefix.is_empty() { "" } else { "/" };
    let server = s3
        .endpoint
        .clone()
        .unwrap_or_else(|| format!("AWS in {}", s3.region));
    format!("s3://{}{slash}{} at {server}", s3.bucket, s3.prefix)
}

#[cfg(test)]
mod tests;
