//! Leases by name.

use super::fixture::Fixture;
use crate::{Lease, Taken};

fn held(holder: &str, expires_at: i64, note: Option<&str>) -> Taken {
    Taken::Held(Lease {
        holder: holder.to_owned(),
        expires_at,
        note: note.map(str::to_owned),
    })
}

impl Fixture {
    async fn take(&self, holder: &str, now: i64) -> Taken {
        let taken = self.metadata.take_lease("worker", holder, now, now + 10).await;
        taken.unwrap()
    }

    async fn note(&self, holder: &str, note: &str, until: i64) {
        let given = self.metadata.give_lease_with_note("worker", holder, note, until);
        given.await.unwrap();
    }
}

/// G4: one has it until it expires, and renews it; then anybody may take it.
pub(super) async fn one_at_a_time_has_a_lease(db: Fixture) {
    assert_eq!(db.metadata.lease("worker").await.unwrap(), None);
    assert_eq!(db.take("a", 0).await, Taken::Ours);
    assert_eq!(db.take("b", 5).await, held("a", 10, None));
    assert_eq!(db.take("a", 5).await, Taken::Ours);
    assert_eq!(db.take("b", 15).await, held("a", 15, None), "not a moment early");

    assert_eq!(db.take("b", 16).await, Taken::Ours);

    assert_eq!(db.take("a", 16).await, held("b", 26, None));
    let other = db.metadata.take_lease("other", "a", 16, 20).await;
    assert_eq!(other.unwrap(), Taken::Ours, "names are apart");
}

/// G4: a lease is given back by the one that has it, and by nobody else.
pub(super) async fn lease_is_given_back_by_its_holder(db: Fixture) {
    db.take("a", 0).await;
    db.metadata.give_lease("worker", "b").await.unwrap();
    assert_eq!(db.take("b", 0).await, held("a", 10, None));

    db.metadata.give_lease("worker", "a").await.unwrap();

    assert_eq!(db.take("b", 0).await, Taken::Ours);
    db.note("a", "too late", 10).await;
    db.metadata.give_lease("worker", "a").await.unwrap();
    assert_eq!(db.take("c", 0).await, held("b", 10, None));
}

/// M2, M8: what failed is read by everybody, the one that failed included, until it is out of date.
pub(super) async fn note_stays_until_it_expires(db: Fixture) {
    db.take("a", 0).await;
    db.note("a", "it failed", 2).await;

    for holder in ["a", "b"] {
        assert_eq!(db.take(holder, 2).await, held("a", 2, Some("it failed")));
    }
    // What the holder does out of habit does not take the note away.
    db.metadata.give_lease("worker", "a").await.unwrap();
    db.note("a", "another", 99).await;
    assert_eq!(db.take("b", 2).await, held("a", 2, Some("it failed")));

    assert_eq!(db.take("b", 3).await, Taken::Ours);
    assert_eq!(db.take("a", 3).await, held("b", 13, None), "and no note");
}

/// M2, M8: one that came after the failure tries again at once, and of several exactly one.
pub(super) async fn note_is_overruled_once(db: Fixture) {
    db.take("a", 0).await;
    db.note("a", "it failed", 20).await;
    let Taken::Held(noted) = db.take("b", 5).await else {
        panic!("nobody wrote a note");
    };
    let overrule = async |holder| {
        let taken = db.metadata.take_noted_lease("worker", holder, &noted, 5, 15);
        taken.await.unwrap()
    };

    assert_eq!(overrule("b").await, Taken::Ours);
    assert_eq!(overrule("c").await, held("b", 15, None));

    db.note("b", "it failed", 20).await;
    assert_eq!(
        overrule("c").await,
        held("b", 20, Some("it failed")),
        "of b, which is newer"
    );
}

/// G4, M2: a lease is renewed by the one that has it, and what comes late brings none back.
pub(super) async fn late_renewal_brings_no_lease_back(db: Fixture) {
    let renew = async |holder, until| {
        let renewed = db.metadata.renew_lease("worker", holder, until);
        renewed.await.unwrap();
    };
    db.take("a", 0).await;
    renew("b", 99).await;
    assert_eq!(db.take("b", 0).await, held("a", 10, None));
    renew("a", 20).await;
    assert_eq!(db.take("b", 0).await, held("a", 20, None));

    db.note("a", "it failed", 2).await;
    renew("a", 99).await;
    assert_eq!(db.take("b", 0).await, held("a", 2, Some("it failed")));

    db.take("b", 3).await;
    db.metadata.give_lease("worker", "b").await.unwrap();
    renew("b", 99).await;
    assert_eq!(db.metadata.lease("worker").await.unwrap(), None);
}

/// O1, M2: a process that ends gives back what it has, and leaves what others have and what it had to say.
pub(super) async fn process_gives_all_its_leases_back(db: Fixture) {
    for (name, holder) in [("m:1", "a"), ("m:2", "a"), ("m:3", "b")] {
        let taken = db.metadata.take_lease(name, holder, 0, 10).await;
        assert_eq!(taken.unwrap(), Taken::Ours);
    }
    db.take("a", 0).await;
    db.note("a", "it failed", 10).await;

    assert_eq!(db.metadata.give_all_leases("a").await.unwrap(), 2);

    for name in ["m:1", "m:2"] {
        assert_eq!(db.metadata.lease(name).await.unwrap(), None);
    }
    assert!(db.metadata.lease("m:3").await.unwrap().is_some());
    assert_eq!(db.take("b", 0).await, held("a", 10, Some("it failed")));
}

/// What nobody comes back to does not stay.
pub(super) async fn expired_leases_are_dropped(db: Fixture) {
    db.take("a", 0).await;
    let other = db.metadata.take_lease("m:1/app@1", "a", 0, 4).await;
    assert_eq!(other.unwrap(), Taken::Ours);

    assert_eq!(db.metadata.expire_leases(4).await.unwrap(), 0);
    assert_eq!(db.metadata.expire_leases(5).await.unwrap(), 1);

    assert_eq!(db.metadata.lease("m:1/app@1").await.unwrap(), None);
    assert_eq!(db.take("b", 5).await, held("a", 10, None));
}
