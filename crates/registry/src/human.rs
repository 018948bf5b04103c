//! Numbers as people say them, for log lines. Programs read the structured fields beside them.

use std::fmt;

use crate::clock::Millis;

/// Bytes, in the decimal units in which quotas are written: `41 MB`, `1.5 GB`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let units = [
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1_000, "kB"),
        ];
        let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
            return write!(formatter, "{bytes} B");
        };
        let (whole, tenths) = (bytes / unit, bytes % unit / (unit / 10));
        if whole < 10 && tenths > 0 {
            write!(formatter, "{whole}.{tenths} {name}")
        } else {
            write!(formatter, "{whole} {name}")
        }
    }
}

/// How long ago something was, in the largest unit of which it is at least one: `9 d`, `3 h`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age(Millis);

impl Age {
    /// Of `then`, seen at `now`; no age if `then` is yet to come.
    pub(crate) fn of(then: Millis, now: Millis) -> Self {
        Self(now.saturating_sub(then).max(0))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
        match units.into_iter().find(|(unit, _)| seconds >= *unit) {
            Some((unit, name)) => write!(formatter, "{} {name}", seconds / unit),
            None => write!(formatter, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_decimal_units() {
        for (bytes, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (1_550, "1.5 kB"),
            (41_000_000, "41 MB"),
            (41_999_999, "41 MB"),
            (9_950_000, "9.9 MB"),
            (150_000_000, "150 MB"),
            (1_500_000_000, "1.5 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(Size(bytes).to_string(), said);
        }
    }

    #[test]
    fn ages_are_said_in_their_largest_unit() {
        for (age, said) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (3_599_999, "59 min"),
            (3_600_000, "1 h"),
            (86_400_000, "1 d"),
            (9 * 86_400_000 + 5, "9 d"),
        ] {
            assert_eq!(Age::of(1_000, 1_000 + age).to_string(), said);
        }
        assert_eq!(Age::of(i64::MAX, 0).to_string(), "0 s");
        assert_eq!(Age::of(i64::MIN, i64::MAX).to_string(), "106751991167 d");
    }
}
