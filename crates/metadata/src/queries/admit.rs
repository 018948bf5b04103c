//! The admission: one manifest becomes held, and what that adds is counted (ENGINE §1.3).

use std::sync::Arc;

use bytes::Bytes;
use quayside_oci::Digest;

use crate::engine::Transaction;
use crate::queries::room::{self, Made, Room};
use crate::queries::{count, read, renew, usage};
use crate::sql::{Rows, Statement, args, signed};
use crate::{
    Admission, AdmitError, Admitted, Content, Demand, Hold, ManifestId, MetadataError, OrganizationId,
    Planner, RepositoryId,
};

const FIND_REPOSITORY: Statement = Statement::new(
    "find repository",
    "SELECT id FROM repository WHERE organization_id = $1 AND name = $2",
);

const INSERT_REPOSITORY: Statement = Statement::new(
    "insert repository",
    "INSERT INTO repository (organization_id, name) VALUES ($1, $2) RETURNING id",
);

const FIND_MANIFEST: Statement = Statement::new(
    "find manifest",
    "SELECT id, released_at IS NOT NULL FROM manifest WHERE repository_id = $1 AND digest = $2
     /* FOR UPDATE */",
);

const INSERT_BLOBS: Statement = Statement::new(
    "insert blobs",
    "INSERT INTO blob (digest) SELECT value ->> 0 FROM json_each($1) WHERE TRUE ORDER BY 1
     ON CONFLICT DO NOTHING",
);

/// Not counted yet, so recorded as released until it is.
const INSERT_MANIFEST: Statement = Statement::new(
    "insert manifest",
    "INSERT INTO manifest (repository_id, organization_id, digest, media_type, kind, subject,
                           artifact_type, released_at, body)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
);

/// In this order, because each locks its blob.
const INSERT_MANIFEST_BLOBS: Statement = Statement::new(
    "insert blobs of manifest",
    "INSERT INTO manifest_blob (manifest_id, repository_id, digest, size, layer)
     SELECT $1, $2, value ->> 0, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT) <> 0
     FROM json_each($3) ORDER BY 3",
);

const INSERT_CHILDREN: Statement = Statement::new(
    "insert children of index",
    "INSERT INTO manifest_child (parent_id, repository_id, digest)
     SELECT DISTINCT $1, $2, value ->> 0 FROM json_each($3)",
);

const REPLACE_TAG: Statement = Statement::new(
    "replace tag",
    "UPDATE tag SET current = FALSE, ends_at = CASE WHEN ends_at < $4 THEN ends_at ELSE $4 END
     WHERE repository_id = $1 AND name = $2 AND current AND manifest_id <> $3",
);

const PUT_TAG: Statement = Statement::new(
    "put tag",
    "INSERT INTO tag (repository_id, organization_id, name, manifest_id, current, ends_at, pulled_at,
                      checked_at)
     VALUES ($1, $2, $3, $4, TRUE, $5, $6, $7)
     ON CONFLICT (repository_id, name, manifest_id) DO UPDATE SET
       current = TRUE, resolved_at = 0, failed_at = 0,
       ends_at = CASE WHEN excluded.pulled_at >= tag.pulled_at
                        OR tag.pulled_at > excluded.pulled_at + 600000
                        OR excluded.ends_at > tag.ends_at THEN excluded.ends_at
                      ELSE tag.ends_at END,
       pulled_at = CASE WHEN excluded.pulled_at > tag.pulled_at
                          OR tag.pulled_at > excluded.pulled_at + 600000 THEN excluded.pulled_at
                        ELSE tag.pulled_at END,
       checked_at = CASE WHEN excluded.checked_at > tag.checked_at
                           OR tag.checked_at > excluded.checked_at + 600000
                         THEN excluded.checked_at
                         ELSE tag.checked_at END",
);

