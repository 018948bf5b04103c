//! This process among the replicas that share a database (ENGINE §3.4): its name, where the others reach it, and the
//! fills that it holds for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quayside_metadata::{Metadata, MetadataError};
use quayside_oci::Digest;

use super::Engine;
use super::fill::Fill;
use super::peer::Peers;
use super::peer::failure::Failure;
use crate::chain::Chain;
use crate::clock::{Millis, millis};

/// How long a fill may be silent before its process has to answer for itself.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How often fills are renewed.
const BEAT: Duration = Duration::from_secs(5);
/// How soon it is tried again where that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long a failure is told to replicas that come back for more bytes.
const REMEMBERED: Duration = Duration::from_secs(5);

type Table = Arc<Mutex<HashMap<String, Entry>>>;

/// One of the processes that act as one registry.
pub(crate) struct Replica {
    /// No other process has or had it.
    pub(crate) id: String,
    /// `host:port` of its peer port, as others reach it.
    pub(crate) address: Option<String>,
    pub(crate) peers: Peers,
    fills: Table,
}

enum Entry {
    Running(Arc<Announced>),
    Failed {
        digest: Digest,
        failure: Failure,
        until: Instant,
    },
}

/// What another replica gets that asks for a fill of ours.
pub(crate) enum Told {
    Running(Arc<Fill>),
    Failed(Failure),
}

struct Announced {
    digest: Digest,
    fill: Arc<Fill>,
    /// Its row is in the database.
    recorded: AtomicBool,
    /// Its row was taken away.
    lost: AtomicBool,
}

impl Announced {
    /// One that was lost once stays lost, and that is told once.
    fn is_renewed(&self) -> bool {
        self.recorded.load(Ordering::Relaxed) && !self.lost.load(Ordering::Relaxed)
    }
}

/// A fill that other replicas may ask for, for as long as this is held.
pub(crate) struct Announcement {
    token: String,
    entry: Arc<Announced>,
    table: Table,
}

