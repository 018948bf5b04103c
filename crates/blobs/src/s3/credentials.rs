//! Credentials in two files.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use thiserror::Error;
use tokio::task::spawn_blocking;

/// How long what was read is used before the files are looked at again.
const FRESH: Duration = Duration::from_secs(2);

/// Reads credentials from two files, again and again, so that they can be exchanged while we run. What was read
/// before is used on as long as the files cannot be read.
#[derive(Clone)]
pub(super) struct FromFiles {
    files: Arc<Files>,
}

struct Files {
    access_key_id: PathBuf,
    secret_access_key: PathBuf,
    known: Mutex<Option<Known>>,
}

struct Known {
    credentials: Credentials,
    read: Instant,
}

/// Why there are no credentials.
#[derive(Debug, Error)]
enum FileError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("read {}: it is empty", path.display())]
    Empty { path: PathBuf },
}

impl FromFiles {
    pub(super) fn new(access_key_id: &Path, secret_access_key: &Path) -> Self {
        Self {
            files: Arc::new(Files {
                access_key_id: access_key_id.to_owned(),
                secret_access_key: secret_access_key.to_owned(),
                known: Mutex::default(),
            }),
        }
    }
}

impl Files {
    /// What was read lately.
    fn fresh(&self) -> Option<Credentials> {
        let known = self.known();
        let known = known.as_ref().filter(|known| known.read.elapsed() < FRESH)?;
        Some(known.credentials.clone())
    }

    fn credentials(&self) -> Result<Credentials, FileError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let fresh = self.read();
        let mut known = self.known();
        let credentials = match (fresh, &*known) {
            (Ok(credentials), _) => credentials,
            (Err(error), Some(known)) => {
                tracing::warn!(%error, "read S3 credentials again");
                known.credentials.clone()
            }
            (Err(error), None) => return Err(error),
        };
        *known = Some(Known {
            credentials: credentials.clone(),
            read: Instant::now(),
        });
        Ok(credentials)
    }

    fn read(&self) -> Result<Credentials, FileError> {
        let (id, secret) = (line(&self.access_key_id)?, line(&self.secret_access_key)?);
        Ok(Credentials::new(id, secret, None, None, "files"))
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(path: &Path) -> Result<String, FileError> {
    let text = fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    match text.trim() {
        "" => Err(FileError::Empty {
            path: path.to_owned(),
        }),
        text => Ok(text.to_owned()),
    }
}

impl ProvideCredentials for FromFiles {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        if let Some(fresh) = self.files.fresh() {
            return future::ProvideCredentials::ready(Ok(fresh));
        }
        let files = Arc::clone(&self.files);
        future::ProvideCredentials::new(async move {
            let read = spawn_blocking(move || files.credentials()).await;
            let read = read.map_err(CredentialsError::unhandled)?;
            read.map_err(CredentialsError::provider_error)
        })
    }
}

impl fmt::Debug for FromFiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FromFiles")
            .field("access_key_id", &self.files.access_key_id)
            .field("secret_access_key", &self.files.secret_access_key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C4: credentials that are exchanged are noticed, and half a change does no harm.
    #[test]
    fn reads_files_again_and_keeps_what_it_knows_while_they_are_away() {
        let directory = tempfile::tempdir().unwrap();
        let [id, secret] = ["id", "secret"].map(|name| directory.path().join(name));
        let from = FromFiles::new(&id, &secret);
        let age = || {
            if let Some(known) = &mut *from.files.known() {
                known.read = Instant::now().checked_sub(FRESH).unwrap();
            }
        };
        assert!(matches!(from.files.credentials(), Err(FileError::Read { .. })));
        fs::write(&id, "first\n").unwrap();
        fs::write(&secret, "\n").unwrap();
        assert!(matches!(from.files.credentials(), Err(FileError::Empty { .. })));
        fs::write(&secret, "s1\n").unwrap();
        let read = from.files.credentials().unwrap();
        assert_eq!((read.access_key_id(), read.secret_access_key()), ("first", "s1"));
        fs::write(&id, "second").unwrap();
        fs::write(&secret, "s2").unwrap();
        assert_eq!(from.files.credentials().unwrap().access_key_id(), "first");
        age();
        assert_eq!(from.files.credentials().unwrap().access_key_id(), "second");
        fs::remove_file(&id).unwrap();
        age();
        assert_eq!(from.files.credentials().unwrap().secret_access_key(), "s2");
        assert!(!format!("{from:?}").contains("s2"));
    }
}
