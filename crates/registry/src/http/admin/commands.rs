//! What the tools ask a running registry to do (O5). GET looks, POST changes; answers are JSON, in the shapes of
//! `docs/tools.md`.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use quayside_metadata::{Discrepancy, MetadataError, OrganizationId};
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Admin, respond};
use crate::gc::{GcError, Mode};
use crate::http::Response;
use crate::scrub::Depth;
use crate::tools::Repair;

const JSON: &str = "application/json";

impl Admin {
    /// Answers everything on the admin port that is neither a probe nor the metrics.
    pub(super) async fn command(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
        if !self.token.is_in(headers) {
            let mut response = failed(StatusCode::UNAUTHORIZED, "the admin token is missing or wrong");
            let challenge = HeaderValue::from_static("Bearer realm=\"quayside admin\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        }
        let field = |name| field(uri, name);
        match (uri.path(), method) {
            ("/gc", &Method::GET) => self.collect(Mode::DryRun).await,
            ("/gc", &Method::POST) => self.collect(Mode::Run).await,
            ("/recount", &Method::GET) => self.recount(Repair::Leave).await,
            ("/recount", &Method::POST) => self.recount(Repair::PutRight).await,
            ("/scrub", &Method::GET) => self.scrub(Depth::Presence, Repair::Leave),
            ("/scrub", &Method::POST) => self.scrub(Depth::Presence, Repair::PutRight),
            ("/scrub/verify", &Method::GET) => self.scrub(Depth::Content, Repair::Leave),
            ("/scrub/verify", &Method::POST) => self.scrub(Depth::Content, Repair::PutRight),
            ("/gc" | "/recount" | "/scrub" | "/scrub/verify", _) => {
                failed(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST")
            }
            ("/prune", &Method::GET) => self.plan(field("organization"), field("bytes")).await,
            ("/why", &Method::GET) => self.why(field("image"), field("as")).await,
            ("/prune" | "/why", _) => failed(StatusCode::METHOD_NOT_ALLOWED, "only GET"),
            _ => failed(StatusCode::NOT_FOUND, "there is no such command"),
        }
    }

    async fn collect(&self, mode: Mode) -> Response {
        match self.gc.pass(mode).await {
            Ok(report) => shown(&json!({ "dryRun": mode == Mode::DryRun, "report": report })),
            Err(error) => {
                let away = match &error {
                    GcError::Renewals(source) | GcError::Metadata { source, .. } => is_away(source),
                };
                gave_up(away, error)
            }
        }
    }

    async fn recount(&self, repair: Repair) -> Response {
        match self.compare(repair).await {
            Ok(compared) => shown(&compared),
            Err(error) => gave_up(is_away(&error), error),
        }
    }

    /// Repairs are proven by looking again.
    async fn compare(&self, repair: Repair) -> Result<Value, MetadataError> {
        let (metadata, engine) = (&self.engine.metadata, &self.engine);
        let (found, remaining) = match repair {
            Repair::Leave => {
                let found = metadata.recount().await?;
                (found.clone(), found)
            }
            Repair::PutRight => {
                let found = metadata
                    .recount_repair(engine.now(), engine.garbage_not_before())
                    .await?;
                (found, metadata.recount().await?)
            }
        };
        let names: HashMap<_, _> = metadata
            .known_organizations()
            .await?
            .into_iter()
            .map(|known| (known.id, known.name))
            .collect();
        let describe = |all: &[Discrepancy]| all.iter().map(|one| describe(one, &names)).collect::<Vec<_>>();
        Ok(json!({ "found": describe(&found), "remaining": describe(&remaining) }))
    }
}

/// One discrepancy as it is shown.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Shown {
    Usage {
        organization: String,
        recorded_bytes: u64,
        actual_bytes: u64,
    },
    Content {
        organization: String,
        digest: String,
        recorded: Option<Counted>,
        actual: Option<Counted>,
    },
    Held {
        manifest: i64,
        held: bool,
    },
    UnnamedBlob {
        digest: String,
    },
    SharedKey {
        key: String,
    },
}

/// How a digest is counted in an organization.
#[derive(Serialize)]
struct Counted {
    bytes: u64,
    references: u64,
}

fn describe(discrepancy: &Discrepancy, names: &HashMap<OrganizationId, String>) -> Shown {
    // An organization that was removed has no name any more, only a row.
    let name = |id: &OrganizationId| names.get(id).cloned().unwrap_or_else(|| format!("#{}", id.0));
    let counted = |count: &Option<(u64, u64)>| count.map(|(bytes, references)| Counted { bytes, references });
    match discrepancy {
        Discrepancy::Usage {
            organization,
            recorded,
            actual,
        } => Shown::Usage {
            organization: name(organization),
            recorded_bytes: *recorded,
            actual_bytes: *actual,
        },
        Discrepancy::Content {
            organization,
            digest,
            recorded,
            actual,
        } => Shown::Content {
            organization: name(organization),
            digest: digest.to_string(),
            recorded: counted(recorded),
            actual: counted(actual),
        },
        Discrepancy::Held { manifest, held } => Shown::Held {
            manifest: manifest.0,
            held: *held,
        },
        Discrepancy::UnnamedBlob { digest } => Shown::UnnamedBlob {
            digest: digest.to_string(),
        },
        Discrepancy::SharedKey { key } => Shown::SharedKey { key: key.clone() },
    }
}

/// A field of the query; none if it is empty.
fn field(uri: &Uri, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let value = fields.find(|(key, _)| key == name)?.1.into_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// Whether it is worth trying again a moment later (O2).
pub(super) fn is_away(error: &MetadataError) -> bool {
    matches!(
        error,
        MetadataError::Unavailable { .. } | MetadataError::Corrupt { .. }
    )
}

pub(super) fn shown(document: &Value) -> Response {
    respond(StatusCode::OK, JSON, Bytes::from(document.to_string()))
}

/// Administrators are told the cause: they have the token and the log.
pub(super) fn gave_up(away: bool, error: impl std::error::Error + Send + Sync + 'static) -> Response {
    let reason = format!("{:#}", anyhow::Error::new(error));
    tracing::warn!(reason, "command given up");
    let status = if away {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    failed(status, &reason)
}

pub(super) fn failed(status: StatusCode, reason: &str) -> Response {
    respond(status, JSON, Bytes::from(json!({ "error": reason }).to_string()))
}
