//! B5: single ranges of bytes.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The whole: no range, or one that is not understood (RFC 9110 §14.2 lets a server ignore it).
    Whole,
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Reads a `Range` header for content of `size` bytes.
pub(crate) fn parse(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    // Several ranges in one answer would need a multipart body, which no client of a registry asks for.
    let Some((first, last)) = spec.trim().split_once('-').filter(|_| !spec.contains(',')) else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Ok(None), Ok(Some(0))) => Wanted::Unsatisfiable,
        (Ok(None), Ok(Some(suffix))) => part(size.saturating_sub(suffix)..size, size),
        (Ok(Some(first)), Ok(None)) => part(first..size, size),
        (Ok(Some(first)), Ok(Some(last))) if first <= last => {
            part(first..size.min(last.saturating_add(1)), size)
        }
        _ => Wanted::Whole,
    }
}

fn part(range: Range<u64>, size: u64) -> Wanted {
    match range.start {
        // containerd 2 puts `bytes=0-` on everything, also on what is empty.
        0 if size == 0 => Wanted::Whole,
        start if start >= size => Wanted::Unsatisfiable,
        _ => Wanted::Part(range),
    }
}

/// A number, nothing, or something that is neither.
fn number(text: &str) -> Result<Option<u64>, ()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    // More digits than fit are a position past any end.
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// B5: the forms of RFC 9110 that name one range.
    #[test]
    fn reads_single_suffix_and_open_ranges() {
        let table = [
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=5-5", Wanted::Part(5..6)),
            ("bytes=90-", Wanted::Part(90..100)),
            ("bytes=0-", Wanted::Part(0..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=9-5", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=a-", Wanted::Whole),
            ("bytes=+1-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ];
        for (header, expected) in table {
            assert_eq!(parse(Some(header), 100), expected, "{header}");
        }
        assert_eq!(parse(None, 100), Wanted::Whole);
        assert_eq!(parse(Some("bytes=0-"), 0), Wanted::Whole);
        assert_eq!(parse(Some("bytes=1-"), 0), Wanted::Unsatisfiable);
    }

    proptest! {
        /// B5: whatever the header says, a part lies within the content and is not empty.
        #[test]
        fn a_part_is_never_empty_and_never_outside(header in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}", size: u64) {
            if let Wanted::Part(range) = parse(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        /// B5: a range that lies within the content is read back, in each of its forms.
        #[test]
        fn parses_back_any_range(size in 1_u64.., a: u64, b: u64) {
            let (a, b) = (a % size, b % size);
            let (first, last) = (a.min(b), a.max(b));
            let part = |header: String| parse(Some(&header), size);
            prop_assert_eq!(part(format!("bytes={first}-{last}")), Wanted::Part(first..last + 1));
            prop_assert_eq!(part(format!("bytes={first}-")), Wanted::Part(first..size));
            prop_assert_eq!(part(format!("bytes=-{}", last + 1)), Wanted::Part(size - last - 1..size));
        }

        /// B5: no header makes the parser panic.
        #[test]
        fn parses_any_header(header in "(bytes ?=)?[-, 0-9a-z]{0,40}|\\PC*", size: u64) {
            if let Wanted::Part(range) = parse(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
