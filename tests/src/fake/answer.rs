//! From a request to what goes on the wire.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::Shared;
use super::login::Login;
use super::request::{Kind, Request};
use super::script::{Fault, Gate};

/// A response, and how it is sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) sending: Sending,
}

/// The ways in which sending can differ from the ordinary.
#[derive(Debug, Default)]
pub(super) struct Sending {
    pub(super) before: Vec<Gate>,
    pub(super) gates: Vec<(usize, Gate)>,
    pub(super) cut: Option<usize>,
    pub(super) framing: Framing,
    pub(super) drip: Option<(usize, Duration)>,
    pub(super) instead: Option<Instead>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Length,
    Chunked,
}

/// What is done instead of answering.
#[derive(Debug)]
pub(super) enum Instead {
    Nothing,
    Hangup,
    Bytes(Bytes),
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(super) fn json(status: u16, document: &Value) -> Self {
        Self::new(status, document.to_string()).header("content-type", "application/json")
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::json(
            status,
            &json!({ "errors": [{ "code": code, "message": "not here" }] }),
        )
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn set(&mut self, name: &str, value: Option<String>) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.extend(value.map(|value| (name.to_owned(), value)));
    }
}

impl Shared {
    /// Records the request and decides on the answer.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let faults = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            state.script.meet(request)
        };
        self.arrivals.send_modify(|count| *count += 1);
        let mut answer = self
            .refusal(request)
            .unwrap_or_else(|| self.content(request, &faults));
        for fault in faults {
            apply(&mut answer, fault);
        }
        answer
    }

    fn refusal(&self, request: &Request) -> Option<Answer> {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        match request.kind {
            Kind::Other => None,
            Kind::Token => {
                let known = state.content.repositories.contains_key(&request.repository);
                Some(state.login.token(&mut state.tokens, request, known))
            }
            _ => Login::refuse(&state.login, &state.tokens, request, &self.origin()),
        }
    }

    fn content(&self, request: &Request, faults: &[Fault]) -> Answer {
        let state = self.state.lock().unwrap();
        let repository = state.content.repositories.get(&request.repository);
        match request.kind {
            Kind::Ping => Answer::json(200, &json!({})),
            Kind::Manifest => match repository.map(|repository| repository.manifest(&request.reference)) {
                None => Answer::error(404, "NAME_UNKNOWN"),
                Some(None) => Answer::error(404, "MANIFEST_UNKNOWN"),
                Some(Some(manifest)) => Answer::new(200, altered(&manifest.bytes, faults))
                    .header("content-type", &manifest.media_type)
                    .header("docker-content-digest", &manifest.digest),
            },
            Kind::Blob => match repository.and_then(|repository| repository.blobs.get(&request.reference)) {
                None => Answer::error(404, "BLOB_UNKNOWN"),
                Some(bytes) => ranged(altered(bytes, faults), request, faults)
                    .header("content-type", "application/octet-stream")
                    .header("docker-content-digest", &request.reference),
            },
            Kind::Referrers => match repository.and_then(|known| known.referrers.get(&request.reference)) {
                None => Answer::error(404, "NAME_UNKNOWN"),
                Some(body) => Answer::new(200, body.clone()).header("content-type", crate::images::OCI_INDEX),
            },
            Kind::Tags => Answer::json(
                200,
                &json!({
                    "name": request.repository,
                    "tags": repository.map(|known| known.tags.keys().cloned().collect::<Vec<_>>()),
                }),
            ),
            Kind::Token => Answer::error(404, "UNSUPPORTED"),
            Kind::Other => match state.content.files.get(&request.path) {
                None => Answer::new(404, ""),
                Some(bytes) => ranged(altered(bytes, faults), request, faults),
            },
        }
    }
}

/// The content as the faults make it.
fn altered(bytes: &Bytes, faults: &[Fault]) -> Bytes {
    let mut bytes = bytes.clone();
    for fault in faults {
        match fault {
            Fault::Replace(other) => bytes = other.clone(),
            Fault::Truncated(length) => bytes.truncate(*length),
            Fault::Padded(extra) => {
                let mut longer = bytes.to_vec();
                longer.resize(longer.len() + extra, b'!');
                bytes = longer.into();
            }
            Fault::Flip(position) => {
                let mut wrong = bytes.to_vec();
                wrong[*position] ^= 1;
                bytes = wrong.into();
            }
            _ => {}
        }
    }
    bytes
}

/// All of the content, or the part that `Range: bytes=first-[last]` asks for.
fn ranged(bytes: Bytes, request: &Request, faults: &[Fault]) -> Answer {
    let ignored =
        request.method == Method::HEAD || faults.iter().any(|fault| matches!(fault, Fault::IgnoreRange));
    let Some(range) = request
        .header("range")
        .strip_prefix("bytes=")
        .filter(|_| !ignored)
    else {
        return Answer::new(200, bytes);
    };
    let (first, last) = range.split_once('-').unwrap_or((range, ""));
    let first: usize = first.parse().unwrap_or(0);
    let last = last
        .parse()
        .map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()));
    if first >= last {
        return Answer::new(416, "").header("content-range", format!("bytes */{}", bytes.len()));
    }
    Answer::new(206, bytes.slice(first..last)).header(
        "content-range",
        format!("bytes {first}-{}/{}", last - 1, bytes.len()),
    )
}

fn apply(answer: &mut Answer, fault: Fault) {
    match fault {
        Fault::Status {
            status,
            headers,
            body,
        } => {
            answer.status = status;
            answer.headers = headers;
            answer.body = body.into();
        }
        Fault::Redirect(location) => {
            *answer = Answer {
                sending: std::mem::take(&mut answer.sending),
                ..Answer::new(307, "")
            }
            .header("location", location);
        }
        Fault::NoDigestHeader => answer.set("docker-content-digest", None),
        Fault::DigestHeader(digest) => answer.set("docker-content-digest", Some(digest)),
        Fault::ContentType(media_type) => answer.set("content-type", Some(media_type)),
        Fault::Cut(length) => answer.sending.cut = Some(length),
        Fault::Chunked => answer.sending.framing = Framing::Chunked,
        Fault::BlackHole => answer.sending.instead = Some(Instead::Nothing),
        Fault::Hangup => answer.sending.instead = Some(Instead::Hangup),
        Fault::Garbage(bytes) => answer.sending.instead = Some(Instead::Bytes(bytes)),
        Fault::Drip(bytes, pause) => answer.sending.drip = Some((bytes, pause)),
        Fault::Hold(gate) => answer.sending.before.push(gate),
        Fault::HoldAfter(length, gate) => answer.sending.gates.push((length, gate)),
        // These changed the content before the answer was made of it.
        Fault::Flip(_) | Fault::Truncated(_) | Fault::Padded(_) | Fault::Replace(_) | Fault::IgnoreRange => {}
    }
}
