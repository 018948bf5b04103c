//! Chance that can be repeated.

use std::time::{Duration, SystemTime};

/// The variable with the seed of a run to repeat.
const SEED: &str = "QUAYSIDE_SEED";

/// A source of numbers that look random and depend on a seed alone (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Another seed at each run, or the one in the environment.
    ///
    /// # Panics
    /// If what the environment says is no number.
    pub fn seed() -> u64 {
        match std::env::var(SEED) {
            Ok(seed) => seed.parse().expect("QUAYSIDE_SEED is a number"),
            Err(_) => SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |elapsed| u64::from(elapsed.subsec_nanos())),
        }
    }

    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A source of its own, for somebody who draws at the same time.
    #[must_use]
    pub fn part(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// One of `all`, of which there is at least one.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A time in milliseconds, from `least` to less than `end`.
    pub fn millis(&mut self, least: usize, end: usize) -> Duration {
        Duration::from_millis((least + self.below(end - least)) as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