impl Replica {
    pub(crate) fn new(address: Option<String>, peers: Peers) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            address,
            peers,
            fills: Table::default(),
        }
    }

    /// Lets others ask for `fill` by `token`. Before its row is written: who reads the row comes at once.
    pub(crate) fn announce(&self, token: &str, digest: &Digest, fill: &Arc<Fill>) -> Announcement {
        let entry = Arc::new(Announced {
            digest: digest.clone(),
            fill: Arc::clone(fill),
            recorded: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        });
        let running = Entry::Running(Arc::clone(&entry));
        lock(&self.fills).insert(token.to_owned(), running);
        Announcement {
            token: token.to_owned(),
            entry,
            table: Arc::clone(&self.fills),
        }
    }

    /// The fill of that token, if it is one of this blob.
    pub(crate) fn find(&self, token: &str, digest: &Digest) -> Option<Told> {
        match lock(&self.fills).get(token)? {
            Entry::Running(entry) => {
                (entry.digest == *digest).then(|| Told::Running(Arc::clone(&entry.fill)))
            }
            Entry::Failed {
                digest: of, failure, ..
            } => (of == digest).then(|| Told::Failed(failure.clone())),
        }
    }

    /// Renews the rows of all fills; those whose row is gone learn that they may not commit.
    async fn beat(&self, engine: &Engine) -> Result<(), MetadataError> {
        let running = self.recorded();
        if running.is_empty() {
            return Ok(());
        }
        let tokens: Vec<_> = running.iter().map(|(token, _)| token.clone()).collect();
        let there = engine
            .metadata
            .heartbeat_fills(&tokens, engine.now(), lease_end(engine))
            .await?;
        for (token, entry) in running {
            if entry.recorded.load(Ordering::Relaxed) && !there.contains(&token) {
                tracing::warn!(digest = %entry.digest, "the row of the fill is gone, it will not be stored");
                entry.lost.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn recorded(&self) -> Vec<(String, Arc<Announced>)> {
        let mut fills = lock(&self.fills);
        let now = Instant::now();
        fills.retain(|_, entry| !matches!(entry, Entry::Failed { until, .. } if *until <= now));
        let recorded = fills.iter().filter_map(|(token, entry)| match entry {
            Entry::Running(entry) if entry.is_renewed() => Some((token.clone(), Arc::clone(entry))),
            _ => None,
        });
        recorded.collect()
    }
}

/// Rows that expired before this are given up unasked. Not those that have only just expired: after an outage of the
/// database its replicas are alive, and renew them within seconds.
pub(crate) fn silent_since(metadata: &Metadata, now: Millis) -> Millis {
    if metadata.is_shared() {
        now.saturating_sub(millis(LEASE))
    } else {
        now
    }
}

/// Until when a row is good that is written now.
pub(crate) fn lease_end(engine: &Engine) -> Millis {
    engine.now().saturating_add(millis(LEASE))
}

/// Renews this replica's fills for as long as it runs.
pub(crate) async fn keep_alive(engine: Arc<Engine>) {
    let mut blind = false;
    loop {
        // After an outage of the database whoever wants to know who fills must find this replica alive.
        engine.clock.sleep(if blind { RETRY } else { BEAT }).await;
        let beaten = engine.replica.beat(&engine).await;
        if let Err(error) = &beaten
            && !blind
        {
            tracing::warn!(error = %Chain(error), "fills not renewed");
        }
        blind = beaten.is_err();
    }
}

impl Announcement {
    /// The row is in the database: it is renewed from now on.
    pub(crate) fn recorded(&self) {
        self.entry.recorded.store(true, Ordering::Relaxed);
    }

    /// The row is about to go: it is not renewed any more.
    pub(crate) fn settled(&self) {
        self.entry.recorded.store(false, Ordering::Relaxed);
    }

    /// Whether somebody else took the row away.
    pub(crate) fn is_lost(&self) -> bool {
        self.entry.lost.load(Ordering::Relaxed)
    }

    /// Who comes back for more bytes is told why there are none.
    pub(crate) fn fail(self, failure: Failure) {
        let failed = Entry::Failed {
            digest: self.entry.digest.clone(),
            failure,
            until: Instant::now() + REMEMBERED,
        };
        lock(&self.table).insert(self.token.clone(), failed);
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let mut fills = lock(&self.table);
        if matches!(fills.get(&self.token), Some(Entry::Running(_))) {
            fills.remove(&self.token);
        }
    }
}

fn lock(table: &Table) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use quayside_metadata::OrganizationId;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::auth::key::SigningKeys;
    use crate::auth::peer::PeerTokens;
    use crate::pull::error::PullError;
    use crate::pull::resume::Origin;

    const TOKEN: &str = "0a1b";

    fn replica() -> Replica {
        let keys = SigningKeys::parse(&"01".repeat(32)).unwrap();
        Replica::new(None, Peers::new(PeerTokens::new(&keys)).unwrap())
    }

    fn origin() -> Origin {
        (OrganizationId(1), "app".parse().unwrap())
    }

    fn digest(byte: &str) -> Digest {
        format!("sha256:{}", byte.repeat(32)).parse().unwrap()
    }

    fn announced(replica: &Replica) -> Announcement {
        let fill = Fill::new(origin(), CancellationToken::new());
        replica.announce(TOKEN, &digest("ab"), &fill)
    }

    fn failure() -> Failure {
        let error = PullError::Mismatch {
            upstream: "up.example".into(),
            reason: "wrong".into(),
        };
        Failure::of(&origin(), &error).unwrap()
    }

    /// B2: a fill is told of for as long as it runs, and only as the blob that it is.
    #[test]
    fn a_fill_is_found_while_it_runs_under_its_own_digest() {
        let replica = replica();
        let announcement = announced(&replica);
        assert!(matches!(
            replica.find(TOKEN, &digest("ab")),
            Some(Told::Running(_))
        ));
        assert!(replica.find(TOKEN, &digest("cd")).is_none());
        drop(announcement);
        assert!(replica.find(TOKEN, &digest("ab")).is_none());
    }

    /// B3: a replica that comes back for the rest of a blob that failed is told so.
    #[test]
    fn a_failure_is_remembered_under_the_same_digest() {
        let replica = replica();
        announced(&replica).fail(failure());
        let told = replica.find(TOKEN, &digest("ab"));
        assert!(matches!(told, Some(Told::Failed(told)) if told == failure()));
        assert!(replica.find(TOKEN, &digest("cd")).is_none());
    }

    /// G3: only rows that are in the database are renewed, and none that its fill is about to take out.
    #[test]
    fn a_row_is_renewed_from_when_it_is_written_until_it_goes() {
        let replica = replica();
        let announcement = announced(&replica);
        assert!(replica.recorded().is_empty());
        announcement.recorded();
        assert_eq!(replica.recorded().len(), 1);
        announcement.settled();
        assert!(replica.recorded().is_empty());
    }

    /// G3: a row that another replica took away is not asked for again, so its loss is told once.
    #[test]
    fn a_row_that_was_lost_is_not_renewed() {
        let replica = replica();
        let announcement = announced(&replica);
        announcement.recorded();
        for (_, entry) in replica.recorded() {
            entry.lost.store(true, Ordering::Relaxed);
        }
        assert!(announcement.is_lost());
        assert!(replica.recorded().is_empty());
    }
}
