//! What the registry is measured against: each target is a few conditions on medians and ratios.

pub(crate) mod list;

use super::Results;
use super::names::subject::QUAYSIDE;
use super::table::number;

/// One row of the table of targets.
#[derive(Debug)]
pub(crate) struct Target {
    /// Under which `limits.txt` says why it is missed.
    pub(crate) id: &'static str,
    /// What is measured, for people.
    pub(crate) metric: &'static str,
    /// What is wanted, for people.
    pub(crate) wanted: &'static str,
    /// What must all be true.
    pub(crate) conditions: Vec<Condition>,
}

/// A bound on what was measured of us.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Our value is at least `times` the value of `of`.
    AtLeast {
        metric: String,
        times: f64,
        of: &'static str,
    },
    /// Our value is at most `times` the value of `of`.
    AtMost {
        metric: String,
        times: f64,
        of: &'static str,
    },
    /// Our value is larger than the value of `than` by at most `more`, in the unit of the metric.
    Behind {
        metric: String,
        more: f64,
        than: &'static str,
    },
    /// Our value is at most `times` our value of another metric.
    AtMostOurs { metric: String, times: f64, of: String },
    /// Our value lies between the two.
    Between { metric: String, least: f64, most: f64 },
}

/// What became of a condition or a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Met,
    /// The run did not measure it, or not its peer.
    Unmeasured,
    Missed,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unmeasured => "not measured",
            Self::Missed => "**missed**",
        }
    }
}

/// A verdict with the figures that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) verdict: Verdict,
    /// One figure a condition.
    pub(crate) measured: Vec<String>,
}

impl Target {
    /// Whether all conditions are met. One that is missed decides, then one that was not measured.
    pub(crate) fn check(&self, results: &Results) -> Check {
        let checks = self.conditions.iter().map(|condition| condition.check(results));
        let (verdicts, measured): (Vec<_>, Vec<_>) = checks.unzip();
        Check {
            verdict: verdicts.into_iter().max().unwrap_or(Verdict::Unmeasured),
            measured,
        }
    }
}

impl Condition {
    fn check(&self, results: &Results) -> (Verdict, String) {
        let Some((value, bounds, text)) = self.measure(results) else {
            return (Verdict::Unmeasured, format!("{}: –", self.metric()));
        };
        let verdict = if (bounds.0..=bounds.1).contains(&value) {
            Verdict::Met
        } else {
            Verdict::Missed
        };
        (verdict, format!("{}: {text}", self.metric()))
    }

    fn metric(&self) -> &str {
        match self {
            Self::AtLeast { metric, .. }
            | Self::AtMost { metric, .. }
            | Self::Behind { metric, .. }
            | Self::AtMostOurs { metric, .. }
            | Self::Between { metric, .. } => metric,
        }
    }

    /// The value that is compared, its bounds, and how it is told.
    fn measure(&self, results: &Results) -> Option<(f64, (f64, f64), String)> {
        let unit = |metric: &str| results.unit(metric).map_or("", |unit| unit.symbol());
        let told = |value: f64, metric: &str| format!("{} {}", number(value), unit(metric)).trim().to_owned();
        match self {
            Self::AtLeast { metric, times, of } => {
                let ratio = results.ratio(metric, QUAYSIDE, of)?;
                Some((
                    ratio,
                    (*times, f64::INFINITY),
                    format!("{} × {of}", number(ratio)),
                ))
            }
            Self::AtMost { metric, times, of } => {
                let ratio = results.ratio(metric, QUAYSIDE, of)?;
                Some((ratio, (0.0, *times), format!("{} × {of}", number(ratio))))
            }
            Self::Behind { metric, more, than } => {
                let behind = results.median(metric, QUAYSIDE)? - results.median(metric, than)?;
                let text = format!("{} more than {than}", told(behind, metric));
                Some((behind, (f64::NEG_INFINITY, *more), text))
            }
            Self::AtMostOurs { metric, times, of } => {
                let ratio = results.median(metric, QUAYSIDE)? / results.median(of, QUAYSIDE)?;
                Some((ratio, (0.0, *times), format!("{} × {of}", number(ratio))))
            }
            Self::Between { metric, least, most } => {
                let value = results.median(metric, QUAYSIDE)?;
                Some((value, (*least, *most), told(value, metric)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Machine, Unit};

    fn results(samples: &[(&str, Unit, &str, f64)]) -> Results {
        let mut results = Results::new(Machine::unknown(), "test");
        for (metric, unit, subject, value) in samples {
            results.record(*metric, *unit, *subject, 0, *value);
        }
        results
    }

    fn verdict(condition: &Condition, samples: &[(&str, Unit, &str, f64)]) -> Verdict {
        condition.check(&results(samples)).0
    }

    #[test]
    fn a_ratio_on_the_bound_is_met() {
        let condition = || Condition::AtLeast {
            metric: "m".to_owned(),
            times: 0.5,
            of: "nginx",
        };
        let against = |ours| {
            let unit = Unit::RequestsPerSecond;
            verdict(
                &condition(),
                &[("m", unit, QUAYSIDE, ours), ("m", unit, "nginx", 100.0)],
            )
        };
        assert_eq!(against(50.0), Verdict::Met);
        assert_eq!(against(49.0), Verdict::Missed);
    }

    #[test]
    fn without_the_peer_nothing_is_said() {
        let condition = Condition::AtMost {
            metric: "m".to_owned(),
            times: 1.0,
            of: "nginx",
        };
        let samples = [("m", Unit::Seconds, QUAYSIDE, 1.0)];
        assert_eq!(verdict(&condition, &samples), Verdict::Unmeasured);
    }

    #[test]
    fn being_quicker_than_the_peer_is_not_being_behind() {
        let condition = |more| Condition::Behind {
            metric: "m".to_owned(),
            more,
            than: "direct",
        };
        let unit = Unit::Milliseconds;
        let samples = |ours| [("m", unit, QUAYSIDE, ours), ("m", unit, "direct", 100.0)];
        assert_eq!(verdict(&condition(5.0), &samples(80.0)), Verdict::Met);
        assert_eq!(verdict(&condition(5.0), &samples(105.0)), Verdict::Met);
        assert_eq!(verdict(&condition(5.0), &samples(106.0)), Verdict::Missed);
    }

    #[test]
    fn a_value_has_to_lie_between_its_bounds() {
        let condition = Condition::Between {
            metric: "m".to_owned(),
            least: 4.0,
            most: 4.0,
        };
        let with = |value| condition.check(&results(&[("m", Unit::Count, QUAYSIDE, value)]));
        assert_eq!(with(4.0), (Verdict::Met, "m: 4.00".to_owned()));
        assert_eq!(with(3.0).0, Verdict::Missed);
    }

    #[test]
    fn one_missed_condition_misses_the_target() {
        let between = |metric: &str, most| Condition::Between {
            metric: metric.to_owned(),
            least: 0.0,
            most,
        };
        let target = |conditions| Target {
            id: "t",
            metric: "t",
            wanted: "t",
            conditions,
        };
        let results = results(&[("m", Unit::Count, QUAYSIDE, 2.0)]);
        let check = |conditions| target(conditions).check(&results).verdict;
        assert_eq!(check(vec![between("m", 2.0)]), Verdict::Met);
        assert_eq!(
            check(vec![between("m", 2.0), between("other", 1.0)]),
            Verdict::Unmeasured
        );
        assert_eq!(
            check(vec![between("other", 1.0), between("m", 1.0)]),
            Verdict::Missed
        );
    }
}
