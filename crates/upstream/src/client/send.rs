//! One request on the wire: address check, timeouts, redirects; and what its failure means.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::address::Forbidden;
use crate::body::{self, DripLimit};
use crate::client::redirect;
use crate::environment::Gate;
use crate::error::UpstreamError;
use crate::observer::Observer;

/// Error bodies are read up to here.
const MAX_ERROR_BYTES: usize = 16 << 10;
/// An error's body is not worth more waiting than this.
const ERROR_PATIENCE: Duration = Duration::from_secs(2);
/// How much of an upstream's own words is repeated.
const MAX_MESSAGE_CHARS: usize = 300;

/// What is asked, apart from who asks.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) attempts: Attempts,
}

impl Request {
    pub(crate) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            attempts: Attempts::AgainAfterReset,
        }
    }
}

/// What to do when a connection ends before any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempts {
    /// Report it (M3: a check has one attempt).
    One,
    /// Try once more: most likely a connection of the pool had been closed meanwhile.
    AgainAfterReset,
}

/// The head of an answer, its body still unread.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: reqwest::Response,
    /// `host[:port]` of whoever answered.
    pub(crate) host: String,
    pub(crate) from: From,
    pub(crate) observer: Observer,
    /// What was sent along to get it: its words must not be repeated to anybody (A6).
    secret: Option<HeaderValue>,
}

/// Whose answer it is. Only a challenge of the place that was asked may be met with credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Asked,
    RedirectTarget,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn invalid(&self, reason: impl Into<String>) -> UpstreamError {
        UpstreamError::Invalid {
            host: self.host.clone(),
            reason: reason.into(),
        }
    }
}

/// Sends requests and follows redirects.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) http: Arc<reqwest::Client>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) connect_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) drip: DripLimit,
    pub(crate) observer: Observer,
}

impl Sender {
    /// The answer to `request` after redirects. `authorization` goes to the place that was asked
    /// and is dropped for good at the first step to another one (A7).
    pub(crate) async fn send(
        &self,
        request: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, UpstreamError> {
        let mut url = request.url.clone();
        let mut authorization = authorization;
        let mut from = From::Asked;
        for _ in 0..=redirect::MAX_HOPS {
            self.gate.check_url(&url).map_err(UpstreamError::Forbidden)?;
            let host = place(&url);
            let dispatched = self.dispatch(request, &url, &host, authorization).await;
            let response = dispatched.inspect_err(|error| self.observer.failed(&host, error))?;
            let status = response.status();
            self.observer.answered(&host, status.as_u16(), response.headers());
            tracing::debug!(method = %request.method, host, status = status.as_u16(), "upstream answered");
            if !redirect::is_redirect(status) {
                let observer = self.observer.clone();
                return Ok(Answer {
                    response,
                    host,
                    from,
                    observer,
                    secret: authorization.cloned(),
                });
            }
            let next = redirect::target(&url, response.headers().get(LOCATION))
                .map_err(|reason| UpstreamError::RedirectRefused { host, reason })?;
            if !redirect::same_place(&url, &next) {
                authorization = None;
                from = From::RedirectTarget;
            }
            url = next;
        }
        Err(UpstreamError::RedirectRefused {
            host: place(&request.url),
            reason: format!("more than {} redirects", redirect::MAX_HOPS),
        })
    }

    async fn dispatch(
        &self,
        request: &Request,
        url: &Url,
        host: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<reqwest::Response, UpstreamError> {
        let mut again = request.attempts == Attempts::AgainAfterReset;
        loop {
            let mut outgoing = self
                .http
                .request(request.method.clone(), url.clone())
                .headers(request.headers.clone());
            if let Some(value) = authorization {
                outgoing = outgoing.header(AUTHORIZATION, value.clone());
            }
            match timeout(self.connect_timeout + self.read_timeout, outgoing.send()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if again && is_reset(&error) => again = false,
                Ok(Err(error)) => return Err(failed(host, error)),
                Err(_) => {
                    return Err(UpstreamError::Timeout {
                        host: host.to_owned(),
                    });
                }
            }
        }
    }

    /// What an answer that is not a success means (M6 to M8).
    pub(crate) async fn refusal(&self, answer: Answer) -> UpstreamError {
        let status = answer.status();
        let host = answer.host.clone();
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                let now = jiff::Timestamp::now();
                let retry_after = crate::retry_after::retry_after(answer.headers(), now);
                UpstreamError::RateLimited { host, retry_after }
            }
            StatusCode::NOT_FOUND => {
                let (code, message) = self.words(answer).await;
                UpstreamError::NotFound {
                    name_unknown: code.as_deref() == Some("NAME_UNKNOWN"),
                    message,
                }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (_, message) = self.words(answer).await;
                UpstreamError::Refused {
                    status: status.as_u16(),
                    message,
                }
            }
            _ => UpstreamError::Status {
                host,
                status: status.as_u16(),
            },
        }
    }