const RENEW_PIN: Statement = Statement::new(
    "renew pin",
    "UPDATE tag SET
       ends_at = CASE WHEN $3 >= pulled_at OR $4 > ends_at THEN $4 ELSE ends_at END,
       pulled_at = CASE WHEN $3 > pulled_at THEN $3 ELSE pulled_at END
     WHERE repository_id = $1 AND name = '' AND manifest_id = $2 AND ends_at > $3",
);

const PUT_PIN: Statement = Statement::new("put pin", renew::put_pin!("TRUE"));

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[
    FIND_REPOSITORY,
    FIND_MANIFEST,
    INSERT_BLOBS,
    REPLACE_TAG,
    PUT_TAG,
    RENEW_PIN,
    PUT_PIN,
];

/// An [`Admission`] that owns what it needs, so that it can outlive the caller.
pub(crate) struct Request {
    organization: OrganizationId,
    repository: String,
    digest: Digest,
    content: Option<Given>,
    hold: OwnedHold,
    planner: Arc<dyn Planner>,
    now: i64,
}

struct Given {
    media_type: String,
    body: Bytes,
    kind: i64,
    subject: Option<String>,
    artifact_type: Option<String>,
    /// Of each blob: digest, declared size, 1 if a layer.
    blobs: Vec<(String, i64, i64)>,
    /// Of each child: digest.
    children: Vec<(String,)>,
}

enum OwnedHold {
    Tag {
        name: String,
        ends_at: i64,
        checked_at: i64,
    },
    Pin {
        ends_at: i64,
    },
}

impl Request {
    pub(crate) fn new(admission: &Admission<'_>, planner: Arc<dyn Planner>) -> Self {
        let Admission {
            organization,
            repository,
            digest,
            content,
            hold,
            now,
        } = *admission;
        let content = match content {
            Content::Stored => None,
            Content::New {
                media_type,
                body,
                manifest,
            } => Some(Given {
                media_type: media_type.to_owned(),
                body: body.clone(),
                kind: read::number_of(manifest.kind),
                subject: manifest
                    .subject
                    .as_ref()
                    .map(|subject| subject.digest.to_string()),
                artifact_type: manifest.artifact_type.clone(),
                blobs: manifest
                    .blobs()
                    .iter()
                    .map(|blob| (blob.digest.to_string(), signed(blob.size), i64::from(blob.layer)))
                    .collect(),
                children: manifest
                    .children
                    .iter()
                    .map(|child| (child.digest.to_string(),))
                    .collect(),
            }),
        };
        let hold = match hold {
            Hold::Tag {
                name,
                ends_at,
                checked_at,
            } => OwnedHold::Tag {
                name: name.to_owned(),
                ends_at,
                checked_at,
            },
            Hold::Pin { ends_at } => OwnedHold::Pin { ends_at },
        };
        Self {
            organization,
            repository: repository.to_owned(),
            digest: digest.clone(),
            content,
            hold,
            planner,
            now,
        }
    }
}

impl From<MetadataError> for AdmitError {
    fn from(source: MetadataError) -> Self {
        Self::Metadata(source)
    }
}

pub(crate) async fn admit(tx: &mut Transaction, request: &Request) -> Result<Admitted, AdmitError> {
    let organization = request.organization;
    let before = usage::lock(tx, organization).await?;
    let repository = put_repository(tx, organization, &request.repository).await?;
    let found = tx
        .fetch_optional(FIND_MANIFEST, args![repository, &request.digest])
        .await?;
    let (manifest, counted) = match (found, &request.content) {
        (Some(row), _) => (row.manifest(0)?, !row.flag(1)?),
        (None, Some(given)) => (insert(tx, repository, request, given).await?, false),
        (None, None) => return Err(AdmitError::ManifestGone),
    };
    let pinned = put_holder(tx, request, repository, manifest).await?;
    let mut admitted = Admitted {
        repository,
        manifest,
        pinned,
        needed_bytes: 0,
        usage_bytes: before,
        pruned: Vec::new(),
        rows_read: 0,
    };
    if counted {
        return Ok(admitted);
    }
    let uncounted = count::weigh(tx, organization, manifest).await?;
    count::hold(tx, organization, &uncounted).await?;
    admitted.needed_bytes = uncounted.bytes;
    admitted.usage_bytes += uncounted.bytes;
    // What adds nothing is no worse than what is there (Q3).
    if uncounted.bytes > 0 {
        make_room(tx, request, &mut admitted).await?;
    }
    Ok(admitted)
}

