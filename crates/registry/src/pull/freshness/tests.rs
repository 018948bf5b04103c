use proptest::prelude::*;

use super::*;

const NOW: Millis = 1_000_000;
const LIVE: Facts = Facts {
    ends_at: NOW + 1,
    checked_at: NOW - 500,
};
const DEAD: Facts = Facts {
    ends_at: NOW,
    checked_at: NOW - 500,
};
const LONG_DEAD: Facts = Facts {
    ends_at: NOW - 10_000,
    checked_at: NOW - 20_000,
};

const POLICY: Policy = Policy {
    contact: Contact::Allowed,
    revalidate: 0,
    on_failure: FailurePolicy::ServeLive,
    window: 10_000,
};
const REVALIDATE_LATER: Policy = Policy {
    revalidate: 1_000,
    ..POLICY
};
const SERVE_STORED: Policy = Policy {
    on_failure: FailurePolicy::ServeStored,
    ..POLICY
};
const OFFLINE: Policy = Policy {
    contact: Contact::Never,
    ..POLICY
};

/// M2, M3, M5, C2: the first step of every row of the table.
#[test]
fn opens_as_the_table_says() {
    let table = [
        ("M2 not cached", None, POLICY, Opening::Fetch),
        ("M3 live", Some(LIVE), POLICY, Opening::Check),
        (
            "M3 live, checked recently",
            Some(LIVE),
            REVALIDATE_LATER,
            Opening::Serve,
        ),
        (
            "M3 live, checked long ago",
            Some(Facts {
                checked_at: NOW - 1_000,
                ..LIVE
            }),
            REVALIDATE_LATER,
            Opening::Check,
        ),
        (
            "M3 live, checked in the future",
            Some(Facts {
                checked_at: NOW + 1,
                ..LIVE
            }),
            REVALIDATE_LATER,
            Opening::Check,
        ),
        ("M5 dead", Some(DEAD), POLICY, Opening::Check),
        (
            "M5 dead, checked recently",
            Some(DEAD),
            REVALIDATE_LATER,
            Opening::Check,
        ),
        ("C2 not cached", None, OFFLINE, Opening::Absent),
        ("C2 live", Some(LIVE), OFFLINE, Opening::Serve),
        ("C2 dead", Some(DEAD), OFFLINE, Opening::Absent),
    ];
    for (row, cached, policy, expected) in table {
        assert_eq!(open(cached.as_ref(), &policy, NOW), expected, "{row}");
    }
}

type Row = (&'static str, Facts, Answer, Policy, Method, Verdict);

fn assert_rows(rows: &[Row]) {
    for (row, cached, answer, policy, method, expected) in rows {
        assert_eq!(
            conclude(cached, *answer, policy, *method, NOW),
            *expected,
            "{row}"
        );
    }
}

/// M3, M4, M6, M7, M11: the second step of every row of a live tag.
#[test]
#[rustfmt::skip]
fn concludes_for_live_tags_as_the_table_says() {
    use Answer::{Changed, Missing, Outage, Refused, Same, Unusable};
    use Method::{Get, Head};
    assert_rows(&[
        ("M3 live, same", LIVE, Same, POLICY, Get, Verdict::Renew),
        ("M11 live, same, HEAD", LIVE, Same, POLICY, Head, Verdict::Touch),
        ("M4 live, changed", LIVE, Changed, POLICY, Get, Verdict::Fetch),
        ("M11 live, changed, HEAD", LIVE, Changed, POLICY, Head, Verdict::Fetch),
        ("M6 live, 404", LIVE, Missing, POLICY, Get, Verdict::Stale),
        ("M6 live, 404, HEAD", LIVE, Missing, POLICY, Head, Verdict::Stale),
        ("M6 live, outage", LIVE, Outage, POLICY, Get, Verdict::Stale),
        ("M6 live, outage, HEAD", LIVE, Outage, POLICY, Head, Verdict::Stale),
        ("M6 live, outage, ServeStored", LIVE, Outage, SERVE_STORED, Get, Verdict::Stale),
        ("M6 live, unusable answer", LIVE, Unusable, POLICY, Get, Verdict::Stale),
        ("M7 live, refused", LIVE, Refused, POLICY, Get, Verdict::Refuse),
        ("M7 live, refused, HEAD", LIVE, Refused, POLICY, Head, Verdict::Refuse),
    ]);
}

/// M4, M5, M7, M8, M11: the second step of every row of a dead tag.
#[test]
#[rustfmt::skip]
fn concludes_for_dead_tags_as_the_table_says() {
    use Answer::{Changed, Missing, Outage, Refused, Same, Unusable};
    use Method::{Get, Head};
    assert_rows(&[
        ("M5 dead, same", DEAD, Same, POLICY, Get, Verdict::Revive),
        ("M11 dead, same, HEAD", DEAD, Same, POLICY, Head, Verdict::Resolve),
        ("M5 dead, changed", DEAD, Changed, POLICY, Get, Verdict::Fetch),
        ("M8 dead, 404", DEAD, Missing, POLICY, Get, Verdict::Fail),
        ("M8 dead, outage", DEAD, Outage, POLICY, Get, Verdict::Fail),
        ("M8 dead, unusable", DEAD, Unusable, POLICY, Get, Verdict::Fail),
        ("M7 dead, refused", DEAD, Refused, POLICY, Get, Verdict::Refuse),
        ("M8 ServeStored, outage", DEAD, Outage, SERVE_STORED, Get, Verdict::Stored),
        ("M8 ServeStored, outage, HEAD", DEAD, Outage, SERVE_STORED, Head, Verdict::Stored),
        ("M8 ServeStored, 404", DEAD, Missing, SERVE_STORED, Get, Verdict::Fail),
        ("M8 ServeStored, unusable", DEAD, Unusable, SERVE_STORED, Get, Verdict::Fail),
        ("M8 ServeStored, refused", DEAD, Refused, SERVE_STORED, Get, Verdict::Refuse),
        ("M8 ServeStored, Window over", LONG_DEAD, Outage, SERVE_STORED, Get, Verdict::Fail),
    ]);
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Same),
        Just(Answer::Changed),
        Just(Answer::Missing),
        Just(Answer::Refused),
        Just(Answer::Outage),
        Just(Answer::Unusable)
    ]
}

proptest! {
    /// M11, E1: nothing but a GET of a tag that upstream confirms moves an end time.
    #[test]
    fn only_a_confirmed_get_renews(ends_at: i64, now: i64, answer in any_answer(), stored: bool, head: bool) {
        let policy = if stored { SERVE_STORED } else { POLICY };
        let method = if head { Method::Head } else { Method::Get };
        let verdict = conclude(&Facts { ends_at, checked_at: 0 }, answer, &policy, method, now);
        if matches!(verdict, Verdict::Renew | Verdict::Revive) {
            prop_assert!(method == Method::Get && answer == Answer::Same);
        }
    }

    /// M7: whatever is cached, a refusal is never answered with content.
    #[test]
    fn a_refusal_is_never_served(ends_at: i64, now: i64, head: bool) {
        let method = if head { Method::Head } else { Method::Get };
        let facts = Facts { ends_at, checked_at: 0 };
        prop_assert_eq!(conclude(&facts, Answer::Refused, &SERVE_STORED, method, now), Verdict::Refuse);
    }
}
