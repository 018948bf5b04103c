//! What the query files say in `SQLite`'s words, in `PostgreSQL`'s.

/// The statement as `PostgreSQL` spells it, see `sql.rs`.
pub(super) fn in_our_words(sql: &str) -> String {
    let sql = each(sql, "/* FOR ", " */", |lock| format!("FOR {lock}"));
    each(&sql, "json_each(", ")", |list| {
        format!("jsonb_array_elements({list}::jsonb)")
    })
}

/// Writes anew what stands between `open` and `close`, and these with it.
fn each(sql: &str, open: &str, close: &str, anew: impl Fn(&str) -> String) -> String {
    let mut written = String::with_capacity(sql.len() + 64);
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(open) {
        let (inner, after) = after.split_once(close).unwrap_or((after, ""));
        written.push_str(before);
        written.push_str(&anew(inner));
        rest = after;
    }
    written + rest
}

#[cfg(test)]
mod tests {
    use super::in_our_words;

    #[test]
    fn lists_and_locks_are_spelled_the_other_way() {
        assert_eq!(
            in_our_words("SELECT value ->> 0 FROM json_each($12) WHERE a IN (b) /* FOR UPDATE */"),
            "SELECT value ->> 0 FROM jsonb_array_elements($12::jsonb) WHERE a IN (b) FOR UPDATE"
        );
        assert_eq!(
            in_our_words("x /* FOR UPDATE SKIP LOCKED */; /* FOR SHARE OF m */ y"),
            "x FOR UPDATE SKIP LOCKED; FOR SHARE OF m y"
        );
    }
}
