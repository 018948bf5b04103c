//! Who asks: from the headers of a request to an identity (A1, A2).

pub(crate) mod access;
pub(crate) mod address;
pub(crate) mod admin;
pub(crate) mod key;
pub(crate) mod password;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moka::sync::Cache;
use quayside_config::User;
use quayside_oci::OrganizationName;
use secrecy::SecretString;

use crate::clock::{Clock, Millis, millis};
use crate::organizations::Snapshot;
use token::{Grant, Tokens};

/// How long a good password is remembered, and a bad one (A2).
const GOOD: Duration = Duration::from_mins(1);
const BAD: Duration = Duration::from_secs(5);
const REMEMBERED: u64 = 10_000;

/// Somebody, or nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Anonymous,
    User(String),
    /// `<organization>+<name>`.
    Robot(OrganizationName, String),
}

impl Who {
    /// The login as it is typed; empty for nobody.
    pub(crate) fn login(&self) -> String {
        match self {
            Self::Anonymous => String::new(),
            Self::User(name) => name.clone(),
            Self::Robot(organization, name) => format!("{organization}+{name}"),
        }
    }

    fn parse(login: &str) -> Option<Self> {
        match login.split_once('+') {
            None if login.is_empty() => Some(Self::Anonymous),
            None => Some(Self::User(login.to_owned())),
            Some((organization, name)) => Some(Self::Robot(
                OrganizationName::parse(organization).ok()?,
                name.to_owned(),
            )),
        }
    }
}

/// What a request brought to say who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// No credentials at all.
    None,
    Password,
    /// A token of ours, with the scopes that it lists.
    Token(Arc<[Grant]>),
}

/// Who asks, how it was proven, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) proof: Proof,
    /// Whether the client's address lies in `trustedNetworks` (A8).
    pub(crate) trusted: bool,
}

/// Why nobody was recognised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("wrong user name or password")]
    WrongPassword,
    #[error("the token is not valid, or not any more")]
    BadToken,
    #[error("the Authorization header is neither Basic nor Bearer")]
    Malformed,
}

/// Recognises callers.
pub(crate) struct Authenticator {
    users: Vec<User>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
    pub(crate) tokens: Tokens,
    verifier: password::Verifier,
    remembered: Cache<[u8; 32], Verdict>,
    fingerprint: aws_lc_rs::hmac::Key,
}

#[derive(Debug, Clone)]
struct Verdict {
    who: Option<Who>,
    until: Millis,
    generation: u64,
}

impl Authenticator {
    pub(crate) fn new(
        users: Vec<User>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        clock: Arc<dyn Clock>,
        tokens: Tokens,
    ) -> anyhow::Result<Self> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let fingerprint = aws_lc_rs::hmac::Key::generate(aws_lc_rs::hmac::HMAC_SHA256, &random)
            .map_err(|_| anyhow::anyhow!("draw a random key"))?;
        let remembered = Cache::builder().max_capacity(REMEMBERED).build();
        Ok(Self {
            users,
            snapshot,
            clock,
            tokens,
            verifier: password::Verifier::default(),
            remembered,
            fingerprint,
        })
    }

    /// Who sent this `Authorization` header.
    pub(crate) async fn identify(&self, authorization: Option<&str>) -> Result<(Who, Proof), AuthError> {
        let Some(header) = authorization else {
            return Ok((Who::Anonymous, Proof::None));
        };
        match header
            .split_once(' ')
            .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest.trim()))
        {
            Some((scheme, token)) if scheme == "bearer" => self.token(token),
            Some((scheme, credentials)) if scheme == "basic" => {
                let (user, password) = decode_basic(credentials).ok_or(AuthError::Malformed)?;
                if is_nobody(&user, &password) {
                    return Ok((Who::Anonymous, Proof::None));
                }
                self.password(&user, password)
                    .await
                    .map(|who| (who, Proof::Password))
            }
            _ => Err(AuthError::Malformed),
        }
    }

    fn token(&self, token: &str) -> Result<(Who, Proof), AuthError> {
        let (subject, grants) = self
            .tokens
            .verify(token, self.clock.now())
            .ok_or(AuthError::BadToken)?;
        let who = Who::parse(&subject)
            .filter(|who| self.exists(who))
            .ok_or(AuthError::BadToken)?;
        Ok((who, Proof::Token(grants)))
    }

    fn exists(&self, who: &Who) -> bool {
        match who {
            Who::Anonymous => true,
            Who::User(name) => self.users.iter().any(|user| user.name == *name),
            Who::Robot(organization, name) => {
                let snapshot = self.snapshot.load();
                snapshot
                    .get(organization)
                    .is_some_and(|served| served.spec.robots.iter().any(|robot| robot.name == *name))
            }
        }
    }

    /// Checks a password, or remembers having done so (A2).
    pub(crate) async fn password(&self, login: &str, password: SecretString) -> Result<Who, AuthError> {
        use secrecy::ExposeSecret as _;
        let (now, snapshot) = (self.clock.now(), self.snapshot.load_full());
        let text = format!("{login}\0{}", password.expose_secret());
        let tag = aws_lc_rs::hmac::sign(&self.fingerprint, text.as_bytes());
        let key: [u8; 32] = tag.as_ref().try_into().unwrap_or_default();
        let known = self.remembered.get(&key);
        if let Some(known) =
            known.filter(|known| known.generation == snapshot.generation && now < known.until)
        {
            return known.who.ok_or(AuthError::WrongPassword);
        }
        let found = self.check(login, password, &snapshot, now).await;
        let (who, until) = match found {
            Some((who, valid_until)) => (Some(who), now.saturating_add(millis(GOOD)).min(valid_until)),
            None => (None, now.saturating_add(millis(BAD))),
        };
        self.remembered.insert(
            key,
            Verdict {
                who: who.clone(),
                until,
                generation: snapshot.generation,
            },
        );
        who.ok_or(AuthError::WrongPassword)
    }

    /// Who it is, and until when the matching hash is good.
    async fn check(
        &self,
        login: &str,
        password: SecretString,
        snapshot: &Snapshot,
        now: Millis,
    ) -> Option<(Who, Millis)> {
        let who = Who::parse(login)?;
        let hashes: Vec<(SecretString, Millis)> = match &who {
            Who::Anonymous => return None,
            Who::User(name) => {
                let user = self.users.iter().find(|user| user.name == *name);
                user.map(|user| (user.password_hash.clone(), Millis::MAX))
                    .into_iter()
                    .collect()
            }
            Who::Robot(organization, name) => {
                let served = snapshot.get(organization);
                let robot =
                    served.and_then(|served| served.spec.robots.iter().find(|robot| robot.name == *name));
                let hashes = robot.into_iter().flat_map(|robot| &robot.password_hashes);
                let hashes = hashes.map(|hash| {
                    let until = hash
                        .not_after
                        .map_or(Millis::MAX, jiff::Timestamp::as_millisecond);
                    (hash.hash.clone(), until)
                });
                hashes.filter(|(_, until)| now < *until).collect()
            }
        };
        let until = self.verifier.verify(password, hashes).await?;
        Some((who, until))
    }
}

/// Whether these are the credentials of a client that has none: some send Basic with a lone colon then.
pub(crate) fn is_nobody(user: &str, password: &SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    user.is_empty() && password.expose_secret().is_empty()
}

/// User and password of Basic credentials.
pub(crate) fn decode_basic(credentials: &str) -> Option<(String, SecretString)> {
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), SecretString::from(password)))
}
