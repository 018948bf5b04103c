//! How one upstream wants to be authenticated, learned from its challenges (M7, A7).

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::body;
use crate::challenge::{self, Challenge};
use crate::client::send::{Answer, From, Request, Sender, place};
use crate::error::UpstreamError;
use crate::token::{Freshness, Token, Tokens};

/// No token service needs more for its answer.
const MAX_TOKEN_BYTES: usize = 1 << 20;

/// User name and password.
pub(crate) type Credentials = (String, SecretString);

/// What is known about how to authenticate.
#[derive(Debug, Clone)]
enum Method {
    /// Nothing was asked for so far.
    None,
    Basic,
    Bearer(Arc<Realm>),
}

/// A token service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Realm {
    url: Url,
    service: Option<String>,
}

/// What a request went out with.
enum Carried {
    Nothing,
    Basic,
    Token(Token, Freshness),
}

/// How the token service refused.
enum TokenFailure {
    /// 401 or 403.
    Refused {
        host: String,
        status: u16,
        message: Option<String>,
    },
    Other(UpstreamError),
}

/// Sends the requests of one upstream with one set of credentials.
pub(crate) struct Authenticator {
    sender: Sender,
    base: Url,
    /// `Basic …`, marked sensitive.
    basic: Option<HeaderValue>,
    method: RwLock<Method>,
    tokens: Tokens,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    pub(crate) fn new(sender: Sender, base: Url, credentials: Option<Credentials>) -> Self {
        let basic = credentials.and_then(|(user, password)| {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
            // Base64 always makes a valid header value.
            let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let method = RwLock::new(Method::None);
        Self {
            sender,
            base,
            basic,
            method,
            tokens: Tokens::default(),
        }
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The answer to a request within `repository`, after at most one re-authentication.
    ///
    /// An answer of 401 is returned as it is when it is final.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: &Request,
        repository: &str,
    ) -> Result<Answer, UpstreamError> {
        let scope = format!("repository:{repository}:pull");
        let method = self.method();
        let carried = self.carry(&method, &scope, None).await?;
        let answer = self.sender.send(request, self.header(&carried)).await?;
        // A redirect target's challenge is not the upstream's: nobody answers it (A7).
        if answer.status() != StatusCode::UNAUTHORIZED || answer.from == From::RedirectTarget {
            return Ok(answer);
        }
        let offered = self.choose(&answer)?;
        let carried = match (offered, carried) {
            (Method::None, _) | (_, Carried::Token(_, Freshness::Fetched)) => return Ok(answer),
            (Method::Basic, Carried::Basic) => return self.probe_basic(answer).await,
            (offered, carried) => {
                let refused = match &carried {
                    Carried::Token(token, Freshness::Cached) => Some(&token.header),
                    _ => None,
                };
                let next = self.carry(&offered, &scope, refused).await?;
                self.learn(offered);
                next
            }
        };
        let answer = self.sender.send(request, self.header(&carried)).await?;
        match carried {
            Carried::Basic if answer.status() == StatusCode::UNAUTHORIZED && answer.from == From::Asked => {
                self.probe_basic(answer).await
            }
            _ => Ok(answer),
        }
    }

    /// Asks `/v2/` whether the upstream is there and whether it accepts the credentials, without
    /// the scope of any repository (M7). Never uses a remembered token.
    pub(crate) async fn ping(self: &Arc<Self>) -> Result<(), UpstreamError> {
        let request = Request::get(self.root());
        let answer = self.sender.send(&request, None).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || answer.from == From::RedirectTarget {
            return self.accepted(answer).await;
        }
        let offered = self.choose(&answer)?;
        match &offered {
            Method::None => return Err(self.sender.refusal(answer).await),
            Method::Bearer(realm) => {
                self.fetch(realm, None)
                    .await
                    .map_err(|failure| self.about_credentials(failure))?;
            }
            Method::Basic => {
                let answer = self.sender.send(&request, self.basic.as_ref()).await?;
                if answer.status() == StatusCode::UNAUTHORIZED && answer.from == From::Asked {
                    return Err(UpstreamError::CredentialsRefused {
                        host: answer.host,
                        status: 401,
                    });
                }
                self.accepted(answer).await?;
            }
        }
        self.learn(offered);
        Ok(())
    }

    async fn accepted(&self, answer: Answer) -> Result<(), UpstreamError> {
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(self.sender.refusal(answer).await)
        }
    }

    fn root(&self) -> Url {
        let mut url = self.base.clone();
        url.set_path("/v2/");
        url
    }

    fn method(&self) -> Method {
        self.method.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, method: Method) {
        *self.method.write().unwrap_or_else(PoisonError::into_inner) = method;
    }

    fn header<'a>(&'a self, carried: &'a Carried) -> Option<&'a HeaderValue> {
        match carried {
            Carried::Nothing => None,
            Carried::Basic => self.basic.as_ref(),
            Carried::Token(token, _) => Some(&token.header),
        }
    }

    async fn carry(
        self: &Arc<Self>,
        method: &Method,
        scope: &str,
        refused: Option<&HeaderValue>,
    ) -> Result<Carried, UpstreamError> {
        match method {
            Method::None => Ok(Carried::Nothing),
            Method::Basic => Ok(Carried::Basic),
            Method::Bearer(realm) => {
                let this = Arc::clone(self);
                let realm = Arc::clone(realm);
                let wanted = scope.to_owned();
                let fetch = || async move { this.fetch_scoped(&realm, &wanted).await }.boxed();
                let (token, freshness) = self.tokens.get(scope, refused, fetch).await?;
                Ok(Carried::Token(token, freshness))
            }
        }
    }

    /// What we do about a challenge: a token where one is offered, else Basic if we have credentials.
    fn choose(&self, answer: &Answer) -> Result<Method, UpstreamError> {
        let challenges = challenges(answer.headers());
        let bearer = challenges
            .iter()
            .find(|c| c.scheme == "bearer" && c.parameter("realm").is_some());
        if let Some(bearer) = bearer {
            return self
                .realm(bearer, answer)
                .map(|realm| Method::Bearer(Arc::new(realm)));
        }
        let basic = challenges.iter().any(|c| c.scheme == "basic") && self.basic.is_some();
        Ok(if basic { Method::Basic } else { Method::None })
    }

    fn realm(&self, bearer: &Challenge, answer: &Answer) -> Result<Realm, UpstreamError> {
        let url = bearer
            .parameter("realm")
            .and_then(|text| Url::parse(text).ok())
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| answer.invalid("the realm of its challenge is not a URL"))?;
        let clear = url.scheme() == "http" && self.base.scheme() == "https";
        if clear && self.basic.is_some() {
            return Err(UpstreamError::RedirectRefused {
                host: answer.host.clone(),
                reason: format!(
                    "credentials are not sent to the token service {} without TLS",
                    place(&url)
                ),
            });
        }
        let mut url = url;
        // Names in the realm would be sent as credentials that are not ours.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(answer.invalid("the realm of its challenge has no host"));
        }
        Ok(Realm {
            url,
            service: bearer.parameter("service").map(str::to_owned),
        })
    }

    /// A token for a scope. A refusal is examined: are the credentials refused, or the scope (M7)?
    async fn fetch_scoped(&self, realm: &Realm, scope: &str) -> Result<Token, UpstreamError> {
        match self.fetch(realm, Some(scope)).await {
            Ok(token) => Ok(token),
            Err(TokenFailure::Other(error)) => Err(error),
            Err(TokenFailure::Refused { status, message, .. }) => {
                let scoped = UpstreamError::Refused { status, message };
                if self.basic.is_none() {
                    return Err(scoped);
                }
                match self.fetch(realm, None).await {
                    Err(failure @ TokenFailure::Refused { .. }) => Err(self.about_credentials(failure)),
                    // Accepted, or no verdict about the credentials: then they are not to blame.
                    Ok(_) | Err(TokenFailure::Other(_)) => Err(scoped),
                }
            }
        }
    }

    async fn fetch(&self, realm: &Realm, scope: Option<&str>) -> Result<Token, TokenFailure> {
        let mut url = realm.url.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &realm.service {
                query.append_pair("service", service);
            }
            if let Some(scope) = scope {
                query.append_pair("scope", scope);
            }
        }
        let asked = Instant::now();
        let sender = &self.sender;
        let answer = sender
            .send(&Request::get(url), self.basic.as_ref())
            .await
            .map_err(TokenFailure::Other)?;
        let host = answer.host.clone();
        let status = answer.status();
        if status.is_success() {
            let body = body::read_whole(answer, MAX_TOKEN_BYTES, sender.read_timeout, sender.drip)
                .await
                .map_err(TokenFailure::Other)?;
            return Token::read(&body, asked).map_err(|reason| {
                TokenFailure::Other(UpstreamError::Invalid {
                    host,
                    reason: reason.to_owned(),
                })
            });
        }
        Err(match sender.refusal(answer).await {
            UpstreamError::Refused { status, message } => TokenFailure::Refused {
                host,
                status,
                message,
            },
            // That a token service is missing says nothing about the repository.
            UpstreamError::NotFound { .. } => TokenFailure::Other(UpstreamError::Status {
                host,
                status: status.as_u16(),
            }),
            other => TokenFailure::Other(other),
        })
    }

    /// What a refusal of a request without scope means.
    fn about_credentials(&self, failure: TokenFailure) -> UpstreamError {
        match failure {
            TokenFailure::Other(error) => error,
            TokenFailure::Refused { host, status, .. } if self.basic.is_some() => {
                UpstreamError::CredentialsRefused { host, status }
            }
            TokenFailure::Refused { status, message, .. } => UpstreamError::Refused { status, message },
        }
    }

    /// A Basic upstream refused a repository: does it refuse the credentials (M7)?
    async fn probe_basic(&self, refused: Answer) -> Result<Answer, UpstreamError> {
        let probe = self
            .sender
            .send(&Request::get(self.root()), self.basic.as_ref())
            .await;
        match probe {
            Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && answer.from == From::Asked => {
                Err(UpstreamError::CredentialsRefused {
                    host: answer.host,
                    status: 401,
                })
            }
            _ => Ok(refused),
        }
    }
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values: Vec<_> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(|v| String::from_utf8_lossy(v.as_bytes()))
        .collect();
    challenge::parse(values.iter().map(AsRef::as_ref))
}
