//! What may go, a page at a time, in the order in which it should (Q5), with what a planner has to know
//! of it.
//!
//! A candidate's place is that of the latest of its rows, so every row is met in the order of an index,
//! and passed over unless it is its manifest's latest. What is read does not depend on what is stored,
//! but on how far a plan has to look.

use std::collections::{HashMap, HashSet};

use quayside_oci::Digest;

use crate::engine::Transaction;
use crate::queries::{count, release};
use crate::sql::{Rows, Statement, args};
use crate::{Candidate, ManifestId, MetadataError, Node, OrganizationId, Page, Standing, Weight};

/// How many rows the first page looks at: usually something goes soon.
const FIRST_PAGE: i64 = 16;

/// How many rows a page looks at at most.
const PAGE: i64 = 256;

/// What ended at `$2` or before, from the place (`$3`, `$4`) on.
const ENDED: Statement = Statement::new(
    "find candidates that ended",
    "SELECT ends_at, manifest_id FROM tag
     WHERE organization_id = $1 AND ends_at <= $2 AND (ends_at, manifest_id) > ($3, $4)
     ORDER BY ends_at, manifest_id LIMIT $5",
);

const USED: Statement = Statement::new(
    "find candidates by use",
    "SELECT pulled_at, manifest_id FROM tag
     WHERE organization_id = $1 AND (pulled_at, manifest_id) > ($2, $3)
     ORDER BY pulled_at, manifest_id LIMIT $4",
);

const LATEST: Statement = Statement::new(
    "find latest row of candidates",
    "SELECT t.manifest_id, MAX(t.ends_at), MAX(t.pulled_at), COUNT(*) FROM tag t
     WHERE t.manifest_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     GROUP BY t.manifest_id",
);

/// Of the manifests `$1`: the held indexes that name them and their held subjects.
const HOLDERS: Statement = Statement::new(
    "find holders of manifests",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     SELECT m.id, p.id
     FROM given g CROSS JOIN manifest m CROSS JOIN manifest_child c CROSS JOIN manifest p
     WHERE m.id = g.id AND c.repository_id = m.repository_id AND c.digest = m.digest
       AND p.id = c.parent_id AND p.released_at IS NULL
     UNION
     SELECT m.id, s.id
     FROM given g CROSS JOIN manifest m CROSS JOIN manifest s
     WHERE m.id = g.id AND s.repository_id = m.repository_id AND s.digest = m.subject
       AND s.released_at IS NULL",
);

/// What the manifests `$1` hold, whatever else holds it.
const BELOW: Statement = Statement::new(
    "find what manifests hold",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     SELECT m.id FROM manifest_child c
     JOIN manifest m ON m.repository_id = c.repository_id AND m.digest = c.digest
     WHERE c.parent_id IN (SELECT id FROM given) AND m.released_at IS NULL
     UNION
     SELECT m.id FROM manifest s
     JOIN manifest m ON m.repository_id = s.repository_id AND m.subject = s.digest
     WHERE s.id IN (SELECT id FROM given) AND m.released_at IS NULL",
);

const DIGESTS: Statement = Statement::new(
    "find digests of manifests",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     SELECT mb.manifest_id, mb.digest FROM manifest_blob mb
     WHERE mb.manifest_id IN (SELECT id FROM given)
     UNION ALL
     SELECT m.id, m.digest FROM manifest m WHERE m.id IN (SELECT id FROM given)",
);

const WEIGHTS: Statement = Statement::new(
    "find weights of digests",
    "SELECT c.digest, c.size, c.refs FROM content c
     WHERE c.organization_id = $1 AND c.digest IN (SELECT value ->> 0 FROM json_each($2))",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[ENDED, USED, LATEST, HOLDERS, BELOW, DIGESTS, WEIGHTS];

/// The latest of a manifest's rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latest {
    ends_at: i64,
    pulled_at: i64,
    /// How many rows it has.
    rows: u64,
}

/// The latest rows of manifests. One that has none is left out.
pub(crate) async fn latest(
    tx: &mut Transaction,
    manifests: &[ManifestId],
) -> Result<HashMap<ManifestId, Latest>, MetadataError> {
    let rows = tx.fetch_all(LATEST, args![&Rows::manifests(manifests)?]).await?;
    let latest = rows.iter().map(|row| {
        let latest = Latest {
            ends_at: row.int(1)?,
            pulled_at: row.int(2)?,
            rows: row.count(3)?,
        };
        Ok((row.manifest(0)?, latest))
    });
    latest.collect()
}

