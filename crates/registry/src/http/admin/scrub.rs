//! `/scrub` and `/scrub/verify` on the admin port: one JSON document a line while the comparison runs (O5).

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::{HeaderValue, StatusCode, header};

use super::Admin;
use super::commands::failed;
use crate::http::Response;
use crate::http::body::Body;
use crate::pull::blobs::Bytestream;
use crate::scrub::{Busy, Depth, Event};
use crate::tools::Repair;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

impl Admin {
    pub(super) fn scrub(&self, depth: Depth, repair: Repair) -> Response {
        let events = match self.scrub.begin(depth, repair) {
            Ok(events) => events,
            Err(busy @ Busy) => return failed(StatusCode::CONFLICT, &busy.to_string()),
        };
        let lines = stream::unfold(events, |mut events| async {
            let event = events.recv().await?;
            Some((Ok(line(&event)), events))
        });
        let mut response = http::Response::new(Body::from(Bytestream::Stream(lines.boxed())));
        response.headers_mut().insert(header::CONTENT_TYPE, LINES);
        response
    }
}

fn line(event: &Event) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
