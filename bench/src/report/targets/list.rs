//! The targets, in the order of their table. Two cores, loopback, plain HTTP, ratios in one run.

use super::{Condition, Target};
use crate::report::names::{self, part, subject};

/// How much more than an image may come from upstream for it to have come once: the manifest, the config
/// and what frames them.
const ONCE: f64 = 1.01;

/// All of them.
pub(crate) fn all() -> Vec<Target> {
    let mut targets = warm_manifests();
    targets.extend(warm_blobs());
    targets.extend(misses());
    targets.extend(crowds());
    targets.extend(memory());
    targets
}

fn at_least(metric: String, times: f64, of: &'static str) -> Condition {
    Condition::AtLeast { metric, times, of }
}

fn at_most(metric: impl Into<String>, times: f64, of: &'static str) -> Condition {
    let metric = metric.into();
    Condition::AtMost { metric, times, of }
}

fn no_more_than(metric: impl Into<String>, most: f64) -> Condition {
    Condition::Between {
        metric: metric.into(),
        least: 0.0,
        most,
    }
}

fn distributions(
    metric: &str,
    times: f64,
    condition: fn(String, f64, &'static str) -> Condition,
) -> [Condition; 2] {
    [subject::DISTRIBUTION_2, subject::DISTRIBUTION_3].map(|of| condition(metric.to_owned(), times, of))
}

fn warm_manifests() -> Vec<Target> {
    let digest = |connections| part(names::MANIFEST_DIGEST_GET, connections);
    let wire = part(names::MANIFEST_TAG0_WIRE_GET, "c16");
    vec![
        Target {
            id: "manifest-digest",
            metric: "manifest by digest, 16 and 64 connections",
            wanted: "≥ 0.60 of nginx-static, ≥ 40 × distribution",
            conditions: ["c16", "c64"]
                .into_iter()
                .flat_map(|connections| {
                    let of_nginx = at_least(digest(connections), 0.60, subject::NGINX_STATIC);
                    std::iter::once(of_nginx).chain(distributions(&digest(connections), 40.0, at_least))
                })
                .collect(),
        },
        Target {
            id: "manifest-head",
            metric: "HEAD by digest",
            wanted: "≥ 0.65 of nginx-static",
            conditions: ["c16", "c64"]
                .map(|connections| {
                    let metric = part(names::MANIFEST_DIGEST_HEAD, connections);
                    at_least(metric, 0.65, subject::NGINX_STATIC)
                })
                .into(),
        },
        Target {
            id: "manifest-tag",
            metric: "by tag, revalidateSeconds 86400",
            wanted: "≥ 0.55 of nginx-static",
            conditions: ["c16", "c64"]
                .map(|connections| {
                    let metric = part(names::MANIFEST_TAG_GET, connections);
                    at_least(metric, 0.55, subject::NGINX_STATIC)
                })
                .into(),
        },
        Target {
            id: "manifest-tag0-wire",
            metric: "by tag, revalidateSeconds 0, 20 ms away, 16 connections",
            wanted: "≥ 1.0 of direct, ≤ 0.1 upstream requests a pull",
            conditions: vec![
                no_more_than(part(&wire, "upstream"), 0.1),
                at_least(wire, 1.0, subject::DIRECT),
            ],
        },
    ]
}

fn warm_blobs() -> Vec<Target> {
    let large = |at_a_time| part(names::BLOB_100MIB, at_a_time);
    vec![
        Target {
            id: "blob-1kib",
            metric: "blob of 1 KiB, 16 connections",
            wanted: "≥ 0.45 of nginx-static",
            conditions: vec![at_least(
                part(names::BLOB_1KIB, "c16"),
                0.45,
                subject::NGINX_STATIC,
            )],
        },
        Target {
            id: "blob-100mib-1",
            metric: "blob of 100 MiB, one at a time",
            wanted: "≥ 0.45 of nginx-cache, ≥ 1.4 × distribution, ≤ 0.30 CPU s/GiB",
            conditions: [
                at_least(large("x1"), 0.45, subject::NGINX_CACHE),
                no_more_than(large("x1.cpu"), 0.30),
            ]
            .into_iter()
            .chain(distributions(&large("x1"), 1.4, at_least))
            .collect(),
        },
        Target {
            id: "blob-100mib-8",
            metric: "blob of 100 MiB, eight at a time",
            wanted: "≥ 0.20 of nginx-cache, ≥ 1.4 × distribution, ≤ 0.30 CPU s/GiB",
            conditions: [
                at_least(large("x8"), 0.20, subject::NGINX_CACHE),
                no_more_than(large("x8.cpu"), 0.30),
            ]
            .into_iter()
            .chain(distributions(&large("x8"), 1.4, at_least))
            .collect(),
        },
    ]
}

fn misses() -> Vec<Target> {
    vec![
        Target {
            id: "cold-wire",
            metric: "cold image of 500 MiB over the link",
            wanted: "≤ 1.03 of direct",
            conditions: vec![at_most(names::COLD_500_WIRE, 1.03, subject::DIRECT)],
        },
        Target {
            id: "cold-loopback",
            metric: "cold image of 500 MiB over loopback",
            wanted: "≤ 1.8 of nginx-cache, ≤ 0.6 of distribution",
            conditions: std::iter::once(at_most(names::COLD_500_LOOPBACK, 1.8, subject::NGINX_CACHE))
                .chain(distributions(names::COLD_500_LOOPBACK, 0.6, at_most))
                .collect(),
        },
        Target {
            id: "cold-ttfb",
            metric: "first byte of a cold blob over the link",
            wanted: "≤ direct + 5 ms",
            conditions: vec![Condition::Behind {
                metric: names::COLD_TTFB_WIRE.to_owned(),
                more: 5.0,
                than: subject::DIRECT,
            }],
        },
    ]
}

fn crowds() -> Vec<Target> {
    let up = |work| no_more_than(part(work, "up_x"), ONCE);
    vec![
        Target {
            id: "herd20",
            metric: "20 clients on one cold image of 100 MiB",
            wanted: "upstream × 1.0, wall ≤ 1.15 of varnish",
            conditions: vec![
                up(names::HERD_20),
                at_most(names::HERD_20, 1.15, subject::VARNISH),
            ],
        },
        Target {
            id: "herd20-wire",
            metric: "20 clients on one cold image of 100 MiB over the link",
            wanted: "upstream × 1.0, wall ≤ 1.15 of varnish",
            conditions: vec![
                up(names::HERD_20_WIRE),
                at_most(names::HERD_20_WIRE, 1.15, subject::VARNISH),
            ],
        },
        Target {
            id: "crowd1000",
            metric: "1000 clients on one cold image of 10 MiB",
            wanted: "upstream × 1.0, peak ≤ 200 MiB",
            conditions: vec![
                up(names::CROWD_1000),
                no_more_than(part(names::CROWD_1000, "peak"), 200.0),
            ],
        },
        Target {
            id: "ranges4-wire",
            metric: "four quarters of one cold blob over the link",
            wanted: "4 × 206, upstream × 1.0, wall ≤ 1.05 of direct",
            conditions: vec![
                Condition::Between {
                    metric: part(names::RANGES_4_WIRE, "partial"),
                    least: 4.0,
                    most: 4.0,
                },
                up(names::RANGES_4_WIRE),
                at_most(names::RANGES_4_WIRE, 1.05, subject::DIRECT),
            ],
        },
    ]
}

fn memory() -> Vec<Target> {
    vec![
        Target {
            id: "stalled1000",
            metric: "1000 clients that stop reading 100 MiB",
            wanted: "≤ 140 KiB each, a GET beside them unaffected (≤ 2 × before)",
            conditions: vec![
                no_more_than(names::STALLED_1000, 140.0),
                Condition::AtMostOurs {
                    metric: names::STALLED_1000_BESIDE.to_owned(),
                    times: 2.0,
                    of: names::STALLED_1000_BEFORE.to_owned(),
                },
            ],
        },
        Target {
            id: "idle",
            metric: "idle memory",
            wanted: "≤ 30 MiB",
            conditions: vec![no_more_than(names::IDLE_RSS, 30.0)],
        },
        Target {
            id: "cold8",
            metric: "8 clients on eight cold blobs of 120 MB: peak memory",
            wanted: "≤ 120 MiB",
            conditions: vec![no_more_than(names::COLD_8_PEAK, 120.0)],
        },
        Target {
            id: "manifest-4mib",
            metric: "100 clients on one manifest of 4 MiB: memory over idle",
            wanted: "< 100 MiB",
            conditions: vec![no_more_than(names::MANIFEST_4MIB_PEAK, 99.999)],
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::targets::Verdict;
    use crate::report::{Machine, Results};

    #[test]
    fn every_target_has_its_own_id_and_something_to_check() {
        let targets = all();
        let ids: BTreeSet<&str> = targets.iter().map(|target| target.id).collect();
        assert_eq!(ids.len(), targets.len());
        assert!(targets.iter().all(|target| !target.conditions.is_empty()));
    }

    #[test]
    fn of_an_empty_run_nothing_is_met() {
        let results = Results::new(Machine::unknown(), "test");
        let verdicts = all().into_iter().map(|target| target.check(&results).verdict);
        assert!(verdicts.into_iter().all(|verdict| verdict == Verdict::Unmeasured));
    }
}
