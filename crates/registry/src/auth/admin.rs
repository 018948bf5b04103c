//! The bearer token of the admin port (O1).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use http::{HeaderMap, header};
use quayside_config::{Config, Database, Storage};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

const BYTES: usize = 32;
const FILE: &str = "admin.token";

/// What a request to the admin port has to bring, probes and metrics excepted.
#[derive(Debug)]
pub(crate) struct AdminToken(SecretString);

impl AdminToken {
    /// The token of the configured file, which has to be there, or else the one beside the `SQLite` database, or
    /// beside the spool or the directory of blobs, which is drawn at the first start. All of them belong to one
    /// process: only the one that has them open may call this.
    pub(crate) fn of_server(config: &Config) -> anyhow::Result<Self> {
        let path = path(config);
        if config.admin.token_file.is_none() && !holds_something(&path) {
            draw(&path).with_context(|| format!("write an admin token to {}", path.display()))?;
        }
        Self::read(&path)
    }

    /// The token that a server with this configuration accepts.
    pub(crate) fn of_client(config: &Config) -> anyhow::Result<Self> {
        Self::read(&path(config))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("read the admin token in {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        let token = text.trim();
        anyhow::ensure!(
            !token.is_empty(),
            "the admin token file {} is empty",
            path.display()
        );
        // What cannot be in a header could never be sent. The file is not quoted: it is a secret (A6).
        let sendable = token.bytes().all(|byte| byte.is_ascii_graphic());
        anyhow::ensure!(
            sendable,
            "the admin token in {} has spaces or other bytes that no header carries",
            path.display()
        );
        Ok(Self(token.to_owned().into()))
    }

    /// Whether a request brought it.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let brought = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = brought.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        let expected = self.0.expose_secret().as_bytes();
        scheme.eq_ignore_ascii_case("bearer") && bool::from(token.trim().as_bytes().ct_eq(expected))
    }

    pub(crate) fn secret(&self) -> &SecretString {
        &self.0
    }
}

fn path(config: &Config) -> PathBuf {
    let beside = || match (&config.database, &config.storage) {
        (Database::Sqlite { path }, _) => path,
        (Database::Postgres { .. }, Storage::S3(s3)) => &s3.spool.path,
        (Database::Postgres { .. }, Storage::Filesystem(directory)) => &directory.path,
    };
    config
        .admin
        .token_file
        .clone()
        .unwrap_or_else(|| beside().with_file_name(FILE))
}

/// A crash may have left the file empty.
fn holds_something(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn draw(path: &Path) -> anyhow::Result<()> {
    let mut random = [0_u8; BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("draw random bytes"))?;
    let token = random
        .iter()
        .fold(String::new(), |token, byte| format!("{token}{byte:02x}"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use http::HeaderValue;

    use super::*;

    fn config(directory: &Path, admin: &str) -> Config {
        let database = directory.join("quayside.db");
        Config::parse(&format!(
            "{{ SERVER_HOSTNAME: a.test, database: {{ sqlite: {{ path: {database:?} }} }}, admin: {admin} }}"
        ))
        .unwrap()
    }

    fn brings(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::AUTHORIZATION,
            HeaderValue::from_str(authorization).unwrap(),
        )])
    }

    /// O1: drawn once, beside the database, for its owner alone.
    #[test]
    fn draws_a_token_that_stays() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "{}");
        assert!(AdminToken::of_client(&config).is_err());
        std::fs::write(directory.path().join(FILE), "").unwrap();
        let token = AdminToken::of_server(&config).unwrap();
        let again = AdminToken::of_server(&config).unwrap();
        let secret = token.secret().expose_secret();
        assert_eq!(
            (secret.len(), again.secret().expose_secret()),
            (2 * BYTES, secret)
        );
        assert_eq!(
            AdminToken::of_client(&config).unwrap().secret().expose_secret(),
            secret
        );
    }

    /// O1: where the database is no file, beside what else this process has for itself.
    #[test]
    fn draws_a_token_beside_the_spool_if_the_database_is_elsewhere() {
        for storage in ["s3: { bucket: b, spool: { path: $ } }", "filesystem: { path: $ }"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("own");
            let storage = storage.replace('$', &format!("{path:?}"));
            let config = Config::parse(&format!(
                "{{ SERVER_HOSTNAME: a.test, database: {{ postgres: {{ urlFile: /x }} }}, storage: {{ {storage} }} }}"
            ));
            AdminToken::of_server(&config.unwrap()).unwrap();
            assert!(directory.path().join(FILE).is_file(), "{storage}");
        }
    }

    /// O1, A6: for its owner alone.
    #[test]
    fn a_drawn_token_is_readable_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        AdminToken::of_server(&config(directory.path(), "{}")).unwrap();
        let mode = std::fs::metadata(directory.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// O1: a file that is named has to be there; what is wrong with it is told without repeating it (A6).
    #[test]
    fn refuses_a_named_file_without_a_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("named");
        let config = config(directory.path(), &format!("{{ tokenFile: {file:?} }}"));
        assert!(AdminToken::of_server(&config).is_err());
        for bad in ["", " \n", "two words", "umläut"] {
            std::fs::write(&file, bad).unwrap();
            let error = format!("{:#}", AdminToken::of_server(&config).unwrap_err());
            assert!(bad.trim().is_empty() || !error.contains(bad), "{error}");
        }
        std::fs::write(&file, "good\n").unwrap();
        assert!(
            AdminToken::of_server(&config)
                .unwrap()
                .is_in(&brings("Bearer good"))
        );
    }

    /// O1
    #[test]
    fn accepts_nothing_but_the_token() {
        let token = AdminToken("good".to_owned().into());
        assert!(token.is_in(&brings("bearer good")));
        for bad in [
            "Bearer goo",
            "Bearer goodx",
            "Basic good",
            "good",
            "Bearer ",
            "Bearer",
        ] {
            assert!(!token.is_in(&brings(bad)), "{bad}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
    }
}