    /// Code and message of the first error in a body of the distribution spec's shape.
    async fn words(&self, answer: Answer) -> (Option<String>, Option<String>) {
        let secret = answer.secret.clone();
        let reading = body::read_whole(answer, MAX_ERROR_BYTES, self.read_timeout, self.drip);
        let Ok(Ok(body)) = timeout(ERROR_PATIENCE, reading).await else {
            return (None, None);
        };
        let Ok(document) = serde_json::from_slice::<serde_json::Value>(&body) else {
            return (None, None);
        };
        let text = |field: &str| document["errors"][0][field].as_str().map(str::to_owned);
        (
            text("code"),
            text("message")
                .filter(|text| !repeats(text, secret.as_ref()))
                .map(|text| printable(&text))
                .filter(|text| !text.is_empty()),
        )
    }
}

/// `host[:port]` of a URL: all of it that may be printed (A6).
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether an upstream's words contain what we said to it: the token, or the password in either form.
fn repeats(text: &str, secret: Option<&HeaderValue>) -> bool {
    let Some((_, said)) = secret
        .and_then(|secret| secret.to_str().ok())
        .and_then(|secret| secret.split_once(' '))
    else {
        return false;
    };
    let pair = STANDARD
        .decode(said)
        .ok()
        .and_then(|pair| String::from_utf8(pair).ok());
    let password = pair
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .map(|(_, password)| password);
    text.contains(said) || password.is_some_and(|password| !password.is_empty() && text.contains(password))
}

fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_MESSAGE_CHARS)
        .collect()
}

/// A connection that was made and then ended without an answer.
fn is_reset(error: &reqwest::Error) -> bool {
    !error.is_builder()
        && !error.is_connect()
        && !timed_out(error)
        && find::<rustls::Error>(error).is_none()
        && find::<Forbidden>(error).is_none()
}

/// Why no answer came.
fn failed(host: &str, error: reqwest::Error) -> UpstreamError {
    if let Some(forbidden) = find::<Forbidden>(&error) {
        return UpstreamError::Forbidden(forbidden.clone());
    }
    let host = host.to_owned();
    if timed_out(&error) {
        return UpstreamError::Timeout { host };
    }
    let error = error.without_url();
    let reason = innermost(&error);
    if find::<rustls::Error>(&error).is_some() {
        UpstreamError::Tls {
            host,
            reason,
            source: Arc::new(error),
        }
    } else {
        UpstreamError::Unreachable {
            host,
            reason,
            source: Arc::new(error),
        }
    }
}

/// Why a body ended early.
pub(crate) fn broken(host: &str, error: reqwest::Error) -> UpstreamError {
    let host = host.to_owned();
    if timed_out(&error) {
        return UpstreamError::Timeout { host };
    }
    let error = error.without_url();
    UpstreamError::Broken {
        host,
        reason: innermost(&error),
        source: Arc::new(error),
    }
}

fn timed_out(error: &reqwest::Error) -> bool {
    error.is_timeout()
        || find::<std::io::Error>(error).is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
}

/// What the deepest cause says.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = cause(last) {
        last = next;
    }
    last.to_string()
}

/// The first error of a type among an error and its causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        current = cause(error);
    }
    None
}

/// The next cause. An I/O error that wraps another one hides it from `source`.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A6: an upstream that repeats what it was sent is not quoted.
    #[test]
    fn knows_its_own_secrets_in_the_words_of_others() {
        let basic = HeaderValue::from_static("Basic dXB1c2VyOmNhbmFyeQ==");
        let bearer = HeaderValue::from_static("Bearer abc.def.ghi");
        assert!(repeats("no: upuser:canary", Some(&basic)));
        assert!(repeats("no: dXB1c2VyOmNhbmFyeQ==", Some(&basic)));
        assert!(repeats("bad token abc.def.ghi", Some(&bearer)));
        assert!(!repeats("upuser may not pull", Some(&basic)));
        assert!(!repeats("anything", None));
    }
}
