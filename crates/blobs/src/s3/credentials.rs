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

use super::refusal::words;

/// How long what was read is used before the files are looked at again.
const FRESH: Duration = Duration::from_secs(2);

/// Reads credentials from two files, again and again, so that they can be exchanged while we run. What was read
/// before is used on as long as the files cannot be read, and until the next look if only one of the two has changed: an id
/// and a secret of different keys would be worse than both of the old one.
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
    /// What was found at the last look if one half of it was new.
    half: Option<Credentials>,
    /// Why the last look failed.
    failure: Option<String>,
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
        self.known().as_ref().and_then(Known::fresh)
    }

    fn credentials(&self) -> Result<Credentials, FileError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let read = self.read();
        let mut known = self.known();
        let Some(known) = &mut *known else {
            let credentials = read?;
            *known = Some(Known::new(credentials.clone()));
            return Ok(credentials);
        };
        // Two looks at once are one.
        if let Some(fresh) = known.fresh() {
            return Ok(fresh);
        }
        known.read = Instant::now();
        match read {
            Ok(read) => known.found(read),
            Err(error) => {
                if let Some(error) = known.failed(&error) {
                    tracing::warn!(error, "read S3 credentials again");
                }
            }
        }
        Ok(known.credentials.clone())
    }

    fn read(&self) -> Result<Credentials, FileError> {
        let (first, second) = (self.read_once()?, self.read_once()?);
        if first == second {
            return Ok(second);
        }
        // They were exchanged just now.
        self.read_once()
    }

    fn read_once(&self) -> Result<Credentials, FileError> {
        let (id, secret) = (line(&self.access_key_id)?, line(&self.secret_access_key)?);
        Ok(Credentials::new(id, secret, None, None, "files"))
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            read: Instant::now(),
            half: None,
            failure: None,
        }
    }

    fn fresh(&self) -> Option<Credentials> {
        (self.read.elapsed() < FRESH).then(|| self.credentials.clone())
    }

    fn found(&mut self, read: Credentials) {
        self.failure = None;
        let old = &self.credentials;
        let is_half = (read.access_key_id() == old.access_key_id())
            != (read.secret_access_key() == old.secret_access_key());
        if is_half && self.half.as_ref() != Some(&read) {
            self.half = Some(read);
        } else {
            self.credentials = read;
            self.half = None;
        }
    }

    /// What to say of a look that failed: nothing if the last one failed in the same way.
    fn failed(&mut self, error: &FileError) -> Option<String> {
        let words = words(error);
        let is_new = self.failure.as_ref() != Some(&words);
        self.failure = Some(words.clone());
        is_new.then_some(words)
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
        fs::write(&secret, "s3").unwrap();
        age();
        assert_eq!(from.files.credentials().unwrap().secret_access_key(), "s2");
        age();
        assert_eq!(from.files.credentials().unwrap().secret_access_key(), "s3");
        fs::remove_file(&id).unwrap();
        age();
        assert_eq!(from.files.credentials().unwrap().secret_access_key(), "s3");
        assert!(!format!("{from:?}").contains("s3"));
    }

    /// C4: one half that is new is used when it was found twice, for the other half may be about to come.
    #[test]
    fn waits_for_the_other_half() {
        let key = |id, secret| Credentials::new(id, secret, None, None, "test");
        let mut known = Known::new(key("first", "s1"));
        let mut found = |id, secret| {
            known.found(key(id, secret));
            let now = &known.credentials;
            (now.access_key_id().to_owned(), now.secret_access_key().to_owned())
        };
        let pair = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
        assert_eq!(found("second", "s1"), pair("first", "s1"));
        assert_eq!(found("second", "s2"), pair("second", "s2"));
        assert_eq!(found("second", "s3"), pair("second", "s2"));
        assert_eq!(found("second", "s3"), pair("second", "s3"));
    }

    /// O2: what is wrong is said in full, and once.
    #[test]
    fn says_once_why_files_cannot_be_read() {
        let mut known = Known::new(Credentials::new("id", "secret", None, None, "test"));
        let away = || FileError::Read {
            path: "/id".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        let empty = FileError::Empty { path: "/id".into() };
        let said = known.failed(&away()).unwrap();
        assert!(said.contains("/id: entity not found"), "{said}");
        assert_eq!(known.failed(&away()), None);
        assert!(known.failed(&empty).is_some());
        known.found(known.credentials.clone());
        assert!(known.failed(&empty).is_some());
    }
}
