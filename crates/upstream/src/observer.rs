//! What happens on the wire, told to whoever counts it.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;

use crate::error::UpstreamError;

/// One thing that happened. `host` is `name[:port]` of the machine that was asked, which may be a token service or
/// the target of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The head of an answer arrived.
    Answered {
        /// Who answered.
        host: &'a str,
        /// The HTTP status.
        status: u16,
        /// How many requests the host's rate limit leaves, if it says so.
        remaining: Option<u64>,
    },
    /// A request got no answer.
    Failed {
        /// Who was asked.
        host: &'a str,
        /// Why not.
        failure: Failure,
    },
    /// A part of a body arrived.
    Received {
        /// Who sent it.
        host: &'a str,
        /// How many bytes.
        bytes: usize,
    },
}

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that ended without an answer.
    Unreachable,
    /// No TLS connection.
    Tls,
    /// Nothing came in time.
    Timeout,
}

type Listen = dyn Fn(Event<'_>) + Send + Sync;

/// Hears of every [`Event`] while it happens, so it must not block. The default listens to nothing.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Listen>>);

impl Observer {
    /// Calls `listen` for every event.
    pub fn new(listen: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listen)))
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(listen) = &self.0 {
            listen(event);
        }
    }

    pub(crate) fn answered(&self, host: &str, status: u16, headers: &HeaderMap) {
        let remaining = remaining(headers);
        self.tell(Event::Answered {
            host,
            status,
            remaining,
        });
    }

    /// An address that may not be contacted was not asked, so it did not fail.
    pub(crate) fn failed(&self, host: &str, error: &UpstreamError) {
        let failure = match error {
            UpstreamError::Forbidden(_) => return,
            UpstreamError::Timeout { .. } => Failure::Timeout,
            UpstreamError::Tls { .. } => Failure::Tls,
            _ => Failure::Unreachable,
        };
        self.tell(Event::Failed { host, failure });
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

/// `ratelimit-remaining: 76;w=21600` as Docker Hub sends it, or the older name.
fn remaining(headers: &HeaderMap) -> Option<u64> {
    let value = headers
        .get("ratelimit-remaining")
        .or_else(|| headers.get("x-ratelimit-remaining"))?;
    let (number, _) = value
        .to_str()
        .ok()
        .map(|text| text.split_once(';').unwrap_or((text, "")))?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// O1
    #[test]
    fn reads_what_a_rate_limit_leaves() {
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            remaining(&headers)
        };
        assert_eq!(read("ratelimit-remaining", "76;w=21600"), Some(76));
        assert_eq!(read("ratelimit-remaining", " 0 "), Some(0));
        assert_eq!(read("x-ratelimit-remaining", "4999"), Some(4999));
        assert_eq!(read("ratelimit-remaining", "many"), None);
        assert_eq!(remaining(&HeaderMap::new()), None);
    }
}