/// The candidates of an organization, and how far they were read.
pub(crate) struct Candidates {
    organization: OrganizationId,
    now: i64,
    order: Order,
    /// The place of the last row that was looked at: what it is ordered by, and its manifest.
    place: (i64, i64),
    limit: i64,
    /// What must not go.
    spared: HashSet<ManifestId>,
    latest: HashMap<ManifestId, Latest>,
    sent: HashSet<ManifestId>,
    weighed: HashSet<Digest>,
    rows_read: u64,
}

/// Dead ones come first.
enum Order {
    ByEnd,
    ByUse,
    Over,
}

impl Candidates {
    /// All but the pulled manifest and whatever holds it, and so on: its indexes and its subject.
    pub(crate) async fn new(
        tx: &mut Transaction,
        organization: OrganizationId,
        pulled: Option<ManifestId>,
        now: i64,
    ) -> Result<Self, MetadataError> {
        let mut candidates = Self {
            organization,
            now,
            order: Order::ByEnd,
            place: (i64::MIN, i64::MIN),
            limit: FIRST_PAGE,
            spared: pulled.into_iter().collect(),
            latest: HashMap::new(),
            sent: HashSet::new(),
            weighed: HashSet::new(),
            rows_read: 0,
        };
        let mut work: Vec<ManifestId> = pulled.into_iter().collect();
        while !work.is_empty() {
            let holders = candidates.holders(tx, &work).await?;
            let holders = holders.into_iter().map(|(_, holder)| holder);
            work = holders
                .filter(|holder| candidates.spared.insert(*holder))
                .collect();
        }
        Ok(candidates)
    }

    /// What was read of the rows of a manifest that was met.
    pub(crate) fn latest(&self, manifest: ManifestId) -> Option<Latest> {
        self.latest.get(&manifest).copied()
    }

    /// How many rows were read so far, of all tables.
    pub(crate) fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// How many bytes would still count if every candidate went: what is spared is held by something that
    /// is spared as well, and holds all that is below it, whatever pins that has of its own. Takes what
    /// the pulled manifest touches, not what is stored.
    pub(crate) async fn staying(&mut self, tx: &mut Transaction) -> Result<u64, MetadataError> {
        let mut found = self.spared.clone();
        let mut work: Vec<ManifestId> = found.iter().copied().collect();
        while !work.is_empty() {
            let below = tx.fetch_all(BELOW, args![&Rows::manifests(&work)?]).await?;
            self.rows_read += below.len() as u64;
            work.clear();
            for row in below {
                let manifest = row.manifest(0)?;
                if found.insert(manifest) {
                    work.push(manifest);
                }
            }
        }
        let found: Vec<ManifestId> = found.into_iter().collect();
        count::weight(tx, &found).await
    }

    /// The next page. It has a candidate, unless it is the last one.
    pub(crate) async fn page(&mut self, tx: &mut Transaction) -> Result<Page, MetadataError> {
        let mut found = Vec::new();
        while found.is_empty() && !matches!(self.order, Order::Over) {
            let rows = self.rows(tx).await?;
            self.look_up(tx, &rows).await?;
            found.extend(rows.iter().filter_map(|row| self.candidate(*row)));
            // A manifest whose rows share their place is met once for each.
            found.dedup();
            if let Some(last) = rows.last() {
                self.place = *last;
            }
            if i64::try_from(rows.len()).is_ok_and(|read| read < self.limit) {
                self.place = (i64::MIN, i64::MIN);
                self.order = match self.order {
                    Order::ByEnd => Order::ByUse,
                    Order::ByUse | Order::Over => Order::Over,
                };
            } else {
                self.limit = (self.limit * 4).min(PAGE);
            }
        }
        let nodes = self.nodes(tx, &found).await?;
        Ok(Page {
            weights: self.weights(tx, &nodes).await?,
            nodes,
            candidates: found,
            last: matches!(self.order, Order::Over),
        })
    }

    /// The next rows, as places.
    async fn rows(&mut self, tx: &mut Transaction) -> Result<Vec<(i64, i64)>, MetadataError> {
        let (key, manifest) = self.place;
        let rows = match self.order {
            Order::ByEnd => {
                let values = args![self.organization, self.now, key, manifest, self.limit];
                tx.fetch_all(ENDED, values).await?
            }
            Order::ByUse => {
                let values = args![self.organization, key, manifest, self.limit];
                tx.fetch_all(USED, values).await?
            }
            Order::Over => Vec::new(),
        };
        self.rows_read += rows.len() as u64;
        rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect()
    }

    /// Reads the latest rows of manifests that were not met before.
    async fn look_up(&mut self, tx: &mut Transaction, rows: &[(i64, i64)]) -> Result<(), MetadataError> {
        let mut unknown: Vec<ManifestId> = rows.iter().map(|(_, manifest)| ManifestId(*manifest)).collect();
        unknown.retain(|manifest| !self.latest.contains_key(manifest) && !self.spared.contains(manifest));
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        for (manifest, latest) in latest(tx, &unknown).await? {
            self.rows_read += latest.rows;
            self.latest.insert(manifest, latest);
        }
        Ok(())
    }

