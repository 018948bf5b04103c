//! The parts of `docs/benchmarks.md` that are made from results, between markers; prose stands around them.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Context;

use super::names::{self, part, subject};
use super::plot::{Group, Plot, Series};
use super::targets::Target;
use super::{Better, Machine, Results, table};

/// What the results are told in: a title, and what the names of its metrics begin with. The longest
/// beginning decides.
const SECTIONS: [(&str, &[&str]); 4] = [
    ("Manifests that are stored", &["manifest."]),
    ("Blobs that are stored", &["blob."]),
    (
        "What is not stored yet",
        &["cold", "herd", "crowd", "ranges", "abort"],
    ),
    (
        "Memory, start, and clients that stall",
        &["idle", "cold8", "manifest4", "stalled", "start"],
    ),
];

/// Text with the part between `<!-- begin NAME -->` and `<!-- end NAME -->` replaced.
pub(crate) fn replace(document: &str, name: &str, made: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let missing = || format!("find {begin} … {end}");
    let (before, rest) = document.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", made.trim()))
}

/// Where and of what a run was made.
pub(crate) fn machine(machine: &Machine, form: &str) -> String {
    let Machine {
        cpu,
        cores,
        memory_mib,
        kernel,
        system,
        commit,
        date,
        versions,
    } = machine;
    let mut text = format!(
        "{cpu}, {cores} cores, {} MiB; {system}, Linux {kernel}. Commit `{commit}`, {date}, {form}.\n",
        table::number(f64::from(u32::try_from(*memory_mib).unwrap_or(u32::MAX)))
    );
    if !versions.is_empty() {
        text.push('\n');
    }
    for (subject, version) in versions {
        let _ = writeln!(text, "- {subject}: {version}");
    }
    text
}

/// All tables of a run, then where the field is ahead of us that must not be.
pub(crate) fn results(results: &Results) -> String {
    let mut text = String::new();
    let titles = SECTIONS.map(|(title, _)| Some(title)).into_iter();
    for section in titles.chain([None]) {
        let metrics = results.metrics().into_iter();
        let metrics: Vec<&str> = metrics.filter(|metric| section_of(metric) == section).collect();
        if !metrics.is_empty() {
            let title = section.unwrap_or("Other");
            let _ = write!(text, "### {title}\n\n{}\n", table::of_metrics(results, &metrics));
        }
    }
    text.push_str(&lost(results));
    text
}

/// The title of the section of a metric.
fn section_of(metric: &str) -> Option<&'static str> {
    SECTIONS
        .iter()
        .flat_map(|(title, beginnings)| beginnings.iter().map(move |beginning| (*title, *beginning)))
        .filter(|(_, beginning)| metric.starts_with(beginning))
        .max_by_key(|(_, beginning)| beginning.len())
        .map(|(title, _)| title)
}

/// Losing to distribution anywhere is a bug, so it is said.
fn lost(results: &Results) -> String {
    let mut text = String::new();
    for peer in [subject::DISTRIBUTION_2, subject::DISTRIBUTION_3] {
        for metric in results.metrics() {
            let Some(ratio) = results.ratio(metric, subject::QUAYSIDE, peer) else {
                continue;
            };
            let behind = match results.unit(metric).map(super::Unit::better) {
                Some(Better::More) => ratio < 1.0,
                Some(Better::Less) => ratio > 1.0,
                Some(Better::Neither) | None => false,
            };
            if behind {
                let _ = writeln!(text, "- `{metric}`: {} × {peer}", table::number(ratio));
            }
        }
    }
    if text.is_empty() {
        return "Nowhere in this run is either distribution ahead.\n".to_owned();
    }
    format!("Where distribution is ahead, which is a fault of ours:\n\n{text}")
}

/// The table of targets, and how many are met.
pub(crate) fn targets(results: &Results, targets: &[Target], limits: &BTreeMap<String, String>) -> String {
    let met = targets
        .iter()
        .filter(|target| target.check(results).verdict == super::targets::Verdict::Met)
        .count();
    format!(
        "{met} of {} targets are met.\n\n{}",
        targets.len(),
        table::of_targets(results, targets, limits)
    )
}

