//! The time that decisions are made with: the system's, or a test's.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// A moment that never comes: the end of a tag whose organization's TTL is 0 (E1).
pub const NEVER: Millis = Millis::MAX;

/// Where the registry takes the time from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, which somebody may set.
    fn now(&self) -> Millis;

    /// Time that has passed since a moment that never changes; nobody can set it.
    fn monotonic(&self) -> Duration;

    /// Completes once `duration` has passed, whatever the wall clock shows then.
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

    fn monotonic(&self) -> Duration {
        // Both parts of a monotonic time are positive.
        Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    wall: Millis,
    monotonic: Millis,
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    shown: Arc<watch::Sender<Shown>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Millis) -> Self {
        let shown = Shown {
            wall: start,
            monotonic: 0,
        };
        Self {
            shown: Arc::new(watch::Sender::new(shown)),
        }
    }

    /// Lets time pass and wakes every sleeper whose time has come.
    pub fn advance(&self, duration: Duration) {
        let passed = millis(duration);
        self.shown.send_modify(|shown| {
            shown.wall = shown.wall.saturating_add(passed);
            shown.monotonic = shown.monotonic.saturating_add(passed);
        });
    }

    /// Sets the wall clock to `now`, which may lie in the past, while no time passes: a step.
    pub fn set(&self, now: Millis) {
        self.shown.send_modify(|shown| shown.wall = now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        self.shown.borrow().wall
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.shown.borrow().monotonic.unsigned_abs())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.shown.borrow().monotonic.saturating_add(millis(duration));
        let mut watcher = self.shown.subscribe();
        async move {
            // The sender outlives its sleepers in any test; if not, waking is the harmless side.
            let _ = watcher.wait_for(|shown| shown.monotonic >= until).await;
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
    /// E3: a wall clock that is set steps; no time passes, so nobody wakes.
    #[tokio::test]
    async fn a_step_of_the_wall_clock_wakes_nobody() {
        let clock = ManualClock::new(1_000);
        let mut sleeper = clock.sleep(Duration::from_secs(5));
        clock.set(1_000_000);
        assert!((&mut sleeper).now_or_never().is_none());
        assert_eq!((clock.now(), clock.monotonic()), (1_000_000, Duration::ZERO));
        clock.advance(Duration::from_secs(5));
        sleeper.await;
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (1_005_000, Duration::from_secs(5))
        );
    }

    #[test]
    fn the_monotonic_time_of_the_machine_moves_forward() {
        let before = SystemClock.monotonic();
        assert!(before > Duration::ZERO && SystemClock.monotonic() >= before);
    }
}