    /// What the row at a place stands for.
    ///
    /// A row counts as dead by its end alone: one that was replaced ended then, so none of them is live
    /// unless the clock was set back.
    fn candidate(&self, (key, manifest): (i64, i64)) -> Option<Candidate> {
        let manifest = ManifestId(manifest);
        let latest = self.latest.get(&manifest)?;
        let (standing, place) = if latest.ends_at <= self.now {
            let ended_at = latest.ends_at;
            (Standing::Dead { ended_at }, Order::ByEnd)
        } else {
            (Standing::Live, Order::ByUse)
        };
        let is_its_place = match (place, &self.order) {
            (Order::ByEnd, Order::ByEnd) => key == latest.ends_at,
            (Order::ByUse, Order::ByUse) => key == latest.pulled_at,
            _ => false,
        };
        is_its_place.then_some(Candidate {
            manifest,
            standing,
            last_used_at: latest.pulled_at,
        })
    }

    async fn nodes(
        &mut self,
        tx: &mut Transaction,
        candidates: &[Candidate],
    ) -> Result<Vec<Node>, MetadataError> {
        let tagged: HashSet<ManifestId> = candidates.iter().map(|candidate| candidate.manifest).collect();
        let mut found: Vec<ManifestId> = tagged.iter().copied().collect();
        self.sent.extend(&tagged);
        let mut work = found.clone();
        while !work.is_empty() {
            let following = tx
                .fetch_all(release::FOLLOWING, args![&Rows::manifests(&work)?])
                .await?;
            self.rows_read += following.len() as u64;
            work.clear();
            for row in following {
                let manifest = row.manifest(0)?;
                if self.sent.insert(manifest) {
                    work.push(manifest);
                }
            }
            found.extend(&work);
        }
        let mut nodes: HashMap<ManifestId, Node> = found
            .iter()
            .map(|manifest| {
                let node = Node {
                    manifest: *manifest,
                    tagged: tagged.contains(manifest),
                    holders: Vec::new(),
                    digests: Vec::new(),
                };
                (*manifest, node)
            })
            .collect();
        for (manifest, holder) in self.holders(tx, &found).await? {
            if let Some(node) = nodes.get_mut(&manifest) {
                node.holders.push(holder);
            }
        }
        for (manifest, digest) in self.digests(tx, &found).await? {
            if let Some(node) = nodes.get_mut(&manifest) {
                node.digests.push(digest);
            }
        }
        Ok(nodes.into_values().collect())
    }

    /// Pairs of a manifest and what holds it.
    async fn holders(
        &mut self,
        tx: &mut Transaction,
        manifests: &[ManifestId],
    ) -> Result<Vec<(ManifestId, ManifestId)>, MetadataError> {
        if manifests.is_empty() {
            return Ok(Vec::new());
        }
        let rows = tx.fetch_all(HOLDERS, args![&Rows::manifests(manifests)?]).await?;
        self.rows_read += rows.len() as u64;
        let rows = rows.iter();
        rows.map(|row| Ok((row.manifest(0)?, row.manifest(1)?))).collect()
    }

    /// Pairs of a manifest and what it names or is.
    async fn digests(
        &mut self,
        tx: &mut Transaction,
        manifests: &[ManifestId],
    ) -> Result<Vec<(ManifestId, Digest)>, MetadataError> {
        if manifests.is_empty() {
            return Ok(Vec::new());
        }
        let rows = tx.fetch_all(DIGESTS, args![&Rows::manifests(manifests)?]).await?;
        self.rows_read += rows.len() as u64;
        let rows = rows.iter();
        rows.map(|row| Ok((row.manifest(0)?, row.digest(1)?))).collect()
    }

    /// What the digests of these nodes weigh that no page has told yet.
    async fn weights(&mut self, tx: &mut Transaction, nodes: &[Node]) -> Result<Vec<Weight>, MetadataError> {
        let digests = nodes.iter().flat_map(|node| &node.digests);
        let new = digests.filter(|digest| self.weighed.insert((*digest).clone()));
        let new: Vec<(&str,)> = new.map(|digest| (digest.as_str(),)).collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let rows = tx
            .fetch_all(WEIGHTS, args![self.organization, &Rows::new(&new)?])
            .await?;
        self.rows_read += rows.len() as u64;
        rows.iter()
            .map(|row| {
                Ok(Weight {
                    digest: row.digest(0)?,
                    size: row.count(1)?,
                    refs: row.count(2)?,
                })
            })
            .collect()
    }
}
