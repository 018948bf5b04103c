//! Every verdict, held against a real pull of the same state: by GET and by HEAD.

mod case;

use case::Before::{CutOff, Fail, Move, Pin, Pull, Release, Remove, Wait};
use case::By::{Digest, Tag};
use case::Form::{Plain, Private, Public, Revalidates, ServesStored};
use case::{Before, By, Case, Form, hold};

/// A row without a user.
type Row = (Form, &'static [Before], By, &'static str);

async fn hold_all(cases: impl IntoIterator<Item = Case>) {
    for (number, case) in cases.into_iter().enumerate() {
        hold(number, &case).await;
    }
}

async fn hold_rows(rows: impl IntoIterator<Item = Row>) {
    let cases = rows
        .into_iter()
        .map(|(form, before, by, said)| Case::new(form, before, by, said));
    hold_all(cases).await;
}

/// O5, M2, M7, M8, M10: what is not cached.
#[tokio::test]
async fn tells_what_happens_to_what_is_not_cached() {
    hold_rows([
        (Plain, &[] as &[_], Tag, "delivers fetch M2 M2 200 MISS"),
        (Plain, &[Remove], Tag, "missing fetch M2 M8 404"),
        (Plain, &[Fail(403)], Tag, "refused fetch M2 M7 403"),
        (Plain, &[Fail(429)], Tag, "rateLimited fetch M2 M8 429"),
        (Plain, &[Fail(503)], Tag, "unreachable fetch M2 M8 502"),
        (Plain, &[], Digest, "delivers fetch M10 M10 200 MISS"),
        (Plain, &[Fail(404)], Digest, "missing fetch M10 M8 404"),
        (Plain, &[Fail(401)], Digest, "refused fetch M10 M7 403"),
    ])
    .await;
}

/// O5, M3, M4, M6, M7, M9, M11: what is cached and live.
#[tokio::test]
async fn tells_what_happens_to_what_is_live() {
    hold_rows([
        (
            Plain,
            &[Pull] as &[_],
            Tag,
            "same revalidate M3 M3 200 REVALIDATED",
        ),
        (Plain, &[Pull, Move], Tag, "changed revalidate M3 M4 200 MISS"),
        (Plain, &[Pull, Remove], Tag, "missing revalidate M3 M6 200 STALE"),
        (Plain, &[Pull, Fail(403)], Tag, "refused revalidate M3 M7 403"),
        (
            Plain,
            &[Pull, Fail(429)],
            Tag,
            "rateLimited revalidate M3 M6 200 STALE",
        ),
        (
            Plain,
            &[Pull, Fail(503)],
            Tag,
            "unreachable revalidate M3 M6 200 STALE",
        ),
        (
            Plain,
            &[Pull, Fail(503), Pull],
            Tag,
            "notAsked serve M6 M6 200 STALE",
        ),
        (
            Plain,
            &[Pull, Fail(503), Pull, Wait(2)],
            Tag,
            "unreachable revalidate M3 M6 200 STALE",
        ),
        (
            Revalidates,
            &[Pull, Wait(20)],
            Tag,
            "notAsked serve M3 M3 200 HIT",
        ),
        (
            Revalidates,
            &[Pull, Wait(31)],
            Tag,
            "same revalidate M3 M3 200 REVALIDATED",
        ),
        (Plain, &[Pull, Fail(403)], Digest, "notAsked serve M9 M9 200 HIT"),
    ])
    .await;
}

/// O5, M5, M8, M9, M11: what is dead, and what is released.
#[tokio::test]
async fn tells_what_happens_to_what_is_dead() {
    hold_rows([
        (
            Plain,
            &[Pull, Wait(61)] as &[_],
            Tag,
            "same revalidate M5 M5 200 REVALIDATED",
        ),
        (
            Plain,
            &[Pull, Wait(61), Move],
            Tag,
            "changed revalidate M5 M5 200 MISS",
        ),
        (
            Plain,
            &[Pull, Wait(61), Remove],
            Tag,
            "missing revalidate M5 M8 404",
        ),
        (
            Plain,
            &[Pull, Wait(61), Fail(403)],
            Tag,
            "refused revalidate M5 M7 403",
        ),
        (
            Plain,
            &[Pull, Wait(61), Fail(503)],
            Tag,
            "unreachable revalidate M5 M8 502",
        ),
        (
            ServesStored,
            &[Pull, Wait(61), Fail(503)],
            Tag,
            "unreachable revalidate M5 M8 200 STALE",
        ),
        (
            ServesStored,
            &[Pull, Wait(61), Remove],
            Tag,
            "missing revalidate M5 M8 404",
        ),
        (Plain, &[Pull, Wait(61)], Digest, "notAsked serve M9 M9 200 HIT"),
        (
            Plain,
            &[Pull, Wait(61), Release],
            Digest,
            "notAsked takeBack M9 M9 200 HIT",
        ),
        (
            Plain,
            &[Pull, Wait(61), Release],
            Tag,
            "delivers fetch M2 M2 200 MISS",
        ),
    ])
    .await;
}

/// O5, C2: upstreams are never contacted.
#[tokio::test]
async fn tells_what_happens_without_contact() {
    hold_rows([
        (
            Plain,
            &[Pull, CutOff] as &[_],
            Tag,
            "notAsked serve C2 C2 200 HIT",
        ),
        (Plain, &[Pull, CutOff], Digest, "notAsked serve C2 C2 200 HIT"),
        (
            Plain,
            &[Pull, CutOff, Wait(61)],
            Tag,
            "notAsked notFound C2 C2 404",
        ),
        (
            Plain,
            &[Pull, CutOff, Wait(61)],
            Digest,
            "notAsked notFound C2 C2 404",
        ),
        (Plain, &[CutOff], Tag, "notAsked notFound C2 C2 404"),
        (Plain, &[CutOff], Digest, "notAsked notFound C2 C2 404"),
        (
            Plain,
            &[Pull, Wait(61), Release, CutOff],
            Digest,
            "notAsked notFound C2 C2 404",
        ),
    ])
    .await;
}

/// O5, A2, A3, A4: what becomes of it depends on who asks.
#[tokio::test]
async fn tells_what_happens_to_whom() {
    let confirmed = "same revalidate M3 M3 200 REVALIDATED";
    let (hit, absent) = ("notAsked serve A3 A3 200 HIT", "notAsked notFound A3 A3 404");
    let no_login = "notAsked deny A2 A2 401";
    let cached = |form, by, said| Case::new(form, &[Pull], by, said);
    hold_all([
        cached(Private, Tag, "notAsked deny A4 A4 401"),
        cached(Private, Tag, "notAsked deny A4 A4 403").by("bob"),
        cached(Private, Tag, confirmed).by("alice"),
        cached(Private, Tag, confirmed).by("acme+ci"),
        cached(Private, Digest, no_login).by("nobody"),
        cached(Public, Tag, hit),
        cached(Public, Digest, hit).by("bob"),
        cached(Public, Tag, confirmed).by("alice"),
        cached(Public, Tag, no_login).by("nobody"),
        Case::new(Public, &[], Tag, "notAsked notFound A3 A3 401"),
        Case::new(Public, &[], Digest, "notAsked notFound A3 A3 401"),
        Case::new(Public, &[], Tag, absent).by("bob"),
        Case::new(Public, &[Pull, Wait(61)], Tag, absent).by("bob"),
        Case::new(Public, &[Pull, Wait(61)], Digest, absent).by("bob"),
        Case::new(Public, &[Pin], Digest, absent).by("bob"),
    ])
    .await;
}
