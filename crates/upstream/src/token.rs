//! Tokens of a token service: reading its answer, and remembering one token per scope.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::HeaderValue;
use serde::Deserialize;

use crate::error::UpstreamError;

/// Lifetime of a token that does not say (distribution's token specification).
const DEFAULT_LIFETIME: Duration = Duration::from_mins(1);
/// No token is trusted longer.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);
/// A token is not used in its last seconds: it has to arrive before it expires.
const LONGEST_MARGIN: Duration = Duration::from_secs(10);
/// From this many scopes on, expired ones are forgotten.
const MANY: usize = 1024;

/// A token as it is sent.
#[derive(Clone)]
pub(crate) struct Token {
    /// `Bearer …`, marked sensitive.
    pub(crate) header: HeaderValue,
    until: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

impl Token {
    /// Reads the answer to a request that was sent at `asked`. The error says what is wrong
    /// without repeating the body.
    pub(crate) fn read(body: &[u8], asked: Instant) -> Result<Self, &'static str> {
        let answer: TokenAnswer = serde_json::from_slice(body)
            .map_err(|_| "the token service's answer is not the JSON we expect")?;
        let text = [answer.token, answer.access_token]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .ok_or("the token service's answer has no token")?;
        let mut header =
            HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| "the token is not a token")?;
        header.set_sensitive(true);
        let lifetime = answer
            .expires_in
            .as_ref()
            .and_then(seconds)
            .unwrap_or(DEFAULT_LIFETIME);
        let lifetime = lifetime.min(LONGEST_LIFETIME);
        let margin = (lifetime / 10).min(LONGEST_MARGIN);
        Ok(Self {
            header,
            until: asked + lifetime.saturating_sub(margin),
        })
    }

    fn is_good(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Token services write numbers, fractions and strings.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    // Zero is what a service says that does not know: the specification's minimum applies.
    if number <= 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(number).unwrap_or(LONGEST_LIFETIME))
}

/// Whether a token was there before it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It may have been revoked meanwhile: a refusal is worth one more authentication.
    Cached,
    /// It was issued for this request: a refusal is final.
    Fetched,
}

type Fetch = Shared<BoxFuture<'static, Result<Token, UpstreamError>>>;

/// One token per scope, and one request per scope at a time.
#[derive(Default)]
pub(crate) struct Tokens {
    by_scope: Mutex<HashMap<String, Fetch>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// The token of a scope: a remembered one, the one being fetched, or the result of `fetch`,
    /// which runs to its end even if nobody waits for it any more. `refused` is a token that the
    /// upstream did not accept and that is not given out again.
    pub(crate) async fn get(
        &self,
        scope: &str,
        refused: Option<&HeaderValue>,
        fetch: impl FnOnce() -> BoxFuture<'static, Result<Token, UpstreamError>>,
    ) -> Result<(Token, Freshness), UpstreamError> {
        let flight = {
            let mut by_scope = self.by_scope.lock().unwrap_or_else(PoisonError::into_inner);
            match by_scope.get(scope).map(|flight| (flight.peek(), flight)) {
                Some((Some(Ok(token)), _)) if token.is_good() && refused != Some(&token.header) => {
                    return Ok((token.clone(), Freshness::Cached));
                }
                Some((None, flight)) => flight.clone(),
                _ => start(&mut by_scope, scope, fetch),
            }
        };
        flight.await.map(|token| (token, Freshness::Fetched))
    }
}

fn start(
    by_scope: &mut HashMap<String, Fetch>,
    scope: &str,
    fetch: impl FnOnce() -> BoxFuture<'static, Result<Token, UpstreamError>>,
) -> Fetch {
    if by_scope.len() >= MANY {
        by_scope.retain(|_, flight| match flight.peek() {
            None => true,
            Some(Ok(token)) => token.is_good(),
            Some(Err(_)) => false,
        });
    }
    let flight = fetch().shared();
    // Driven by its own task: a caller that gives up must not stop it for the others.
    tokio::spawn(flight.clone());
    by_scope.insert(scope.to_owned(), flight.clone());
    flight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(body: &str) -> Duration {
        let asked = Instant::now();
        Token::read(body.as_bytes(), asked).unwrap().until - asked
    }

    fn header(body: &str) -> String {
        Token::read(body.as_bytes(), Instant::now())
            .unwrap()
            .header
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn reads_both_names_of_a_token() {
        assert_eq!(header(r#"{"token":"a","access_token":"b"}"#), "Bearer a");
        assert_eq!(header(r#"{"access_token":"b"}"#), "Bearer b");
        assert_eq!(header(r#"{"token":"","access_token":"b"}"#), "Bearer b");
    }

    #[test]
    fn believes_sixty_seconds_when_the_lifetime_is_absent_or_senseless() {
        let default = Duration::from_secs(54);
        for body in [
            r#"{"token":"a"}"#,
            r#"{"token":"a","expires_in":null}"#,
            r#"{"token":"a","expires_in":0}"#,
            r#"{"token":"a","expires_in":-5}"#,
            r#"{"token":"a","expires_in":"soon"}"#,
        ] {
            assert_eq!(lifetime(body), default, "{body}");
        }
        assert_eq!(
            lifetime(r#"{"token":"a","expires_in":300}"#),
            Duration::from_secs(290)
        );
        assert_eq!(
            lifetime(r#"{"token":"a","expires_in":"300"}"#),
            Duration::from_secs(290)
        );
        let longest = LONGEST_LIFETIME.checked_sub(LONGEST_MARGIN).unwrap();
        assert_eq!(lifetime(r#"{"token":"a","expires_in":1e300}"#), longest);
    }

    /// A6
    #[test]
    fn repeats_nothing_of_an_unreadable_answer() {
        for body in ["{}", "canary", r#"{"token":"can\nary"}"#, r#"{"token":7}"#, "[]"] {
            let reason = Token::read(body.as_bytes(), Instant::now()).unwrap_err();
            assert!(!reason.contains("can"), "{reason}");
        }
        let token = Token::read(br#"{"token":"canary"}"#, Instant::now()).unwrap();
        assert!(!format!("{token:?} {:?}", token.header).contains("canary"));
    }

    /// M7: a caller that gives up (M3's deadline) does not stop the fetch that others may join.
    #[tokio::test]
    async fn goes_on_fetching_when_nobody_waits_any_more() {
        let tokens = Tokens::default();
        let (answer, service) = tokio::sync::oneshot::channel();
        let (done, finished) = tokio::sync::oneshot::channel();
        let fetch = || {
            async move {
                let token: Token = service.await.unwrap();
                done.send(()).unwrap();
                Ok(token)
            }
            .boxed()
        };
        assert!(tokens.get("scope", None, fetch).now_or_never().is_none());
        let token = Token::read(br#"{"token":"t"}"#, Instant::now()).unwrap();
        assert!(answer.send(token).is_ok());
        tokio::time::timeout(Duration::from_secs(10), finished)
            .await
            .unwrap()
            .unwrap();
    }
}
