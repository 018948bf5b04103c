-- The tables of both engines; $ID, $BLOB and $TEXT are the dialect's. Times are milliseconds since the
-- epoch, never = 2^63-1. Sizes are bytes.

-- prefix: what full names begin with. With the slash, "a-b/x" comes before "a/x".
CREATE TABLE organization (
  id           $ID,
  uid          $TEXT   NOT NULL,
  name         $TEXT   NOT NULL,
  prefix       $TEXT   NOT NULL GENERATED ALWAYS AS (name || '/') STORED,
  upstream     $TEXT   NOT NULL,
  window_ms    BIGINT NOT NULL,
  usage_bytes  BIGINT NOT NULL DEFAULT 0 CHECK (usage_bytes >= 0),
  removed_at   BIGINT,
  UNIQUE (uid, upstream)
);
CREATE UNIQUE INDEX organization_prefix ON organization (prefix) WHERE removed_at IS NULL;

CREATE TABLE repository (
  id              $ID,
  organization_id BIGINT NOT NULL REFERENCES organization (id),
  name            $TEXT   NOT NULL,
  UNIQUE (organization_id, name)
);

-- released_at is null exactly while the manifest is held, which is exactly while it is counted.
-- pulled: somebody whose pulls are completed in the background asked for the body.
CREATE TABLE manifest (
  id              $ID,
  repository_id   BIGINT   NOT NULL REFERENCES repository (id),
  organization_id BIGINT   NOT NULL,
  digest          $TEXT     NOT NULL,
  media_type      $TEXT     NOT NULL,
  kind            SMALLINT NOT NULL,
  subject         $TEXT,
  artifact_type   $TEXT,
  released_at     BIGINT,
  pulled          BOOLEAN  NOT NULL DEFAULT FALSE,
  body            $BLOB    NOT NULL,
  UNIQUE (repository_id, digest)
);
CREATE INDEX manifest_released ON manifest (released_at) WHERE released_at IS NOT NULL;
CREATE INDEX manifest_subject ON manifest (repository_id, subject, digest) WHERE subject IS NOT NULL;

-- A row exists exactly while some manifest_blob names it. size is the verified one and stays when
-- the bytes are lost: what a digest weighs does not change any more. wanted_by is the organization
-- and wanted_in the manifest for which it is wanted; both may be gone.
CREATE TABLE blob (
  digest      $TEXT    PRIMARY KEY,
  size        BIGINT,
  storage_key $TEXT,
  private     BOOLEAN NOT NULL DEFAULT FALSE,
  wanted_at   BIGINT,
  wanted_by   BIGINT,
  wanted_in   BIGINT,
  retry_at    BIGINT  NOT NULL DEFAULT 0,
  CHECK (storage_key IS NULL OR size IS NOT NULL)
);
-- Partial, so that no plan walks over everything that is not stored.
CREATE UNIQUE INDEX blob_key ON blob (storage_key) WHERE storage_key IS NOT NULL;
CREATE INDEX blob_wanted ON blob (retry_at) WHERE storage_key IS NULL AND wanted_at IS NOT NULL;

-- layer: it occurs as a layer; a config only is false. size is what this manifest declares.
CREATE TABLE manifest_blob (
  manifest_id   BIGINT  NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
  repository_id BIGINT  NOT NULL,
  digest        $TEXT    NOT NULL REFERENCES blob (digest),
  size          BIGINT  NOT NULL,
  layer         BOOLEAN NOT NULL,
  PRIMARY KEY (manifest_id, digest)
);
CREATE INDEX manifest_blob_digest ON manifest_blob (digest, repository_id, layer, size);

CREATE TABLE manifest_child (
  parent_id     BIGINT NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
  repository_id BIGINT NOT NULL,
  digest        $TEXT   NOT NULL,
  PRIMARY KEY (parent_id, digest)
);
CREATE INDEX manifest_child_digest ON manifest_child (repository_id, digest);

-- A row without a name is a digest pin; it is always current.
CREATE TABLE tag (
  repository_id   BIGINT  NOT NULL REFERENCES repository (id),
  organization_id BIGINT  NOT NULL,
  name            $TEXT    NOT NULL,
  manifest_id     BIGINT  NOT NULL REFERENCES manifest (id),
  current         BOOLEAN NOT NULL,
  ends_at         BIGINT  NOT NULL,
  pulled_at       BIGINT  NOT NULL,
  checked_at      BIGINT  NOT NULL,
  resolved_at     BIGINT  NOT NULL DEFAULT 0,
  failed_at       BIGINT  NOT NULL DEFAULT 0,
  PRIMARY KEY (repository_id, name, manifest_id)
);
CREATE UNIQUE INDEX tag_current ON tag (repository_id, name) WHERE current AND name <> '';
-- Whether a repository has a live tag at all, however many dead ones it keeps.
CREATE INDEX tag_live ON tag (repository_id, ends_at) WHERE current AND name <> '';
CREATE INDEX tag_manifest ON tag (manifest_id);
-- Read in pages: the manifest makes the place after a row a place of its own.
CREATE INDEX tag_end ON tag (organization_id, ends_at, manifest_id);
CREATE INDEX tag_used ON tag (organization_id, pulled_at, manifest_id);

-- refs: the held manifests of the organization that name the digest, itself included.
CREATE TABLE content (
  organization_id BIGINT  NOT NULL REFERENCES organization (id),
  digest          $TEXT    NOT NULL,
  size            BIGINT  NOT NULL CHECK (size >= 0),
  refs            INTEGER NOT NULL CHECK (refs > 0),
  PRIMARY KEY (organization_id, digest)
);

CREATE TABLE proof (
  digest          $TEXT   NOT NULL REFERENCES blob (digest) ON DELETE CASCADE,
  organization_id BIGINT NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
  PRIMARY KEY (digest, organization_id)
);

-- scope: the organization whose credentials are used, 0 for none.
CREATE TABLE fill (
  token       $TEXT    PRIMARY KEY,
  digest      $TEXT    NOT NULL,
  size        BIGINT  NOT NULL,
  scope       BIGINT  NOT NULL,
  leased      BOOLEAN NOT NULL,
  address     $TEXT    NOT NULL,
  storage_key $TEXT    NOT NULL UNIQUE,
  expires_at  BIGINT  NOT NULL
);
CREATE UNIQUE INDEX fill_lease ON fill (digest, scope) WHERE leased;
CREATE INDEX fill_expired ON fill (expires_at);

-- size: how many bytes lie there at most; 0 where they were found to be lost.
CREATE TABLE garbage (
  storage_key $TEXT   PRIMARY KEY,
  size        BIGINT NOT NULL,
  not_before  BIGINT NOT NULL
);
CREATE INDEX garbage_due ON garbage (not_before);

CREATE TABLE lease (
  name       $TEXT   PRIMARY KEY,
  holder     $TEXT   NOT NULL,
  expires_at BIGINT NOT NULL,
  note       $TEXT
);

CREATE TABLE setting (
  name  $TEXT  PRIMARY KEY,
  value $BLOB NOT NULL
);
