//! Who may read from a scripted upstream, and its token service.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::answer::Answer;
use super::request::{Kind, Request};

/// How an upstream wants its readers to log in.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// Not at all.
    #[default]
    Open,
    /// Basic credentials on every request.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// Bearer tokens.
    Bearer(TokenService),
}

/// A token service in the manner of Docker Hub, quay.io or ghcr.io.
#[derive(Clone, Debug, Default)]
pub struct TokenService {
    /// What must be presented for a token; none: tokens are anonymous.
    pub credentials: Option<(String, String)>,
    /// `expires_in` of its answers; none: left out.
    pub expires_in: Option<u64>,
    /// What it says about repositories that do not exist.
    pub unknown_names: UnknownNames,
    /// `http://host:port` of the realm, if it is not this upstream.
    pub realm: Option<String>,
}

/// A token service's answer to a scope of a repository that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// A token, like for any other.
    #[default]
    Token,
    /// 403, as ghcr.io does.
    Forbidden,
}

/// The tokens that are good at the moment, with their scopes.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: HashMap<String, String>,
    count: usize,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.issued.clear();
    }

    fn issue(&mut self, repository: &str) -> String {
        self.count += 1;
        let token = format!("{}token-{}", crate::house::CANARY, self.count);
        self.issued.insert(token.clone(), repository.to_owned());
        token
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

impl Login {
    /// The refusal of a request that does not carry what this login wants.
    pub(super) fn refuse(&self, tokens: &Tokens, request: &Request, origin: &str) -> Option<Answer> {
        let sent = request.header("authorization");
        match self {
            Self::Open => None,
            Self::Basic { username, password } => (sent != basic(username, password))
                .then(|| unauthorized("Basic realm=\"scripted\"".to_owned())),
            Self::Bearer(service) => {
                let good = sent
                    .strip_prefix("Bearer ")
                    .and_then(|token| tokens.issued.get(token))
                    .is_some_and(|scope| request.kind == Kind::Ping || *scope == request.repository);
                (!good).then(|| unauthorized(service.challenge(request, origin)))
            }
        }
    }

    /// The token service's answer.
    pub(super) fn token(&self, tokens: &mut Tokens, request: &Request, known: bool) -> Answer {
        let Self::Bearer(service) = self else {
            return Answer::error(404, "UNSUPPORTED");
        };
        let presented = request.header("authorization");
        if let Some((username, password)) = &service.credentials
            && presented != basic(username, password)
        {
            return unauthorized("Basic realm=\"scripted\"".to_owned());
        }
        if service.unknown_names == UnknownNames::Forbidden && !request.repository.is_empty() && !known {
            return Answer::error(403, "DENIED");
        }
        let mut document = json!({ "token": tokens.issue(&request.repository) });
        if let Some(seconds) = service.expires_in {
            document["expires_in"] = json!(seconds);
        }
        Answer::json(200, &document)
    }
}

impl TokenService {
    fn challenge(&self, request: &Request, origin: &str) -> String {
        let origin = self.realm.as_deref().unwrap_or(origin);
        let scope = match request.kind {
            Kind::Ping => String::new(),
            _ => format!(",scope=\"repository:{}:pull\"", request.repository),
        };
        format!("Bearer realm=\"{origin}/token\",service=\"scripted\"{scope}")
    }
}

fn unauthorized(challenge: String) -> Answer {
    Answer::error(401, "UNAUTHORIZED").header("www-authenticate", challenge)
}
