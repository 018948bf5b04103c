//! What the program prints while it runs.

use std::io::Write;
use std::time::Duration;

use crate::report::table;
use crate::work::Figure;

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is what a person who waits reads")]
pub(crate) fn say(text: &str) {
    println!("{text}");
    // Progress that sits in a buffer is none; a closed pipe is not this program's business.
    let _ = std::io::stdout().flush();
}

/// Prints what one measurement found, this long after the beginning of the run.
pub(crate) fn figures(elapsed: Duration, round: u32, subject: &str, figures: &[Figure]) {
    let Some(first) = figures.first() else { return };
    let value = |figure: &Figure| format!("{} {}", table::number(figure.value), figure.unit.symbol());
    let rest = figures.iter().skip(1).map(|figure| {
        let name = figure
            .metric
            .strip_prefix(&first.metric)
            .unwrap_or(&figure.metric);
        format!("  {} {}", name.trim_start_matches('.'), value(figure))
    });
    let rest: String = rest.collect();
    say(&format!(
        "{:>5} s  {round} {:<28} {subject:<17} {}{rest}",
        elapsed.as_secs(),
        first.metric,
        value(first)
    ));
}
