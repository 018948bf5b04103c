//! Who asks: from the headers of a request to an identity (A1, A2).

pub(crate) mod access;
pub(crate) mod address;
pub(crate) mod admin;
mod failures;
pub(crate) mod key;
mod password;
pub(crate) mod passwords;
pub(crate) mod peer;
mod queue;
pub(crate) mod scope;
pub(crate) mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quayside_oci::OrganizationName;
use secrecy::SecretString;

use crate::clock::Clock;
use passwords::Passwords;
use token::{Grant, Tokens};

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

    /// Reads a login as it is typed; empty is nobody.
    pub(crate) fn parse(login: &str) -> Option<Self> {
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
    #[error("too many failed attempts to log in with this user name; wait before the next one")]
    TooManyFailures { wait: Duration },
    #[error("too many clients are logging in at this moment; try again")]
    Busy,
    #[error("the token is not valid, or not any more")]
    BadToken,
    #[error("the Authorization header is neither Basic nor Bearer")]
    Malformed,
}

/// Recognises callers.
pub(crate) struct Authenticator {
    clock: Arc<dyn Clock>,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
}

impl Authenticator {
    pub(crate) fn new(clock: Arc<dyn Clock>, tokens: Tokens, passwords: Passwords) -> Self {
        Self {
            clock,
            tokens,
            passwords,
        }
    }

    /// Who sent this `Authorization` header from this address.
    pub(crate) async fn identify(
        &self,
        authorization: Option<&str>,
        client: IpAddr,
    ) -> Result<(Who, Proof), AuthError> {
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
                self.passwords
                    .check(&user, password, client)
                    .await
                    .map(|who| (who, Proof::Password))
            }
            _ => Err(AuthError::Malformed),
        }
    }

    fn token(&self, token: &str) -> Result<(Who, Proof), AuthError> {
        let verified = self
            .tokens
            .verify(token, self.clock.now())
            .ok_or(AuthError::BadToken)?;
        let who = Who::parse(&verified.subject)
            .filter(|who| self.passwords.exists(who))
            .ok_or(AuthError::BadToken)?;
        Ok((who, Proof::Token(Arc::clone(&verified.access))))
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
