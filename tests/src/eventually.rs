//! Waiting for a condition, with an end to the patience.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long a test waits for something that should happen at once, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `condition` every few milliseconds until it is true; panics with `what` after [`PATIENCE`].
pub async fn eventually<F, Fut>(what: &str, condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    assert!(
        holds_within(PATIENCE, condition).await,
        "did not happen in {PATIENCE:?}: {what}"
    );
}

/// Whether `condition` became true before `limit` was over.
pub async fn holds_within<F, Fut>(limit: Duration, mut condition: F) -> bool
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let end = Instant::now() + limit;
    let mut tick = interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if condition().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
    }
}

/// The output of `future`; panics with `what` if it takes longer than [`PATIENCE`].
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(output) = timeout(PATIENCE, future).await else {
        panic!("did not happen in {PATIENCE:?}: {what}");
    };
    output
}

/// Panics with `what` if `condition` becomes true within a fifth of a second: long enough for what would happen
/// at once, and never the reason why a right program fails.
pub async fn never<F, Fut>(what: &str, condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    assert!(
        !holds_within(Duration::from_millis(200), condition).await,
        "happened: {what}"
    );
}
