//! What limits a target that is missed: lines `id: text` that people write.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use super::targets::Target;

/// The explanations by the id of the target. Lines that begin with `#` and empty ones are skipped, a line that
/// begins with a space goes on with the text before it. An id without a target is refused: it explains nothing.
pub(crate) fn parse(text: &str, targets: &[Target]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut limits = BTreeMap::new();
    let mut last: Option<(String, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            match &mut last {
                Some((_, text)) => {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                None => bail!("line {number} goes on with nothing"),
            }
            continue;
        }
        limits.extend(last.take());
        let Some((id, text)) = line.split_once(':') else {
            bail!("line {number} is not `id: text`");
        };
        let known = targets.iter().any(|target| target.id == id);
        ensure!(known, "line {number}: there is no target {id}");
        last = Some((id.to_owned(), text.trim().to_owned()));
    }
    limits.extend(last);
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::targets::list;

    #[test]
    fn a_text_may_take_several_lines() {
        let text = "# why\n\nidle: the allocator\n  keeps pages\ncold8: nothing\n";
        let limits = parse(text, &list::all()).unwrap();
        assert_eq!(limits["idle"], "the allocator keeps pages");
        assert_eq!(limits["cold8"], "nothing");
    }

    #[test]
    fn an_id_without_a_target_is_refused() {
        let refused = |text| parse(text, &list::all()).unwrap_err().to_string();
        assert_eq!(refused("idel: x"), "line 1: there is no target idel");
        assert_eq!(refused("# x\nidle"), "line 2 is not `id: text`");
        assert_eq!(refused("  x"), "line 1 goes on with nothing");
    }

    #[test]
    fn the_committed_file_names_targets() {
        parse(include_str!("../../limits.txt"), &list::all()).unwrap();
    }
}
