//! Fills a database at once that pulls would have to fill for hours.
//!
//! The registry has made the file and knows its organizations; what is written here is what its own
//! admissions would have written, and `recount` is asked to find fault with it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::shape::{Blob, INDEX_TYPE, Shape, Tag};

/// How many tags one statement inserts.
const BATCH: usize = 250;
/// When everything ends, in ms since the epoch: after every measurement.
const END: i64 = 4_000_000_000_000;

/// A database file that no registry has open.
pub(super) struct Stock {
    connection: SqliteConnection,
}

/// Where a tag goes.
struct Place {
    organization: i64,
    tag: Tag,
}

impl Stock {
    pub(super) async fn open(path: &Path) -> anyhow::Result<Self> {
        // A fresh file that is thrown away if this fails needs no journal.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false)
            .pragma("cache_size", "-200000")
            .disable_statement_logging();
        let connection = options.connect().await;
        Ok(Self {
            connection: connection.with_context(|| format!("open {}", path.display()))?,
        })
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.connection.close().await.context("close the database")
    }

    /// Inserts all that a shape contains, and puts the bytes that it has into `storage`.
    pub(super) async fn fill(&mut self, shape: Shape, storage: &Path, now: i64) -> anyhow::Result<()> {
        let indexes = self.drop_indexes().await?;
        let organizations = self.organizations().await?;
        let id = |name: &str| {
            let id = organizations.get(name).copied();
            id.with_context(|| format!("find organization {name}"))
        };
        let (big, names) = (id(super::shape::BIG)?, shape.organizations());
        let others = names.iter().skip(1).map(|name| {
            Ok(Place {
                organization: id(name)?,
                tag: Shape::only_tag(name),
            })
        });
        let of_big = (0..shape.tags).map(|tag| {
            Ok(Place {
                organization: big,
                tag: shape.tag(tag),
            })
        });
        let mut places = of_big.chain(others);
        let mut rows = Batches::default();
        loop {
            let batch: Vec<Place> = places.by_ref().take(BATCH).collect::<anyhow::Result<_>>()?;
            if batch.is_empty() {
                break;
            }
            for place in &batch {
                rows.add(place, now, storage)?;
            }
            self.insert(&mut rows).await?;
        }
        self.count().await?;
        for index in indexes {
            self.run(index).await.context("make an index again")?;
        }
        self.check_references().await
    }

