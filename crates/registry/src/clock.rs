//! The time that decisions are made with: the system's, or a test's.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// A moment that never comes: the end of a tag whose organization's TTL is 0 (E1).
pub const NEVER: Millis = Millis::MAX;

/// Where the registry takes the time from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Millis;

    /// Completes once `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// `duration` in whole milliseconds; what does not fit is as good as never.
pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(NEVER)
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<watch::Sender<Millis>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Millis) -> Self {
        Self {
            now: Arc::new(watch::Sender::new(start)),
        }
    }

    /// Moves the clock forward and wakes every sleeper whose time has come.
    pub fn advance(&self, duration: Duration) {
        self.now
            .send_modify(|now| *now = now.saturating_add(millis(duration)));
    }

    /// Sets the clock to `now`, which may lie in the past: a stepped wall clock.
    pub fn set(&self, now: Millis) {
        self.now.send_replace(now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.now().saturating_add(millis(duration));
        let mut watcher = self.now.subscribe();
        async move {
            // The sender outlives its sleepers in any test; if not, waking is the harmless side.
            let _ = watcher.wait_for(|now| *now >= until).await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_manual_clock_reaches_its_time() {
        let clock = ManualClock::new(1_000);
        let mut sleeper = clock.sleep(Duration::from_secs(5));
        assert!((&mut sleeper).now_or_never().is_none());
        clock.advance(Duration::from_secs(4));
        assert!((&mut sleeper).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(clock.now(), 6_000);
    }
}
