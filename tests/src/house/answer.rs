//! What came back from the registry.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use serde_json::Value;

use super::output;

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// As much of the body as arrived.
    pub body: Bytes,
    /// Whether the body ended as the headers said it would.
    pub complete: bool,
}

impl Answer {
    /// Reads a response to its end, or to where it breaks off; panics if a secret is in it (A6).
    pub async fn read(mut response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = BytesMut::new();
        let complete = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        for (name, value) in &headers {
            assert!(
                !output::betrays(value.as_bytes()),
                "a secret in the header {name}"
            );
        }
        // Errors are short; content is the upstream's, not ours.
        assert!(
            body.len() > 64 << 10 || !output::betrays(&body),
            "a secret in the body"
        );
        Self {
            status,
            headers,
            body: body.freeze(),
            complete,
        }
    }

    /// The value of a header, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// The body as JSON, null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of the first error in the body, empty if there is none.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or("").to_owned()
    }

    /// The message of the first error in the body, empty if there is none.
    pub fn message(&self) -> String {
        self.json()["errors"][0]["message"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    }

    /// Panics unless this is an error of this status and code.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        assert!(!self.message().is_empty(), "an error without a message: {self:?}");
        assert!(
            self.header("content-type").starts_with("application/json"),
            "{self:?}"
        );
    }

    /// Panics unless this is 200 with exactly these bytes.
    #[track_caller]
    pub fn assert_body(&self, bytes: &[u8]) {
        assert_eq!(self.status, 200, "{}", self.summary());
        assert!(self.complete, "the body was cut: {}", self.summary());
        assert!(
            self.body == bytes,
            "{} bytes of {}: {}",
            self.body.len(),
            bytes.len(),
            self.summary()
        );
    }

    /// Panics unless this is 200 served in this way (M14).
    #[track_caller]
    pub fn assert_cache(&self, status: &str) {
        assert_eq!(
            (self.status, self.header("x-cache")),
            (200, status),
            "{}",
            self.summary()
        );
    }

    /// Status, headers and the beginning of the body.
    pub fn summary(&self) -> String {
        let beginning = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]);
        format!("{} {:?} {beginning}", self.status, self.headers)
    }
}