    /// Ends as many images of the big organization as `count`, so that the next pass finds them: those that were
    /// used last, because the others may be pruned by now.
    pub(super) async fn kill(&mut self, count: u32, ended: i64) -> anyhow::Result<()> {
        let done = sqlx::query(
            "UPDATE tag SET ends_at = $1 WHERE rowid IN (
               SELECT t.rowid FROM tag t JOIN manifest m ON m.id = t.manifest_id AND m.kind = 0
               WHERE t.organization_id = (SELECT id FROM organization WHERE name = $2)
                 AND t.ends_at > $1 AND length(t.name) = 7
               ORDER BY t.pulled_at DESC LIMIT $3)",
        )
        .bind(ended)
        .bind(super::shape::BIG)
        .bind(count)
        .execute(&mut self.connection)
        .await
        .context("end tags")?;
        ensure!(
            done.rows_affected() == u64::from(count),
            "there are too few images to end"
        );
        Ok(())
    }

    /// Usage of the big organization in bytes.
    pub(super) async fn usage(&mut self) -> anyhow::Result<i64> {
        let usage = sqlx::query_scalar("SELECT usage_bytes FROM organization WHERE name = $1")
            .bind(super::shape::BIG)
            .fetch_one(&mut self.connection);
        usage.await.context("read usage")
    }

    /// Making an index at once is quicker than keeping it in order; returns how to make them again.
    async fn drop_indexes(&mut self) -> anyhow::Result<Vec<String>> {
        let found =
            sqlx::query("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
                .fetch_all(&mut self.connection)
                .await
                .context("list indexes")?;
        let mut made = Vec::new();
        for row in found {
            let name: String = row.get(0);
            self.run(format!("DROP INDEX {name}"))
                .await
                .context("drop an index")?;
            made.push(row.get(1));
        }
        Ok(made)
    }

    async fn organizations(&mut self) -> anyhow::Result<BTreeMap<String, i64>> {
        let rows = sqlx::query("SELECT name, id FROM organization")
            .fetch_all(&mut self.connection)
            .await
            .context("read organizations")?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn insert(&mut self, rows: &mut Batches) -> anyhow::Result<()> {
        for (insert, rows) in INSERTS.into_iter().zip(rows.take()) {
            sqlx::query(insert)
                .bind(Value::Array(rows).to_string())
                .execute(&mut self.connection)
                .await
                .with_context(|| format!("insert rows: {}", insert.lines().next().unwrap_or_default()))?;
        }
        Ok(())
    }

    /// References and usage follow from what names what.
    async fn count(&mut self) -> anyhow::Result<()> {
        for statement in COUNTS {
            sqlx::query(statement)
                .execute(&mut self.connection)
                .await
                .context("count references")?;
        }
        Ok(())
    }

    async fn check_references(&mut self) -> anyhow::Result<()> {
        let found = sqlx::query("PRAGMA foreign_key_check")
            .fetch_all(&mut self.connection)
            .await
            .context("check references")?;
        ensure!(found.is_empty(), "{} rows refer to nothing", found.len());
        Ok(())
    }

    async fn run(&mut self, sql: String) -> anyhow::Result<()> {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// One statement for each list of [`Batches`]: rows are arrays in JSON.
const INSERTS: [&str; 6] = [
    "INSERT INTO repository (id, organization_id, name)
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)",
    "INSERT INTO manifest (id, repository_id, organization_id, digest, media_type, kind, pulled, body)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, TRUE,
            CAST(value ->> 6 AS BLOB)
     FROM json_each($1)",
    "INSERT INTO blob (digest, size, storage_key)
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO manifest_blob (manifest_id, repository_id, digest, size, layer)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each($1)",
    "INSERT INTO manifest_child (parent_id, repository_id, digest)
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)",
    "INSERT INTO tag (repository_id, organization_id, name, manifest_id, current, ends_at, pulled_at, checked_at)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, TRUE, value ->> 4, value ->> 5, value ->> 6
     FROM json_each($1)",
];

const COUNTS: [&str; 2] = [
    "INSERT INTO content (organization_id, digest, size, refs)
     SELECT organization_id, digest, MAX(size), COUNT(*) FROM (
       SELECT m.organization_id, mb.digest, mb.size FROM manifest m JOIN manifest_blob mb ON mb.manifest_id = m.id
       UNION ALL SELECT organization_id, digest, length(body) FROM manifest)
     GROUP BY organization_id, digest",
    "UPDATE organization SET usage_bytes =
       (SELECT COALESCE(SUM(size), 0) FROM content WHERE organization_id = organization.id)",
];

/// The rows of some tags, a list for each statement of [`INSERTS`].
#[derive(Default)]
struct Batches {
    lists: [Vec<Value>; INSERTS.len()],
    repositories: BTreeMap<(i64, String), i64>,
    manifests: i64,
    tags: i64,
}

impl Batches {
    fn take(&mut self) -> [Vec<Value>; INSERTS.len()] {
        std::mem::take(&mut self.lists)
    }

    fn add(&mut self, place: &Place, now: i64, storage: &Path) -> anyhow::Result<()> {
        let Place { organization, tag } = place;
        let repository = self.repository(*organization, &tag.repository);
        let [_, manifests, blobs, manifest_blobs, children, tags] = &mut self.lists;
        let top = self.manifests + 1;
        for manifest in &tag.manifests {
            self.manifests += 1;
            let (id, digest) = (self.manifests, &manifest.digest);
            let kind = i64::from(manifest.media_type == INDEX_TYPE);
            let media_type = manifest.media_type;
            manifests.push(json!([
                id,
                repository,
                organization,
                digest,
                media_type,
                kind,
                manifest.body
            ]));
            if id > top {
                children.push(json!([top, repository, digest]));
            }
            for blob in &manifest.blobs {
                let key = key_of(&blob.digest);
                manifest_blobs.push(json!([
                    id,
                    repository,
                    blob.digest,
                    blob.size,
                    i64::from(blob.layer)
                ]));
                store(blob, &storage.join(&key))?;
                blobs.push(json!([blob.digest, blob.size, key]));
            }
        }
        // Every use at another moment: the order of pruning is an order.
        self.tags += 1;
        let pulled = now - 86_400_000 + self.tags;
        tags.push(json!([repository, organization, tag.name, top, END, pulled, now]));
        Ok(())
    }

    fn repository(&mut self, organization: i64, name: &str) -> i64 {
        let next = i64::try_from(self.repositories.len())
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        let key = (organization, name.to_owned());
        *self.repositories.entry(key).or_insert_with(|| {
            self.lists[0].push(json!([next, organization, name]));
            next
        })
    }
}

/// Where a registry would have put the blob.
fn key_of(digest: &str) -> String {
    let hex = digest.trim_start_matches("sha256:");
    format!("sha256/{}/{hex}/scale/data", hex.get(..2).unwrap_or_default())
}

/// Only what is asked for has bytes: nothing here looks at those of the others.
fn store(blob: &Blob, path: &Path) -> anyhow::Result<()> {
    let Some(bytes) = &blob.bytes else {
        return Ok(());
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).context("make a directory for a blob")?;
    }
    std::fs::write(path, bytes).context("write a blob")
}
