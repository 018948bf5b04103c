//! Markdown tables of what was measured.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Results;
use super::names::subject::QUAYSIDE;
use super::targets::Target;

/// Three digits that count, thousands set apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 => 2,
        size if size >= 0.00995 => 3,
        _ => 4,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// A table; the first column is text, the others are numbers.
pub(crate) fn markdown(head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = line(head);
    text.push_str("| --- |");
    text.push_str(&" ---: |".repeat(head.len().saturating_sub(1)));
    text.push('\n');
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

fn line(cells: &[String]) -> String {
    let mut text = String::from("|");
    for cell in cells {
        // A pipe would end the cell.
        let _ = write!(text, " {} |", cell.replace('|', "\\|"));
    }
    text.push('\n');
    text
}

/// The medians of some metrics, a column a subject, ours first. Behind the value of a peer stands how many
/// times that ours is.
pub(crate) fn of_metrics(results: &Results, metrics: &[&str]) -> String {
    let measured = |subject: &str| {
        metrics
            .iter()
            .any(|metric| results.median(metric, subject).is_some())
    };
    let peers: Vec<&str> = results
        .subjects()
        .into_iter()
        .filter(|subject| *subject != QUAYSIDE && measured(subject))
        .collect();
    let mut head = vec![String::new(), QUAYSIDE.to_owned()];
    head.extend(peers.iter().map(|peer| (*peer).to_owned()));
    let rows: Vec<Vec<String>> = metrics
        .iter()
        .map(|metric| {
            let unit = results.unit(metric).map_or("", |unit| unit.symbol());
            let ours = results.median(metric, QUAYSIDE).map(number);
            let mut row = vec![
                format!("`{metric}` {unit}").trim().to_owned(),
                ours.unwrap_or_default(),
            ];
            row.extend(peers.iter().map(|peer| cell(results, metric, peer)));
            row
        })
        .collect();
    markdown(&head, &rows)
}

fn cell(results: &Results, metric: &str, peer: &str) -> String {
    let Some(value) = results.median(metric, peer) else {
        return String::new();
    };
    match results.ratio(metric, QUAYSIDE, peer) {
        Some(ratio) => format!("{} ({})", number(value), number(ratio)),
        None => number(value),
    }
}

/// Target, measured, verdict, and what limits it.
pub(crate) fn of_targets(results: &Results, targets: &[Target], limits: &BTreeMap<String, String>) -> String {
    let mut text =
        String::from("| | wanted | measured | | what limits it |\n| --- | --- | --- | --- | --- |\n");
    for target in targets {
        let check = target.check(results);
        let limit = limits.get(target.id).cloned().unwrap_or_default();
        text.push_str(&line(&[
            target.metric.to_owned(),
            target.wanted.to_owned(),
            check.measured.join("<br>"),
            check.verdict.word().to_owned(),
            limit,
        ]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::targets::Condition;
    use crate::report::{Machine, Unit};

    #[test]
    fn numbers_keep_three_digits() {
        let told = [
            (0.0, "0"),
            (0.012_34, "0.012"),
            (0.5, "0.50"),
            (1.0, "1.00"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
        ];
        for (value, text) in told {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn peers_stand_behind_us_with_our_share() {
        let mut results = Results::new(Machine::unknown(), "test");
        results.record("m", Unit::RequestsPerSecond, "nginx", 0, 2000.0);
        results.record("m", Unit::RequestsPerSecond, QUAYSIDE, 0, 1000.0);
        results.record("other", Unit::Seconds, "varnish", 0, 1.0);
        let table = "|  | quayside | nginx |\n| --- | ---: | ---: |\n| `m` req/s | 1,000 | 2,000 (0.50) |\n";
        assert_eq!(of_metrics(&results, &["m"]), table);
    }

    #[test]
    fn a_missed_target_says_what_limits_it() {
        let mut results = Results::new(Machine::unknown(), "test");
        results.record("idle", Unit::Mebibytes, QUAYSIDE, 0, 31.0);
        let target = Target {
            id: "idle",
            metric: "idle",
            wanted: "≤ 30 MiB",
            conditions: vec![Condition::Between {
                metric: "idle".to_owned(),
                least: 0.0,
                most: 30.0,
            }],
        };
        let limits = BTreeMap::from([("idle".to_owned(), "the allocator".to_owned())]);
        let table = of_targets(&results, &[target], &limits);
        let row = "| idle | ≤ 30 MiB | idle: 31.0 MiB | **missed** | the allocator |";
        assert_eq!(table.lines().last().unwrap(), row);
    }
}
