use super::*;

/// M8, B11: the codes are those of the specification, one row each.
#[test]
fn has_one_row_for_each_code() {
    for code in ErrorCode::all() {
        assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        assert_eq!(ErrorCode::all().filter(|other| *other == code).count(), 1);
        assert!(
            code.as_str()
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        );
        assert!(!code.message().is_empty());
    }
    assert_eq!(ErrorCode::TooManyRequests.as_str(), "TOOMANYREQUESTS");
    assert_eq!(ErrorCode::parse("NO_SUCH_CODE"), None);
}
