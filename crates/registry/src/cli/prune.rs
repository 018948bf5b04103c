//! `prune --plan`: what would go to make room (O5).

use quayside_config::Config;
use quayside_registry::tools::plan_in_words;

use super::Failure;
use super::tools::{Output, ask, print};

/// What may stand behind a number of bytes.
const UNITS: [(&str, u64); 9] = [
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("B", 1),
];

/// Ends well whatever the plan is.
pub(super) fn plan(config: &Config, organization: &str, bytes: u64, output: Output) -> Result<(), Failure> {
    let document = ask(config, async |server| {
        server.plan_prune(organization, bytes).await
    })?;
    print(output, &document, || plan_in_words(&document));
    Ok(())
}

/// Reads a number of bytes with or without a unit, in whichever case.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = (text[..end].parse::<u64>(), text[end..].trim());
    let factor = match unit {
        "" => Some(1),
        unit => UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, factor)| *factor),
    };
    let bytes = number
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| "a whole number of bytes, as 41000000, 41MB or 40MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O5: bytes as people and programs write them.
    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("41000000", 41_000_000),
            ("41MB", 41_000_000),
            ("41 mb", 41_000_000),
            ("40MiB", 41_943_040),
            ("1GiB", 1 << 30),
            ("2kB", 2_000),
            ("7B", 7),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "MB",
            "-1",
            "4.5GB",
            "41XB",
            "99999999999999999999",
            "18446744073709551615TB",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
