//! Samples, and the two figures that are made of them: medians and ratios.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Machine;

/// What a value counts. The unit decides which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    RequestsPerSecond,
    MebibytesPerSecond,
    Seconds,
    Milliseconds,
    /// CPU microseconds, of all processes of the subject, for one request.
    CpuMicrosecondsPerRequest,
    /// CPU seconds, of all processes of the subject, for one GiB served.
    CpuSecondsPerGibibyte,
    /// CPU seconds, of all processes of the subject, for the whole of the work.
    CpuSeconds,
    Mebibytes,
    /// KiB of memory for one connection.
    KibibytesPerConnection,
    /// Bytes that left the origin, divided by the bytes of what was pulled.
    UpstreamBytes,
    /// Requests that reached the origin, divided by the pulls.
    UpstreamRequestsPerPull,
    /// How many of something there were.
    Count,
}

/// Which of two values of one metric is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
    /// A count says nothing by itself.
    Neither,
}

impl Unit {
    pub(crate) fn better(self) -> Better {
        match self {
            Self::RequestsPerSecond | Self::MebibytesPerSecond => Better::More,
            Self::Count => Better::Neither,
            _ => Better::Less,
        }
    }

    /// As it stands in the head of a column.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "req/s",
            Self::MebibytesPerSecond => "MiB/s",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::CpuMicrosecondsPerRequest => "CPU µs/req",
            Self::CpuSecondsPerGibibyte => "CPU s/GiB",
            Self::CpuSeconds => "CPU s",
            Self::Mebibytes => "MiB",
            Self::KibibytesPerConnection => "KiB/connection",
            Self::UpstreamBytes => "× upstream",
            Self::UpstreamRequestsPerPull => "upstream req/pull",
            Self::Count => "",
        }
    }
}

/// One measurement of one subject in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// A name of [`super::names`].
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    /// A name of [`super::names`], or the size of a database.
    pub(crate) subject: String,
    pub(crate) round: u32,
    pub(crate) value: f64,
}

/// All that one run measured, in the order in which it did. The JSON file is this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// How the run was made: `quick` or `full`, and what else matters.
    pub(crate) form: String,
    pub(crate) samples: Vec<Sample>,
}

impl Results {
    pub(crate) fn new(machine: Machine, form: impl Into<String>) -> Self {
        Self {
            machine,
            form: form.into(),
            samples: Vec::new(),
        }
    }

    /// Adds one measurement. Rounds count from 0; the same round of two subjects is compared.
    pub(crate) fn record(
        &mut self,
        metric: impl Into<String>,
        unit: Unit,
        subject: impl Into<String>,
        round: u32,
        value: f64,
    ) {
        self.samples.push(Sample {
            metric: metric.into(),
            unit,
            subject: subject.into(),
            round,
            value,
        });
    }

    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open results {}", path.display()))?;
        serde_json::from_reader(BufReader::new(file))
            .with_context(|| format!("read results {}", path.display()))
    }

    /// Writes the JSON file, and the directory that it is in.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let action = || format!("write results {}", path.display());
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(action)?;
        }
        let mut file = BufWriter::new(File::create(path).with_context(action)?);
        serde_json::to_writer_pretty(&mut file, self).with_context(action)?;
        file.write_all(b"\n").with_context(action)?;
        file.flush().with_context(action)
    }

    /// The names of the metrics, each where it was measured first.
    pub(crate) fn metrics(&self) -> Vec<&str> {
        in_order(self.samples.iter().map(|sample| sample.metric.as_str()))
    }

    /// The subjects, each where it was measured first.
    pub(crate) fn subjects(&self) -> Vec<&str> {
        in_order(self.samples.iter().map(|sample| sample.subject.as_str()))
    }

    /// The unit of a metric, `None` if it was not measured.
    pub(crate) fn unit(&self, metric: &str) -> Option<Unit> {
        let sample = self.samples.iter().find(|sample| sample.metric == metric)?;
        Some(sample.unit)
    }

    /// The value of each round, of rounds measured twice the later one.
    pub(crate) fn rounds(&self, metric: &str, subject: &str) -> BTreeMap<u32, f64> {
        self.samples
            .iter()
            .filter(|sample| sample.metric == metric && sample.subject == subject)
            .map(|sample| (sample.round, sample.value))
            .collect()
    }

    /// The median over the rounds.
    pub(crate) fn median(&self, metric: &str, subject: &str) -> Option<f64> {
        median(self.rounds(metric, subject).into_values().collect())
    }

    /// How many times the value of `of` the value of `subject` is: the median of the ratios of the rounds
    /// that both were measured in, because two subjects of one round saw the same machine. Without a common
    /// round, the ratio of the medians.
    pub(crate) fn ratio(&self, metric: &str, subject: &str, of: &str) -> Option<f64> {
        let (ours, theirs) = (self.rounds(metric, subject), self.rounds(metric, of));
        let pairs = ours
            .iter()
            .filter_map(|(round, value)| Some(value / theirs.get(round)?))
            .filter(|ratio| ratio.is_finite())
            .collect();
        median(pairs).or_else(|| {
            let ratio = self.median(metric, subject)? / self.median(metric, of)?;
            ratio.is_finite().then_some(ratio)
        })
    }
}

/// Of an even number of values, the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle - 1)?, upper))
}

fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results::new(Machine::unknown(), "test")
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }

    /// A machine that slows down from round to round changes both subjects alike.
    #[test]
    fn a_ratio_compares_what_was_measured_in_one_round() {
        let mut results = results();
        for (round, ours, theirs) in [(0, 50.0, 100.0), (1, 5.0, 10.0), (2, 0.5, 1.0)] {
            results.record("m", Unit::RequestsPerSecond, "ours", round, ours);
            results.record("m", Unit::RequestsPerSecond, "theirs", round, theirs);
        }
        results.record("m", Unit::RequestsPerSecond, "ours", 3, 1000.0);
        assert_eq!(results.ratio("m", "ours", "theirs"), Some(0.5));
    }

    #[test]
    fn without_a_common_round_the_medians_are_compared() {
        let mut results = results();
        results.record("m", Unit::Seconds, "ours", 0, 3.0);
        results.record("m", Unit::Seconds, "theirs", 1, 2.0);
        assert_eq!(results.ratio("m", "ours", "theirs"), Some(1.5));
        assert_eq!(results.ratio("m", "ours", "nobody"), None);
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        let mut results = results();
        results.record("m", Unit::Seconds, "ours", 0, 3.0);
        results.record("m", Unit::Seconds, "theirs", 0, 0.0);
        assert_eq!(results.ratio("m", "ours", "theirs"), None);
    }

    #[test]
    fn a_saved_file_is_loaded_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/results.json");
        let mut results = results();
        results.record("m", Unit::UpstreamBytes, "ours", 0, 1.0);
        results.save(&path).unwrap();
        assert_eq!(Results::load(&path).unwrap(), results);
    }

    #[test]
    fn names_come_in_the_order_of_measuring() {
        let mut results = results();
        for metric in ["z", "a", "z"] {
            results.record(metric, Unit::Count, "s", 0, 1.0);
        }
        assert_eq!(results.metrics(), ["z", "a"]);
    }
}
