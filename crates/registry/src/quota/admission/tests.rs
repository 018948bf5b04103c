//! SPEC §5, decided without a database.

mod random;
mod world;

use super::*;

fn demand(usage_bytes: u64, needed_bytes: u64, alone_bytes: u64) -> Demand {
    Demand {
        usage_bytes,
        needed_bytes,
        alone_bytes,
    }
}

fn refusal(quota_bytes: u64, used_bytes: u64, needed_bytes: u64) -> Refusal {
    Refusal {
        quota_bytes,
        used_bytes,
        needed_bytes,
    }
}

fn plan_of(opening: Opening) -> Box<dyn Plan> {
    match opening {
        Opening::Plan(plan) => plan,
        Opening::Admit | Opening::Refuse(_) => panic!("no plan"),
    }
}

/// Q5: what fits, to the last byte, needs no plan.
#[test]
fn what_fits_is_admitted() {
    for planning in [Planning::WithoutPlan, Planning::WithPlan] {
        let opening = QuotaPlanner::new(100, planning).open(&demand(100, 40, 100));
        assert!(matches!(opening, Opening::Admit));
    }
}

/// Q4, Q7: an image that alone is larger than the quota is refused at once, whatever could go for it.
#[test]
fn image_larger_than_the_quota_is_refused_without_a_plan() {
    for planning in [Planning::WithoutPlan, Planning::WithPlan] {
        let opening = QuotaPlanner::new(100, planning).open(&demand(151, 91, 101));
        let Opening::Refuse(refused) = opening else {
            panic!("not refused");
        };
        assert_eq!(refused, refusal(100, 60, 91));
    }
}

/// M15: before renewals are written nothing is planned.
#[test]
fn a_plan_waits_for_the_renewals() {
    let answers = [
        (Planning::WithoutPlan, Start::Defer),
        (Planning::WithPlan, Start::Go),
    ];
    for (planning, answer) in answers {
        let opening = QuotaPlanner::new(100, planning).open(&demand(101, 40, 40));
        assert_eq!(plan_of(opening).start(100), answer);
    }
}

/// Q5, Q7: what stays in any case is too much, by one byte: nothing is planned, and no renewal is waited for.
#[test]
fn what_stays_is_too_much_whatever_goes() {
    for planning in [Planning::WithoutPlan, Planning::WithPlan] {
        let opening = QuotaPlanner::new(100, planning).open(&demand(201, 40, 40));
        let refused = Start::Refuse(refusal(100, 161, 40));
        assert_eq!(plan_of(opening).start(101), refused);
    }
}

/// O5: room for a request is planned as if the request were there.
#[test]
fn room_counts_like_a_request() {
    let opening = QuotaPlanner::making_room(100, 40).open(&demand(60, 0, 0));
    assert!(matches!(opening, Opening::Admit));
    let opening = QuotaPlanner::making_room(100, 41).open(&demand(60, 0, 0));
    assert!(matches!(opening, Opening::Plan(_)));
    let opening = QuotaPlanner::making_room(100, 100).open(&demand(60, 0, 0));
    assert_eq!(plan_of(opening).start(0), Start::Go);
    let Opening::Refuse(refused) = QuotaPlanner::making_room(100, 101).open(&demand(60, 0, 0)) else {
        panic!("not refused");
    };
    assert_eq!(refused, refusal(100, 60, 101));
}