/// The pictures: name of the file without its ending, and what is on it.
pub(crate) fn plots(results: &Results) -> Vec<(&'static str, Plot)> {
    let at = |works: &[&str], parts: &[&str]| -> Vec<String> {
        works
            .iter()
            .flat_map(|work| parts.iter().map(|parts| part(work, parts)))
            .collect()
    };
    let plain = |works: &[&str]| works.iter().map(|work| (*work).to_owned()).collect();
    let manifests = at(
        &[
            names::MANIFEST_DIGEST_GET,
            names::MANIFEST_DIGEST_HEAD,
            names::MANIFEST_TAG_GET,
        ],
        &["c1", "c16", "c64"],
    );
    let blobs = at(&[names::BLOB_10MIB, names::BLOB_100MIB], &["x1", "x8"]);
    let cold = plain(&[
        names::COLD_500_LOOPBACK,
        names::COLD_500_WIRE,
        names::HERD_20,
        names::HERD_20_WIRE,
        names::CROWD_1000,
        names::RANGES_4_WIRE,
    ]);
    let upstream = at(
        &[
            names::COLD_500_LOOPBACK,
            names::HERD_20,
            names::HERD_20_WIRE,
            names::CROWD_1000,
            names::RANGES_4_WIRE,
        ],
        &["up_x"],
    );
    let cpu = at(&[names::BLOB_10MIB, names::BLOB_100MIB], &["x1.cpu", "x8.cpu"]);
    let peaks: Vec<String> = results
        .metrics()
        .into_iter()
        .filter(|metric| metric.ends_with("peak") || metric.ends_with("rss"))
        .map(str::to_owned)
        .collect();
    let drawn = [
        (
            "manifests",
            "Stored manifests",
            "requests a second, more is better",
            manifests,
        ),
        ("blobs", "Stored blobs", "MiB/s, more is better", blobs),
        ("cold", "Misses", "seconds, less is better", cold),
        (
            "upstream",
            "Bytes from upstream",
            "times the bytes of the image, less is better",
            upstream,
        ),
        (
            "cpu",
            "CPU of stored blobs",
            "CPU seconds a GiB, less is better",
            cpu,
        ),
        ("memory", "Memory", "MiB, less is better", peaks),
    ];
    drawn
        .into_iter()
        .map(|(file, title, subtitle, metrics)| (file, plot(results, title, subtitle, &metrics)))
        .filter(|(_, plot)| !plot.groups.is_empty())
        .collect()
}

/// The medians of metrics of one unit, a group a metric, a bar a subject.
fn plot(results: &Results, title: &str, subtitle: &str, metrics: &[String]) -> Plot {
    let measured: Vec<&String> = metrics
        .iter()
        .filter(|metric| results.unit(metric).is_some())
        .collect();
    let subjects: Vec<&str> = COLOURS
        .into_iter()
        .map(|(subject, _)| subject)
        .filter(|subject| {
            let any = |metric: &&String| results.median(metric, subject).is_some();
            measured.iter().any(any)
        })
        .collect();
    Plot {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        series: subjects.iter().map(|subject| series(subject)).collect(),
        groups: measured
            .into_iter()
            .map(|metric| Group {
                name: metric.clone(),
                values: subjects
                    .iter()
                    .map(|subject| results.median(metric, subject))
                    .collect(),
            })
            .collect(),
    }
}

/// In the order in which they are drawn.
const COLOURS: [(&str, &str); 9] = [
    (subject::QUAYSIDE, "#0b57d0"),
    (subject::NGINX_STATIC, "#7a8794"),
    (subject::NGINX_CACHE, "#2f9e73"),
    (subject::VARNISH, "#c98a00"),
    (subject::DISTRIBUTION_2, "#b3412e"),
    (subject::DISTRIBUTION_3, "#e58a7a"),
    (subject::DIRECT, "#b8bfc6"),
    (subject::QUAYSIDE_S3, "#7baaf7"),
    (subject::DISTRIBUTION_3_S3, "#f2c4bb"),
];

fn series(subject: &str) -> Series {
    let colour = COLOURS.iter().find(|(name, _)| *name == subject);
    Series {
        name: subject.to_owned(),
        colour: colour.map_or("#555555", |(_, colour)| colour),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;

    fn run(samples: &[(&str, Unit, &str, f64)]) -> Results {
        let mut results = Results::new(Machine::unknown(), "test");
        for (metric, unit, subject, value) in samples {
            results.record(*metric, *unit, *subject, 0, *value);
        }
        results
    }

    #[test]
    fn what_is_written_by_hand_survives() {
        let document = "prose\n<!-- begin a -->\nold\n<!-- end a -->\nmore\n";
        let made = replace(document, "a", "new\n").unwrap();
        assert_eq!(made, "prose\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nmore\n");
        assert_eq!(replace(&made, "a", "new").unwrap(), made);
        assert!(replace(document, "b", "new").is_err());
    }

    #[test]
    fn every_metric_stands_in_one_table() {
        let names = [
            "manifest.digest.get.c1",
            "cold8.peak",
            "cold500.wire",
            "something",
        ];
        let samples = names.map(|name| (name, Unit::Seconds, subject::QUAYSIDE, 1.0));
        let text = results(&run(&samples));
        for name in names {
            assert_eq!(text.matches(&format!("`{name}`")).count(), 1, "{text}");
        }
        let section = |title: &str| text.split("### ").find(|part| part.starts_with(title)).unwrap();
        assert!(section("Memory").contains("cold8.peak"));
        assert!(section("Other").contains("something"));
    }

    #[test]
    fn losing_to_distribution_is_said() {
        let peer = subject::DISTRIBUTION_3;
        let run = run(&[
            ("blob.1KiB.c1", Unit::RequestsPerSecond, subject::QUAYSIDE, 1.0),
            ("blob.1KiB.c1", Unit::RequestsPerSecond, peer, 2.0),
            ("start", Unit::Milliseconds, subject::QUAYSIDE, 1.0),
            ("start", Unit::Milliseconds, peer, 2.0),
        ]);
        let text = lost(&run);
        assert!(text.contains("- `blob.1KiB.c1`: 0.50 × distribution-3"), "{text}");
        assert!(!text.contains("start"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let run = run(&[("blob.10MiB.x1", Unit::MebibytesPerSecond, subject::VARNISH, 5.0)]);
        let plots = plots(&run);
        assert_eq!(plots.len(), 1);
        let (file, plot) = &plots[0];
        assert_eq!((*file, plot.series.len(), plot.groups.len()), ("blobs", 1, 1));
    }
}
