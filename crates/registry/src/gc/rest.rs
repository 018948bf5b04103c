//! E3: after the wall clock was stepped nothing is swept, collected or deleted for one grace, so that a clock that is
//! wrong for a moment costs nothing.

use std::time::Duration;

use crate::clock::{Millis, millis};

/// What is a step and not the work of a time service that keeps a clock right.
const STEP: Millis = 60_000;

/// Compares the wall clock with the time that passes.
#[derive(Debug)]
pub(super) struct Watch {
    /// What the wall clock showed when the monotonic one showed 0, as it was last accepted.
    origin: Millis,
    /// When the rest is over, on the monotonic clock.
    rest_until: Duration,
}

impl Watch {
    pub(super) fn new(wall: Millis, monotonic: Duration) -> Self {
        Self {
            origin: origin(wall, monotonic),
            rest_until: Duration::ZERO,
        }
    }

    /// Looks at both clocks, and says how much longer to rest, if at all.
    pub(super) fn look(&mut self, wall: Millis, monotonic: Duration, grace: Duration) -> Option<Duration> {
        let origin = origin(wall, monotonic);
        let step = origin.saturating_sub(self.origin);
        if step.saturating_abs() > STEP {
            tracing::warn!(
                step_seconds = step / 1000,
                rest_seconds = grace.as_secs(),
                "the wall clock was stepped, garbage collection rests"
            );
            self.origin = origin;
            self.rest_until = monotonic.saturating_add(grace);
        }
        Some(self.rest_until.saturating_sub(monotonic)).filter(|rest| !rest.is_zero())
    }
}

fn origin(wall: Millis, monotonic: Duration) -> Millis {
    wall.saturating_sub(millis(monotonic))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_mins(5);
    const DAY: Millis = 86_400_000;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// E3: time that passes on both clocks is no step, however much of it.
    #[test]
    fn time_that_passes_is_no_step() {
        let mut watch = Watch::new(DAY, seconds(10));
        assert_eq!(watch.look(DAY + 1_000, seconds(11), GRACE), None);
        assert_eq!(watch.look(20 * DAY, seconds(10 + 19 * 86_400), GRACE), None);
    }

    /// E3: more than 60 s, forward or back, is a step; one grace later work goes on.
    #[test]
    fn a_step_in_either_direction_is_followed_by_one_grace_of_rest() {
        for step in [DAY, -DAY, 60_001, -60_001] {
            let mut watch = Watch::new(10 * DAY, seconds(0));
            let wall = 10 * DAY + step;
            assert_eq!(watch.look(wall, seconds(0), GRACE), Some(GRACE));
            assert_eq!(watch.look(wall + 299_000, seconds(299), GRACE), Some(seconds(1)));
            assert_eq!(watch.look(wall + 300_000, seconds(300), GRACE), None);
        }
        for adjustment in [60_000, -60_000, 500] {
            let mut watch = Watch::new(10 * DAY, seconds(0));
            assert_eq!(watch.look(10 * DAY + adjustment, seconds(0), GRACE), None);
        }
    }

    /// E3: the step back to the right time is a step too.
    #[test]
    fn a_second_step_begins_the_rest_anew() {
        let mut watch = Watch::new(10 * DAY, seconds(0));
        assert!(watch.look(11 * DAY, seconds(0), GRACE).is_some());
        assert_eq!(watch.look(10 * DAY + 200_000, seconds(200), GRACE), Some(GRACE));
        assert_eq!(
            watch.look(10 * DAY + 499_000, seconds(499), GRACE),
            Some(seconds(1))
        );
        assert_eq!(watch.look(10 * DAY + 500_000, seconds(500), GRACE), None);
    }
}
