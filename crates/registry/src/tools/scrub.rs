//! Following a comparison of storage and database to its end.

use bytes::BytesMut;
use reqwest::Response;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Repair, RunningServer, ToolError};
use crate::scrub::Depth;

impl RunningServer {
    /// Compares storage with the database: `{"report": {…}, "found": […]}`. `watch` sees every line that the server
    /// sends while it works: `{"progress": {…}}` and `{"found": {…}}`.
    pub async fn scrub(
        &self,
        depth: Depth,
        repair: Repair,
        mut watch: impl FnMut(&Value),
    ) -> Result<Value, ToolError> {
        let method = match repair {
            Repair::Leave => reqwest::Method::GET,
            Repair::PutRight => reqwest::Method::POST,
        };
        let path = match depth {
            Depth::Presence => "scrub",
            Depth::Content => "scrub/verify",
        };
        let address = self.address;
        let unreachable = |source| ToolError::Unreachable { address, source };
        let request = self.http.request(method, format!("http://{address}/{path}"));
        let request = request.bearer_auth(self.token.secret().expose_secret());
        let answer = request.send().await.map_err(unreachable)?;
        match answer.status().as_u16() {
            200 => {}
            401 => return Err(ToolError::Refused { address }),
            409 => {
                let document = answer.json::<Value>().await.map_err(unreachable)?;
                return Err(failed(&document["error"]));
            }
            _ => return Err(ToolError::Stranger { address }),
        }
        let mut lines = Lines::of(answer);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.map_err(unreachable)? {
            let mut event: Value =
                serde_json::from_slice(&line).map_err(|_| ToolError::Stranger { address })?;
            watch(&event);
            if !event["error"].is_null() {
                return Err(failed(&event["error"]));
            }
            if !event["report"].is_null() {
                return Ok(json!({ "report": event["report"].take(), "found": found }));
            }
            if !event["found"].is_null() {
                found.push(event["found"].take());
            }
        }
        Err(failed(&json!("it stopped before the end")))
    }
}

fn failed(reason: &Value) -> ToolError {
    let reason = reason.as_str().unwrap_or("it does not say why").to_owned();
    ToolError::Failed { reason }
}

/// The lines of an answer as they arrive.
struct Lines {
    answer: Response,
    received: BytesMut,
}

impl Lines {
    fn of(answer: Response) -> Self {
        Self {
            answer,
            received: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> reqwest::Result<Option<BytesMut>> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.received.split_to(end + 1)));
            }
            let Some(chunk) = self.answer.chunk().await? else {
                return Ok(None);
            };
            self.received.extend_from_slice(&chunk);
        }
    }
}
