//! What goes wrong, when, and how often.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::sync::watch;

use super::request::{Kind, Request};

/// Something that an upstream does other than it should. Several on one request add up.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with these headers and this body instead of the content.
    Status {
        /// The HTTP status.
        status: u16,
        /// Extra headers.
        headers: Vec<(String, String)>,
        /// The body, usually JSON errors.
        body: String,
    },
    /// Leaves `Docker-Content-Digest` out.
    NoDigestHeader,
    /// Says another `Docker-Content-Digest`.
    DigestHeader(String),
    /// Says another `Content-Type`.
    ContentType(String),
    /// One bit of byte N is wrong.
    Flip(usize),
    /// The content ends after N bytes and the length says so.
    Truncated(usize),
    /// The content goes on for N bytes more and the length says so.
    Padded(usize),
    /// Other content, under the same headers otherwise.
    Replace(Bytes),
    /// The full length is announced and the connection closed after N bytes of this answer.
    Cut(usize),
    /// No `Content-Length`: chunked.
    Chunked,
    /// `Range` is ignored: 200 and everything.
    IgnoreRange,
    /// 307 to this location.
    Redirect(String),
    /// The request is read and never answered.
    BlackHole,
    /// The connection is closed without an answer.
    Hangup,
    /// These bytes instead of an HTTP response, then the connection is closed.
    Garbage(Bytes),
    /// N bytes at a time, with a pause between.
    Drip(usize, Duration),
    /// Nothing is sent before the gate opens.
    Hold(Gate),
    /// N bytes of the body are sent, the rest when the gate opens.
    HoldAfter(usize, Gate),
}

impl Fault {
    /// A status without headers and with the spec's JSON error of `code`.
    pub fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": "scripted" }] }).to_string();
        Self::Status {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// A bare status.
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// 429 with `Retry-After` in seconds, or without it.
    pub fn too_many(retry_after: Option<u64>) -> Self {
        let headers = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        Self::Status {
            status: 429,
            headers: headers.into_iter().collect(),
            body: String::new(),
        }
    }
}

/// Which requests a fault meets.
#[derive(Clone, Debug, Default)]
pub struct On {
    kind: Option<Kind>,
    method: Option<Method>,
    repository: Option<String>,
    reference: Option<String>,
    skip: usize,
    times: Option<usize>,
}

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests for manifests.
    pub fn manifest() -> Self {
        Self {
            kind: Some(Kind::Manifest),
            ..Self::default()
        }
    }

    /// Requests for blobs.
    pub fn blob() -> Self {
        Self {
            kind: Some(Kind::Blob),
            ..Self::default()
        }
    }

    /// Requests to the token service.
    pub fn token() -> Self {
        Self {
            kind: Some(Kind::Token),
            ..Self::default()
        }
    }

    /// Requests for `/v2/`.
    pub fn ping() -> Self {
        Self {
            kind: Some(Kind::Ping),
            ..Self::default()
        }
    }

    /// Requests for referrers.
    pub fn referrers() -> Self {
        Self {
            kind: Some(Kind::Referrers),
            ..Self::default()
        }
    }

    /// Only GET.
    #[must_use]
    pub fn get(mut self) -> Self {
        self.method = Some(Method::GET);
        self
    }

    /// Only HEAD.
    #[must_use]
    pub fn head(mut self) -> Self {
        self.method = Some(Method::HEAD);
        self
    }

    /// Only this upstream repository; of the token service: requests whose scope names it.
    #[must_use]
    pub fn of(mut self, repository: &str) -> Self {
        self.repository = Some(repository.to_owned());
        self
    }

    /// Only this tag or digest.
    #[must_use]
    pub fn at(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Leaves the first `count` of them alone.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Meets `count` of them, then never again.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// `times(1)`.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn matches(&self, request: &Request) -> bool {
        self.kind.is_none_or(|kind| kind == request.kind)
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == request.method)
            && self
                .repository
                .as_ref()
                .is_none_or(|name| *name == request.repository)
            && self
                .reference
                .as_ref()
                .is_none_or(|reference| *reference == request.reference)
    }
}

/// The faults that are still to happen.
#[derive(Debug, Default)]
pub(super) struct Script(Vec<(On, Fault)>);

impl Script {
    pub(super) fn add(&mut self, on: On, fault: Fault) {
        self.0.push((on, fault));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The faults that this request meets; counts them off.
    pub(super) fn meet(&mut self, request: &Request) -> Vec<Fault> {
        let mut met = Vec::new();
        for (on, fault) in &mut self.0 {
            if !on.matches(request) {
                continue;
            }
            if on.skip > 0 {
                on.skip -= 1;
                continue;
            }
            match &mut on.times {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
            met.push(fault.clone());
        }
        met
    }
}

/// Holds answers back until a test opens it. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    waiting: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::closed()
    }
}

impl Gate {
    /// A gate that nothing passes yet.
    pub fn closed() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
            waiting: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns when at least `count` answers have come to the gate; panics if they take too long.
    pub async fn reached_by(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        crate::eventually::soon(
            "answers come to the gate",
            waiting.wait_for(|seen| *seen >= count),
        )
        .await
        .expect("the gate holds its own sender");
    }

    /// Returns when an answer has come to the gate.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    pub(super) async fn pass(&self) {
        self.waiting.send_modify(|seen| *seen += 1);
        // The sender lives in `self`, so this ends only by the gate opening.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}
