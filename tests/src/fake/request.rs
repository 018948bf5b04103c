//! What was asked of a scripted upstream.

use http::{HeaderMap, Method};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/v2/`
    Ping,
    /// `/v2/<name>/manifests/<reference>`
    Manifest,
    /// `/v2/<name>/blobs/<digest>`
    Blob,
    /// `/v2/<name>/referrers/<digest>`
    Referrers,
    /// `/v2/<name>/tags/list`
    Tags,
    /// `/token`
    Token,
    /// Anything else.
    Other,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The request target as sent, absolute if a proxy was asked.
    pub target: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it is for.
    pub kind: Kind,
    /// The repository it names; of the token service: the one in the scope. Empty if none.
    pub repository: String,
    /// The tag or digest it names. Empty if none.
    pub reference: String,
    /// The body, of POST only.
    pub body: String,
}

impl Request {
    pub(super) fn new(method: Method, target: &str, headers: HeaderMap) -> Self {
        let local = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => target,
        };
        let (path, query) = local.split_once('?').unwrap_or((local, ""));
        let (kind, repository, reference) = classify(path, query);
        Self {
            method,
            target: target.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            kind,
            repository,
            reference,
            body: String::new(),
        }
    }

    /// The value of a header, empty if it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

fn classify(path: &str, query: &str) -> (Kind, String, String) {
    if path == "/token" {
        let scope = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("scope="))
            .map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
            .unwrap_or_default();
        let repository = scope.split(':').nth(1).unwrap_or("").to_owned();
        return (Kind::Token, repository, String::new());
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return (Kind::Other, String::new(), String::new());
    };
    if rest.is_empty() {
        return (Kind::Ping, String::new(), String::new());
    }
    let places = [
        ("/manifests/", Kind::Manifest),
        ("/blobs/", Kind::Blob),
        ("/referrers/", Kind::Referrers),
    ];
    for (marker, kind) in places {
        if let Some((repository, reference)) = rest.rsplit_once(marker) {
            return (kind, repository.to_owned(), reference.replace("%3A", ":"));
        }
    }
    match rest.strip_suffix("/tags/list") {
        Some(repository) => (Kind::Tags, repository.to_owned(), String::new()),
        None => (Kind::Other, String::new(), String::new()),
    }
}
