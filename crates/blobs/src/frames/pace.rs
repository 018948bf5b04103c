//! How large the frames of one reader are.

use std::time::{Duration, Instant};

/// The frame of a reader about whom nothing is known, in bytes.
const SMALL: usize = 64 << 10;
const MIDDLE: usize = 128 << 10;
const LARGE: usize = 256 << 10;

/// How many bytes a reader has to take without a pause before its frames double. Socket buffers swallow the
/// first few megabytes at once even if nobody reads at the other end, and such a reader should be left with a
/// small frame.
const PROOF: u64 = 8 << 20;

/// A reader that is back within this time keeps up.
const AT_ONCE: Duration = Duration::from_millis(4);

/// A reader that stays away for longer than this starts over.
const STALLED: Duration = Duration::from_millis(100);

/// Watches how fast a reader takes its frames.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Bytes taken without a pause.
    eager: u64,
    /// The last frame: when it was handed over, and its length.
    handed: Option<(Instant, usize)>,
}

impl Pace {
    /// The reader asks for a frame.
    pub(crate) fn asked(&mut self, now: Instant) {
        let Some((then, length)) = self.handed.take() else {
            return;
        };
        let away = now.saturating_duration_since(then);
        if away <= AT_ONCE {
            self.eager = self.eager.saturating_add(length as u64);
        } else if away > STALLED {
            self.eager = 0;
        }
    }

    /// The reader was given a frame of so many bytes.
    pub(crate) fn handed(&mut self, length: usize, now: Instant) {
        self.handed = Some((now, length));
    }

    /// The length of the next frame in bytes, when so many bytes can be read.
    pub(crate) fn frame(&self, available: u64) -> usize {
        let most = match self.eager / PROOF {
            0 => SMALL,
            1 => MIDDLE,
            _ => LARGE,
        };
        usize::try_from(available).map_or(most, |available| available.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a reader take `bytes` in frames, each `away` after it was handed over; gives the next frame's length.
    fn take(pace: &mut Pace, bytes: u64, away: Duration) -> usize {
        let mut now = Instant::now();
        let mut taken = 0;
        while taken < bytes {
            let frame = pace.frame(u64::MAX);
            pace.handed(frame, now);
            now += away;
            pace.asked(now);
            taken += frame as u64;
        }
        pace.frame(u64::MAX)
    }

    #[test]
    fn doubles_frames_for_a_reader_that_keeps_up() {
        let mut pace = Pace::default();
        let fast = Duration::from_micros(50);
        assert_eq!(take(&mut pace, PROOF - 1, Duration::ZERO), MIDDLE);
        assert_eq!(take(&mut pace, PROOF, fast), LARGE);
        assert_eq!(take(&mut pace, 100 * PROOF, fast), LARGE);
    }

    #[test]
    fn leaves_small_frames_to_a_reader_whose_socket_only_swallowed_the_first_megabytes() {
        let mut pace = Pace::default();
        assert_eq!(take(&mut pace, PROOF / 2, Duration::ZERO), SMALL);
    }

    #[test]
    fn leaves_small_frames_to_a_slow_reader() {
        assert_eq!(
            take(&mut Pace::default(), 4 * PROOF, Duration::from_millis(20)),
            SMALL
        );
    }

    #[test]
    fn shrinks_frames_after_a_stall() {
        let mut pace = Pace::default();
        assert_eq!(take(&mut pace, 4 * PROOF, Duration::ZERO), LARGE);
        assert_eq!(take(&mut pace, 1, Duration::from_millis(50)), LARGE);
        assert_eq!(take(&mut pace, 1, Duration::from_secs(1)), SMALL);
    }

    #[test]
    fn counts_waiting_for_the_writer_for_nobody() {
        let mut pace = Pace::default();
        let now = Instant::now();
        pace.handed(SMALL, now);
        pace.asked(now);
        pace.asked(now + Duration::from_secs(9));
        assert_eq!(pace.eager, SMALL as u64);
    }

    #[test]
    fn reads_no_more_than_there_is() {
        assert_eq!(Pace::default().frame(7), 7);
    }
}
