use quayside_config::organizations::FailurePolicy;

use super::*;

const NOW: Millis = 1_000_000;
const LIVE: Facts = Facts {
    ends_at: NOW + 1,
    checked_at: NOW - 10_000,
};
const DEAD: Facts = Facts {
    ends_at: NOW,
    checked_at: NOW - 10_000,
};

fn member() -> Circumstances {
    Circumstances {
        policy: Policy {
            contact: Contact::Allowed,
            revalidate: 0,
            on_failure: FailurePolicy::ServeLive,
            window: 1_000,
        },
        method: Method::Get,
        viewer: Viewer::Member,
        anonymous: false,
        limited: false,
        checks_paused: false,
        address: "quay.io".into(),
        now: NOW,
    }
}

fn told(next: &Next, upstream: Upstream) -> (&'static str, bool, String) {
    let outcome = next.outcomes.iter().find(|outcome| outcome.upstream == upstream);
    let outcome = outcome.unwrap_or_else(|| panic!("{upstream:?} is not among {next:?}"));
    let ending = match &outcome.ending {
        Ending::Served(status) => format!("{status:?}"),
        Ending::Failed(PullError::Upstream { source, .. }) => format!("{source:?}"),
        other => format!("{other:?}"),
    };
    let ending = ending.split([' ', '(']).next().unwrap_or_default().to_owned();
    (outcome.rule, outcome.renews, ending)
}

/// O5, M3, M4, M6, M7: a live tag, whatever upstream says.
#[test]
fn a_live_tag_is_checked_and_every_answer_has_its_rule() {
    let next = member().by_tag(Some(&LIVE));
    assert_eq!((next.step, next.rule), (Step::Revalidate, "M3"));
    for (upstream, rule, renews, ending) in [
        (Upstream::Same, "M3", true, "Revalidated"),
        (Upstream::Changed, "M4", true, "Miss"),
        (Upstream::Missing, "M6", false, "Stale"),
        (Upstream::Refused, "M7", false, "Refused"),
        (Upstream::RateLimited, "M6", false, "Stale"),
        (Upstream::Unreachable, "M6", false, "Stale"),
        (Upstream::Timeout, "M6", false, "Stale"),
        (Upstream::Unusable, "M6", false, "Stale"),
    ] {
        assert_eq!(
            told(&next, upstream),
            (rule, renews, ending.to_owned()),
            "{upstream:?}"
        );
    }
    assert_eq!(next.outcomes.len(), 8);
}

/// O5, M5, M7, M8: a dead tag, whatever upstream says; `ServeStored` changes what an outage means.
#[test]
fn a_dead_tag_is_checked_and_every_answer_has_its_rule() {
    let next = member().by_tag(Some(&DEAD));
    assert_eq!((next.step, next.rule), (Step::Revalidate, "M5"));
    for (upstream, rule, ending) in [
        (Upstream::Same, "M5", "Revalidated"),
        (Upstream::Changed, "M5", "Miss"),
        (Upstream::Missing, "M8", "NotFound"),
        (Upstream::Refused, "M7", "Refused"),
        (Upstream::Unreachable, "M8", "Status"),
    ] {
        let (said, _, end) = told(&next, upstream);
        assert_eq!((said, &*end), (rule, ending), "{upstream:?}");
    }
    let mut lenient = member();
    lenient.policy.on_failure = FailurePolicy::ServeStored;
    let next = lenient.by_tag(Some(&DEAD));
    assert_eq!(told(&next, Upstream::Timeout), ("M8", false, "Stale".to_owned()));
    assert_eq!(told(&next, Upstream::Missing).2, "NotFound");
}

/// O5, M11: a HEAD moves no end time.
#[test]
fn a_head_renews_nothing() {
    let mut circumstances = member();
    circumstances.method = Method::Head;
    for facts in [LIVE, DEAD] {
        let next = circumstances.by_tag(Some(&facts));
        assert_eq!(
            told(&next, Upstream::Same),
            ("M11", false, "Revalidated".to_owned())
        );
    }
    assert!(!circumstances.by_held_digest(true).outcomes[0].renews);
}

