//! From a request to what is sent: pure.

use std::ops::Range;
use std::sync::Arc;

use super::{Origin, Stock};
use crate::content::Content;
use crate::image::{MANIFEST_TYPE, TAG};

/// What follows the head.
pub(super) enum Body {
    None,
    Text(Vec<u8>),
    Manifest(Arc<Stock>),
    Blob(Arc<Stock>, Content, Range<u64>),
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Body,
}

impl Origin {
    /// Answers the head of a request.
    pub(super) fn answer(&self, request: &str) -> Answer {
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut answer = self.get(path, range(request)).unwrap_or_else(|| {
            let text = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing here"}]}"#;
            Answer {
                head: head("404 Not Found", text.len() as u64, "application/json", ""),
                body: Body::Text(text.to_vec()),
            }
        });
        if method == "HEAD" {
            answer.body = Body::None;
        }
        answer
    }

    fn get(&self, path: &str, range: Option<(u64, u64)>) -> Option<Answer> {
        if let Some(repository) = path.strip_prefix("/_/counters/") {
            let counts = serde_json::to_vec(&self.stock(repository)?.counters.read()).ok()?;
            let head = head("200 OK", counts.len() as u64, "application/json", "");
            return Some(Answer {
                head,
                body: Body::Text(counts),
            });
        }
        let path = path.strip_prefix("/v2/")?;
        if path.is_empty() {
            let body = Body::Text(b"{}".to_vec());
            return Some(Answer {
                head: head("200 OK", 2, "application/json", ""),
                body,
            });
        }
        let (rest, reference) = path.rsplit_once('/')?;
        let (repository, kind) = rest.rsplit_once('/')?;
        let stock = self.stock(repository)?;
        match kind {
            "manifests" => manifest(stock, reference),
            "blobs" => blob(stock, reference, range),
            _ => None,
        }
    }
}

fn manifest(stock: Arc<Stock>, reference: &str) -> Option<Answer> {
    let image = &stock.image;
    if reference != TAG && reference != image.digest {
        return None;
    }
    stock.counters.request();
    let head = head(
        "200 OK",
        image.manifest.len() as u64,
        MANIFEST_TYPE,
        &named(&image.digest),
    );
    Some(Answer {
        head,
        body: Body::Manifest(stock),
    })
}

fn blob(stock: Arc<Stock>, digest: &str, range: Option<(u64, u64)>) -> Option<Answer> {
    let content = stock
        .image
        .blobs
        .iter()
        .find(|blob| blob.digest == digest)?
        .content;
    stock.counters.request();
    let more = format!("Accept-Ranges: bytes\r\n{}", named(digest));
    let size = content.size;
    let (status, part, more) = match range {
        Some((first, last)) if first < size => {
            let last = last.min(size - 1);
            let more = format!("Content-Range: bytes {first}-{last}/{size}\r\n{more}");
            ("206 Partial Content", first..last + 1, more)
        }
        _ => ("200 OK", 0..size, more),
    };
    let head = head(status, part.end - part.start, "application/octet-stream", &more);
    Some(Answer {
        head,
        body: Body::Blob(stock, content, part),
    })
}

fn named(digest: &str) -> String {
    format!("Docker-Content-Digest: {digest}\r\nETag: \"{digest}\"\r\n")
}

fn head(status: &str, length: u64, media_type: &str, more: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: {media_type}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\n{more}\r\n"
    )
}

/// `Range: bytes=first-[last]`; the forms that no cache sends are not read.
fn range(request: &str) -> Option<(u64, u64)> {
    let line = request.lines().find(|line| {
        line.get(..6)
            .is_some_and(|name| name.eq_ignore_ascii_case("range:"))
    })?;
    let (first, last) = line.get(6..)?.trim().strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::content::Pool;

    fn origin() -> Origin {
        Origin {
            pool: Pool::generate(),
            images: Mutex::default(),
        }
    }

    #[test]
    fn serves_a_range_of_a_blob_and_counts_the_request() {
        let origin = origin();
        let stock = origin.stock("bench/1/1x5000p0").unwrap();
        let digest = &stock.image.layer().unwrap().digest;
        let request = format!("GET /v2/bench/1/1x5000p0/blobs/{digest} HTTP/1.1\r\nrange: bytes=10-\r\n\r\n");
        let answer = origin.answer(&request);
        assert!(answer.head.starts_with("HTTP/1.1 206 "), "{}", answer.head);
        assert!(
            answer.head.contains("Content-Range: bytes 10-4999/5000"),
            "{}",
            answer.head
        );
        assert!(matches!(answer.body, Body::Blob(_, _, part) if part == (10..5000)));
        assert_eq!(stock.counters.read().requests, 1);
    }

    #[test]
    fn knows_no_other_repository() {
        let answer = origin().answer("GET /v2/library/alpine/manifests/3 HTTP/1.1\r\n\r\n");
        assert!(answer.head.starts_with("HTTP/1.1 404 "), "{}", answer.head);
    }
}
