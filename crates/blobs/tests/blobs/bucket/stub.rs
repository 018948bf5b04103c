//! A server that answers what no real one can be brought to.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Status and body for a request: its head and its body.
type Answers = dyn Fn(&str) -> (u16, String) + Send + Sync;

/// Takes one request a connection. Goes with this value.
pub(crate) struct Stub {
    pub(crate) url: String,
    accepting: JoinHandle<()>,
}

impl Stub {
    /// One that answers to the method and the target of a request.
    pub(crate) async fn answering(
        answers: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::hearing(move |request| {
            let (method, target) = asked(request);
            answers(method, target)
        })
        .await
    }

    /// One that answers to all of a request.
    pub(crate) async fn hearing(answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Arc<Answers> = Arc::new(answers);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&answers)));
            }
        });
        Self { url, accepting }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The answer of a server that has nothing.
pub(crate) fn nothing(method: &str, target: &str) -> (u16, String) {
    let root = match method {
        "POST" => "DeleteResult",
        _ if target.contains("versioning") => "VersioningConfiguration",
        _ if target.contains("uploads") => "ListMultipartUploadsResult",
        _ => "ListBucketResult",
    };
    (200, format!("<{root}/>"))
}

/// Method and target of a request.
pub(crate) fn asked(request: &str) -> (&str, &str) {
    let mut words = request.split(' ');
    (words.next().unwrap(), words.next().unwrap())
}

async fn answer(mut stream: TcpStream, answers: Arc<Answers>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(length @ 1..) => request.extend_from_slice(&piece[..length]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let (status, body) = answers(&request);
    let sent = if asked(&request).0 == "HEAD" { "" } else { &body };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} As Told\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{sent}");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// Whether head and body are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}
