//! The section of `docs/benchmarks.md` about what is stored.

use std::fmt::Write;

use super::names::{ALL, Path};
use crate::report::{Results, table};

/// More than this between the smallest and the largest database is growth.
const GROWTH: f64 = 2.0;

/// A table, a row a metric and a column a size, then what grows that must not.
pub(crate) fn section(results: &Results) -> String {
    let sizes = results.subjects();
    let (Some(smallest), Some(largest)) = (sizes.first(), sizes.last()) else {
        return String::new();
    };
    let mut head = vec![String::new()];
    head.extend(sizes.iter().map(|size| (*size).to_owned()));
    head.push("growth".to_owned());
    let (mut rows, mut growing) = (Vec::new(), String::new());
    for metric in ALL {
        let medians: Vec<Option<f64>> = sizes
            .iter()
            .map(|size| results.median(metric.name, size))
            .collect();
        if medians.iter().all(Option::is_none) {
            continue;
        }
        let growth = results
            .median(metric.name, largest)
            .zip(results.median(metric.name, smallest));
        let growth = growth.map(|(large, small)| large / small);
        let unit = metric.unit.symbol();
        let name = format!("{}, {unit}", metric.title);
        let mut row = vec![name.trim_end_matches(", ").to_owned()];
        row.extend(
            medians
                .iter()
                .map(|median| median.map(table::number).unwrap_or_default()),
        );
        row.push(growth.map(table::number).unwrap_or_default());
        rows.push(row);
        if metric.path == Path::Request && growth.is_some_and(|growth| growth > GROWTH) {
            let times = growth.map(table::number).unwrap_or_default();
            let _ = writeln!(growing, "- {}: {times} ×", metric.title);
        }
    }
    let verdict = if growing.is_empty() {
        format!(
            "Nothing on a request path grows: no median at {largest} is over {GROWTH} × that at {smallest}.\n"
        )
    } else {
        format!(
            "On a request path these are over {GROWTH} × at {largest} of what they are at {smallest}:\n\n{growing}"
        )
    };
    format!("{}\n{verdict}", table::markdown(&head, &rows))
}

#[cfg(test)]
mod tests {
    use super::super::names::{RECOUNT, TAG_FIRST};
    use super::*;
    use crate::report::Machine;

    fn results(tag: [f64; 2]) -> Results {
        let mut results = Results::new(Machine::unknown(), "test");
        for (size, tag, recount) in [("1,000 tags", tag[0], 1.0), ("100,000 tags", tag[1], 100.0)] {
            results.record(TAG_FIRST.name, TAG_FIRST.unit, size, 0, tag);
            results.record(RECOUNT.name, RECOUNT.unit, size, 0, recount);
        }
        results
    }

    #[test]
    fn a_request_that_grows_is_named() {
        let text = section(&results([0.1, 0.3]));
        assert!(text.contains("- pull by tag, not in memory: 3.00 ×"), "{text}");
        assert!(!text.contains("Nothing on a request path grows"), "{text}");
    }

    #[test]
    fn a_tool_that_reads_everything_may_grow() {
        let text = section(&results([0.1, 0.2]));
        assert!(text.contains("| `recount`, ms | 1.00 | 100 | 100 |"), "{text}");
        assert!(text.contains("Nothing on a request path grows"), "{text}");
    }
}
