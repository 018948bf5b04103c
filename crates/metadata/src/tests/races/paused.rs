//! A transaction that stands still before its commit, and what waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::engine::Transaction;
use crate::tests::fixture::Fixture;
use crate::{Metadata, MetadataError};

/// What a query file has for one transaction.
pub(super) type Work<D, T, E> = for<'t> fn(&'t mut Transaction, &'t D) -> BoxFuture<'t, Result<T, E>>;

/// Where a transaction says that it is there, and waits for leave.
struct Gate(Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>);

impl Gate {
    /// Stops nobody who comes a second time.
    async fn pass(&self) {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((reached, leave)) = ends {
            reached.send(()).unwrap();
            leave.await.unwrap();
        }
    }
}

/// A transaction that has done everything but the commit.
pub(super) struct Paused<T, E> {
    leave: oneshot::Sender<()>,
    task: JoinHandle<Result<T, E>>,
}

impl<T: Send + 'static, E: From<MetadataError> + Send + 'static> Paused<T, E> {
    pub(super) async fn before_commit<D>(metadata: &Metadata, data: D, work: Work<D, T, E>) -> Self
    where
        D: Send + Sync + 'static,
    {
        let (reached, is_there) = oneshot::channel();
        let (leave, may_go) = oneshot::channel();
        let gate = Gate(Mutex::new(Some((reached, may_go))));
        let engine = Arc::clone(metadata.engine());
        let task = tokio::spawn(async move {
            let write = engine.write((data, gate), move |tx, (data, gate)| {
                Box::pin(async move {
                    let value = work(tx, data).await?;
                    gate.pass().await;
                    Ok(value)
                })
            });
            write.await
        });
        is_there.await.unwrap();
        Self { leave, task }
    }

    /// Lets it commit.
    pub(super) async fn go_on(self) -> Result<T, E> {
        self.leave.send(()).unwrap();
        self.task.await.unwrap()
    }

    /// Runs `other` until it waits for this one, lets this one commit, and gives what came of both.
    pub(super) async fn beside<O>(self, db: &Fixture, other: impl Future<Output = O>) -> (Result<T, E>, O) {
        let (first, other) = tokio::join!(
            async {
                somebody_waits(db).await;
                self.go_on().await
            },
            other
        );
        (first, other)
    }
}

/// Until a transaction in this database waits for another one.
async fn somebody_waits(db: &Fixture) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while db.count(waiting).await == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