/// Lets the planner decide. The new content is counted, so what is shared with it is not taken for free.
async fn make_room(
    tx: &mut Transaction,
    request: &Request,
    admitted: &mut Admitted,
) -> Result<(), AdmitError> {
    let room = Room {
        organization: request.organization,
        pulled: Some(admitted.manifest),
        demand: Demand {
            usage_bytes: admitted.usage_bytes,
            needed_bytes: admitted.needed_bytes,
            alone_bytes: count::weight(tx, &[admitted.manifest]).await?,
        },
        now: request.now,
    };
    match room::make(tx, &room, request.planner.as_ref()).await? {
        Made::Refused(refusal) => return Err(AdmitError::Quota(refusal)),
        Made::Deferred => return Err(AdmitError::NeedsPlan),
        Made::Pruned(pruning) => {
            admitted.usage_bytes = pruning.usage_bytes;
            admitted.pruned = pruning.pruned;
            admitted.rows_read = pruning.rows_read;
        }
    }
    Ok(())
}

/// Lets the tag or a pin hold the manifest; whether it is a pin.
async fn put_holder(
    tx: &mut Transaction,
    request: &Request,
    repository: RepositoryId,
    manifest: ManifestId,
) -> Result<bool, MetadataError> {
    match &request.hold {
        OwnedHold::Tag {
            name,
            ends_at,
            checked_at,
        } => {
            tx.execute(REPLACE_TAG, args![repository, name, manifest, request.now])
                .await?;
            let values = args![
                repository,
                request.organization,
                name,
                manifest,
                *ends_at,
                request.now,
                *checked_at
            ];
            tx.execute(PUT_TAG, values).await?;
            Ok(false)
        }
        OwnedHold::Pin { ends_at } => {
            let values = || args![repository, manifest, request.now, *ends_at];
            Ok(tx.execute(RENEW_PIN, values()).await? > 0 || tx.execute(PUT_PIN, values()).await? > 0)
        }
    }
}

async fn put_repository(
    tx: &mut Transaction,
    organization: OrganizationId,
    name: &str,
) -> Result<RepositoryId, MetadataError> {
    if let Some(row) = tx
        .fetch_optional(FIND_REPOSITORY, args![organization, name])
        .await?
    {
        return row.repository(0);
    }
    tx.fetch_one(INSERT_REPOSITORY, args![organization, name])
        .await?
        .repository(0)
}

async fn insert(
    tx: &mut Transaction,
    repository: RepositoryId,
    request: &Request,
    given: &Given,
) -> Result<ManifestId, MetadataError> {
    let values = args![
        repository,
        request.organization,
        &request.digest,
        &given.media_type,
        given.kind,
        &given.subject,
        &given.artifact_type,
        request.now,
        &given.body,
    ];
    let manifest = tx.fetch_one(INSERT_MANIFEST, values).await?.manifest(0)?;
    if !given.blobs.is_empty() {
        let blobs = Rows::new(&given.blobs)?;
        tx.execute(INSERT_BLOBS, args![&blobs]).await?;
        tx.execute(INSERT_MANIFEST_BLOBS, args![manifest, repository, &blobs])
            .await?;
    }
    if !given.children.is_empty() {
        let children = Rows::new(&given.children)?;
        tx.execute(INSERT_CHILDREN, args![manifest, repository, &children])
            .await?;
    }
    Ok(manifest)
}
