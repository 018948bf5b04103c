//! A client of the registry that hides nothing: no redirects, no decompression, no retries.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, House, USERS};
use crate::eventually::{PATIENCE, soon};

/// A request that is being put together.
#[derive(Debug)]
pub struct Call {
    request: reqwest::RequestBuilder,
}

impl Call {
    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        Self {
            request: self.request.header(name, HeaderValue::from_str(value).unwrap()),
        }
    }

    /// Basic credentials.
    #[must_use]
    pub fn basic(self, username: &str, password: &str) -> Self {
        Self {
            request: self.request.basic_auth(username, Some(password)),
        }
    }

    /// The right Basic credentials of one of the [`USERS`].
    #[must_use]
    pub fn user(self, name: &str) -> Self {
        let (_, password, _) = USERS.iter().find(|(user, _, _)| *user == name).unwrap();
        self.basic(name, password)
    }

    /// A bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        Self {
            request: self.request.bearer_auth(token),
        }
    }

    /// A body.
    #[must_use]
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self {
            request: self.request.body(body),
        }
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self) -> Answer {
        soon("the registry answers", async {
            Answer::read(self.request.send().await.unwrap()).await
        })
        .await
    }

    /// As [`Call::send`]; nothing if the connection is closed without an answer.
    pub async fn try_send(self) -> Option<Answer> {
        soon("the registry answers", async {
            Some(Answer::read(self.request.send().await.ok()?).await)
        })
        .await
    }

    /// Sends it and returns as soon as the head of the answer is there.
    pub async fn open(self) -> reqwest::Response {
        soon("the registry begins to answer", self.request.send())
            .await
            .unwrap()
    }
}

pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE * 2)
        .pool_idle_timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

impl House {
    /// A request to a path of the OCI API.
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call {
            request: self.client.request(method, format!("{}{path}", self.base())),
        }
    }

    /// GET of a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    /// HEAD of a path.
    pub async fn head(&self, path: &str) -> Answer {
        self.call(Method::HEAD, path).send().await
    }

    /// GET of a manifest in `acme`.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Answer {
        self.get(&format!("/v2/acme/{repository}/manifests/{reference}"))
            .await
    }

    /// HEAD of a manifest in `acme`.
    pub async fn head_manifest(&self, repository: &str, reference: &str) -> Answer {
        self.head(&format!("/v2/acme/{repository}/manifests/{reference}"))
            .await
    }

    /// GET of a blob in `acme`.
    pub async fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.get(&format!("/v2/acme/{repository}/blobs/{digest}")).await
    }

    /// GET of part of a blob in `acme`; `range` as in the header, `bytes=0-9`.
    pub async fn blob_range(&self, repository: &str, digest: &str, range: &str) -> Answer {
        let path = format!("/v2/acme/{repository}/blobs/{digest}");
        self.call(Method::GET, &path).header("range", range).send().await
    }

    /// The tags of a repository in `acme` that are listed; none if the list is refused.
    pub async fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/acme/{repository}/tags/list")).await;
        let document = answer.json();
        let tags = document["tags"].as_array().cloned().unwrap_or_default();
        tags.iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect()
    }

    /// A request to a path of the admin port, without a token.
    pub fn admin_call(&self, method: Method, path: &str) -> Call {
        let url = format!("http://{}{path}", self.server().admin_address());
        Call {
            request: self.client.request(method, url),
        }
    }

    /// GET of a path on the admin port.
    pub async fn admin(&self, path: &str) -> Answer {
        self.admin_call(Method::GET, path).send().await
    }

    /// A bare connection to the OCI API.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server().address()).await.unwrap()
    }

    /// Sends bytes on a connection of their own and returns everything that comes back before it ends.
    pub async fn raw(&self, request: &[u8]) -> RawAnswer {
        let mut stream = self.connect().await;
        let mut received = Vec::new();
        let exchange = async {
            // The registry may answer and close before it has read everything.
            let _ = stream.write_all(request).await;
            let _ = stream.read_to_end(&mut received).await;
        };
        soon("the registry answers and closes", exchange).await;
        RawAnswer::parse(&received)
    }

    /// As [`House::raw`] for a GET of a target that no URL library would let through.
    pub async fn raw_get(&self, target: &[u8]) -> RawAnswer {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(target);
        request.extend_from_slice(b" HTTP/1.1\r\nhost: registry.test\r\nconnection: close\r\n\r\n");
        self.raw(&request).await
    }
}

/// A response as it was on the wire.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The HTTP status; 0: the connection was closed without an answer.
    pub status: u16,
    /// The head, as text.
    pub head: String,
    /// The rest, as text.
    pub body: String,
}

impl RawAnswer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The code of the first error in the body, empty if there is none.
    pub fn code(&self) -> String {
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        document["errors"][0]["code"].as_str().unwrap_or("").to_owned()
    }
}