/// O5, M2, M10: what is not cached is fetched; how much room it needs is not known yet.
#[test]
fn what_is_not_cached_is_fetched() {
    for (next, rule) in [
        (member().by_tag(None), "M2"),
        (member().by_unheld_digest(None, 0), "M10"),
    ] {
        assert_eq!((next.step, next.rule), (Step::Fetch, rule));
        assert_eq!(told(&next, Upstream::Delivers), (rule, true, "Miss".to_owned()));
        assert_eq!(next.outcomes[0].room, Room::Unknown);
        assert_eq!(told(&next, Upstream::Missing).0, "M8");
        assert_eq!(told(&next, Upstream::Refused).0, "M7");
    }
}

/// O5, Q5, Q7: with a quota, what upstream gives may be too much, unless it is what is cached.
#[test]
fn what_is_fetched_may_be_too_much() {
    let mut limited = member();
    limited.limited = true;
    for next in [
        limited.by_tag(None),
        limited.by_unheld_digest(None, 0),
        limited.by_tag(Some(&LIVE)),
        limited.by_tag(Some(&DEAD)),
    ] {
        assert_eq!(told(&next, Upstream::TooMuch), ("Q5", false, "NoRoom".to_owned()));
    }
    limited.policy.revalidate = 20_000;
    assert_eq!(limited.by_tag(Some(&LIVE)).outcomes.len(), 1);
}

/// O5, M3: within `revalidateSeconds`, and while checks are paused, upstream is not asked.
#[test]
fn upstream_is_not_always_asked() {
    let mut recent = member();
    recent.policy.revalidate = 20_000;
    let next = recent.by_tag(Some(&LIVE));
    assert_eq!(told(&next, Upstream::NotAsked), ("M3", true, "Hit".to_owned()));
    assert_eq!(next.step, Step::Serve);

    let mut paused = member();
    paused.checks_paused = true;
    let next = paused.by_tag(Some(&LIVE));
    assert_eq!(told(&next, Upstream::NotAsked), ("M6", false, "Stale".to_owned()));
    assert_eq!(paused.by_tag(Some(&DEAD)).step, Step::Revalidate);
    assert_eq!(paused.by_tag(None).step, Step::Fetch);
}

/// O5, C2: without contact only what is live is served.
#[test]
fn without_contact_only_what_is_live_is_served() {
    let mut cut_off = member();
    cut_off.policy.contact = Contact::Never;
    for (next, step) in [
        (cut_off.by_tag(Some(&LIVE)), Step::Serve),
        (cut_off.by_tag(Some(&DEAD)), Step::NotFound),
        (cut_off.by_tag(None), Step::NotFound),
        (cut_off.by_held_digest(true), Step::Serve),
        (cut_off.by_held_digest(false), Step::NotFound),
        (cut_off.by_unheld_digest(None, 0), Step::NotFound),
    ] {
        assert_eq!((next.step, next.rule, next.outcomes.len()), (step, "C2", 1));
    }
}

/// O5, A3: strangers see what is live, and cause nothing.
#[test]
fn strangers_see_what_is_live() {
    let mut stranger = member();
    stranger.viewer = Viewer::Public;
    for (next, step) in [
        (stranger.by_tag(Some(&LIVE)), Step::Serve),
        (stranger.by_tag(Some(&DEAD)), Step::NotFound),
        (stranger.by_tag(None), Step::NotFound),
        (stranger.by_held_digest(true), Step::Serve),
        (stranger.by_held_digest(false), Step::NotFound),
        (stranger.by_unheld_digest(None, 0), Step::NotFound),
    ] {
        assert_eq!((next.step, next.rule), (step, "A3"));
        assert!(!next.outcomes[0].renews);
    }
    stranger.anonymous = true;
    assert!(matches!(stranger.by_tag(None).outcomes[0].ending, Ending::LogIn));
}
