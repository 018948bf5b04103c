//! Every verdict, held against a real pull of the same state: by GET and by HEAD.

use http::Method;
use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::Image;
use serde_json::{Value, json};

use super::ask;
use crate::scene::contacts;

const ROBOT: &str = "canary-robot-of-256-random-bits-0123456789";

/// What happens before somebody asks. Pulls are a member's.
#[derive(Clone, Copy)]
enum Before {
    /// GET of `alpine:1`.
    Pull,
    /// So many seconds pass.
    Wait(u64),
    /// The tag points at another image upstream.
    Move,
    /// Upstream has the image no more.
    Remove,
    /// Upstream answers every request for a manifest with this status.
    Fail(u16),
    /// What is due is released.
    Release,
    /// Upstreams are never contacted any more.
    CutOff,
}

use Before::{CutOff, Fail, Move, Pull, Release, Remove, Wait};

/// What the image is asked for by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Tag,
    Digest,
}

use By::{Digest, Tag};

/// How `acme` is set up. Alice is a member of every form of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Revalidates,
    ServesStored,
    Private,
    Public,
}

use Form::{Plain, Private, Public, Revalidates, ServesStored};

/// State, question, and what is said: what upstream will answer, the first step, its rule, the rule of the end,
/// status and `X-Cache`.
struct Case {
    form: Form,
    before: &'static [Before],
    by: By,
    user: Option<&'static str>,
    upstream: &'static str,
    step: (&'static str, &'static str),
    end: (&'static str, u16, Option<&'static str>),
}

/// A row of the table for somebody from the trusted networks.
fn case(
    form: Form,
    before: &'static [Before],
    by: By,
    upstream: &'static str,
    step: (&'static str, &'static str),
    end: (&'static str, u16, Option<&'static str>),
) -> Case {
    Case {
        form,
        before,
        by,
        user: None,
        upstream,
        step,
        end,
    }
}

impl Case {
    fn by(self, user: &'static str) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }
}

struct World {
    upstream: FakeUpstream,
    image: Image,
    house: House,
}

impl World {
    async fn of(form: Form) -> Self {
        let upstream = FakeUpstream::start().await;
        let image = Image::random(1, &[1000]);
        upstream.push("alpine", "1", &image);
        let acme = Organization::of(&upstream)
            .ttl(60)
            .window(if form == ServesStored { 1_000 } else { 0 })
            .member("alice")
            .robot("ci", ROBOT);
        let acme = match form {
            Plain => acme,
            Revalidates => acme.revalidate(30),
            ServesStored => acme.serve_stored(),
            Private => acme.private(),
            Public => acme.public(),
        };
        let house = House::with(acme).await;
        Self {
            upstream,
            image,
            house,
        }
    }

    async fn happen(&mut self, before: Before) {
        match before {
            Pull => {
                let call = self.house.call(Method::GET, "/v2/acme/alpine/manifests/1");
                assert_eq!(call.user("alice").send().await.status, 200);
            }
            Wait(seconds) => self.house.advance_seconds(seconds),
            Move => self.upstream.push("alpine", "1", &Image::random(2, &[10])),
            Remove => self.upstream.untag("alpine", "1"),
            Fail(status) => self.upstream.script(On::manifest(), Fault::status(status)),
            Release => {
                self.house.advance_seconds(10);
                self.house.collect().await;
            }
            CutOff => self.house.restart_with("FEATURE_PROXY_CACHE", json!(false)).await,
        }
    }

    fn reference(&self, by: By) -> &str {
        match by {
            Tag => "1",
            Digest => self.image.digest(),
        }
    }

    async fn pull(&self, method: &Method, case: &Case) -> Answer {
        let path = format!("/v2/acme/alpine/manifests/{}", self.reference(case.by));
        let call = self.house.call(method.clone(), &path);
        let call = match case.user {
            None => call,
            Some("acme+ci") => call.basic("acme+ci", ROBOT),
            Some("nobody") => call.basic("nobody", "wrong"),
            Some(user) => call.user(user),
        };
        call.send().await
    }

    /// Adds up what a pull could change.
    async fn sum(&self) -> i64 {
        let times = "SELECT coalesce(sum(manifest_id + current + ends_at + 3 * pulled_at + 5 * checked_at \
                     + 7 * failed_at + 11 * resolved_at), 0) FROM tag";
        let held = "SELECT coalesce(sum(id * (2 + (released_at IS NULL))), 0) FROM manifest";
        self.house.number(times).await + self.house.number(held).await + self.house.rows().await
    }
}

/// Asks, pulls, and panics unless both say what the case says.
async fn hold(method: &Method, name: usize, case: &Case) {
    let mut world = World::of(case.form).await;
    for before in case.before {
        world.happen(*before).await;
    }
    let separator = if case.by == Tag { ":" } else { "@" };
    let image = format!("acme/alpine{separator}{}", world.reference(case.by));
    let at = format!("case {name}, {method}");

    let said = ask(&world.house, &image, case.user).await;
    let (sum, asked) = (world.sum().await, contacts(&world.upstream));
    assert_eq!(
        ask(&world.house, &image, case.user).await,
        said,
        "{at}: changes its mind"
    );
    assert_eq!(contacts(&world.upstream), asked, "{at}: upstream was asked");
    assert_eq!(world.sum().await, sum, "{at}: something changed");

    let next = &said["next"][if method == Method::GET { "get" } else { "head" }];
    assert_eq!(
        (&next["step"], &next["rule"]),
        (&json!(case.step.0), &json!(case.step.1)),
        "{at}: {said:#}"
    );
    let outcomes = next["outcomes"].as_array().unwrap();
    let told: Vec<&Value> = outcomes
        .iter()
        .filter(|outcome| outcome["upstream"] == case.upstream)
        .collect();
    let [told] = told[..] else {
        panic!("{at}: {} is not foreseen once in {next:#}", case.upstream);
    };
    let (rule, status, cache) = case.end;
    // M11 is the rule of what a HEAD confirms.
    let rule = if method == Method::HEAD && case.upstream == "same" {
        "M11"
    } else {
        rule
    };
    assert_eq!(
        (&told["rule"], &told["status"], &told["cache"]),
        (&json!(rule), &json!(status), &json!(cache)),
        "{at}: {said:#}"
    );

    let answer = world.pull(method, case).await;
    let served = (answer.status == 200).then(|| answer.header("x-cache"));
    assert_eq!(
        (answer.status, served),
        (status, cache),
        "{at}: {}",
        answer.summary()
    );
    let asked_upstream = contacts(&world.upstream) > asked;
    assert_eq!(
        asked_upstream,
        case.upstream != "notAsked",
        "{at}: {}",
        answer.summary()
    );
}

async fn hold_all(cases: impl IntoIterator<Item = Case>) {
    for (number, case) in cases.into_iter().enumerate() {
        for method in [Method::GET, Method::HEAD] {
            hold(&method, number, &case).await;
        }
    }
}

const HIT: Option<&str> = Some("HIT");
const MISS: Option<&str> = Some("MISS");
const REVALIDATED: Option<&str> = Some("REVALIDATED");
const STALE: Option<&str> = Some("STALE");

/// O5, M2, M7, M8, M10: what is not cached.
#[tokio::test]
async fn tells_what_happens_to_what_is_not_cached() {
    let (by_tag, by_digest) = (("fetch", "M2"), ("fetch", "M10"));
    hold_all([
        case(Plain, &[], Tag, "delivers", by_tag, ("M2", 200, MISS)),
        case(Plain, &[Remove], Tag, "missing", by_tag, ("M8", 404, None)),
        case(Plain, &[Fail(403)], Tag, "refused", by_tag, ("M7", 403, None)),
        case(Plain, &[Fail(429)], Tag, "rateLimited", by_tag, ("M8", 429, None)),
        case(Plain, &[Fail(503)], Tag, "unreachable", by_tag, ("M8", 502, None)),
        case(Plain, &[], Digest, "delivers", by_digest, ("M10", 200, MISS)),
        case(
            Plain,
            &[Fail(404)],
            Digest,
            "missing",
            by_digest,
            ("M8", 404, None),
        ),
        case(
            Plain,
            &[Fail(401)],
            Digest,
            "refused",
            by_digest,
            ("M7", 403, None),
        ),
    ])
    .await;
}

/// O5, M3, M4, M6, M7, M9, M11: what is cached and live.
#[tokio::test]
async fn tells_what_happens_to_what_is_live() {
    let (check, serve) = (("revalidate", "M3"), ("serve", "M6"));
    hold_all([
        case(Plain, &[Pull], Tag, "same", check, ("M3", 200, REVALIDATED)),
        case(Plain, &[Pull, Move], Tag, "changed", check, ("M4", 200, MISS)),
        case(Plain, &[Pull, Remove], Tag, "missing", check, ("M6", 200, STALE)),
        case(
            Plain,
            &[Pull, Fail(403)],
            Tag,
            "refused",
            check,
            ("M7", 403, None),
        ),
        case(
            Plain,
            &[Pull, Fail(429)],
            Tag,
            "rateLimited",
            check,
            ("M6", 200, STALE),
        ),
        case(
            Plain,
            &[Pull, Fail(503)],
            Tag,
            "unreachable",
            check,
            ("M6", 200, STALE),
        ),
        case(
            Plain,
            &[Pull, Fail(503), Pull],
            Tag,
            "notAsked",
            serve,
            ("M6", 200, STALE),
        ),
        case(
            Plain,
            &[Pull, Fail(503), Pull, Wait(2)],
            Tag,
            "unreachable",
            check,
            ("M6", 200, STALE),
        ),
        case(
            Revalidates,
            &[Pull, Wait(20)],
            Tag,
            "notAsked",
            ("serve", "M3"),
            ("M3", 200, HIT),
        ),
        case(
            Revalidates,
            &[Pull, Wait(31)],
            Tag,
            "same",
            check,
            ("M3", 200, REVALIDATED),
        ),
        case(
            Plain,
            &[Pull, Fail(403)],
            Digest,
            "notAsked",
            ("serve", "M9"),
            ("M9", 200, HIT),
        ),
    ])
    .await;
}

/// O5, M5, M8, M9, M11: what is dead, and what is released.
#[tokio::test]
async fn tells_what_happens_to_what_is_dead() {
    let check = ("revalidate", "M5");
    let released = &[Pull, Wait(61), Release];
    hold_all([
        case(
            Plain,
            &[Pull, Wait(61)],
            Tag,
            "same",
            check,
            ("M5", 200, REVALIDATED),
        ),
        case(
            Plain,
            &[Pull, Wait(61), Move],
            Tag,
            "changed",
            check,
            ("M5", 200, MISS),
        ),
        case(
            Plain,
            &[Pull, Wait(61), Remove],
            Tag,
            "missing",
            check,
            ("M8", 404, None),
        ),
        case(
            Plain,
            &[Pull, Wait(61), Fail(403)],
            Tag,
            "refused",
            check,
            ("M7", 403, None),
        ),
        case(
            Plain,
            &[Pull, Wait(61), Fail(503)],
            Tag,
            "unreachable",
            check,
            ("M8", 502, None),
        ),
        case(
            ServesStored,
            &[Pull, Wait(61), Fail(503)],
            Tag,
            "unreachable",
            check,
            ("M8", 200, STALE),
        ),
        case(
            ServesStored,
            &[Pull, Wait(61), Remove],
            Tag,
            "missing",
            check,
            ("M8", 404, None),
        ),
        case(
            Plain,
            &[Pull, Wait(61)],
            Digest,
            "notAsked",
            ("serve", "M9"),
            ("M9", 200, HIT),
        ),
        case(
            Plain,
            released,
            Digest,
            "notAsked",
            ("takeBack", "M9"),
            ("M9", 200, HIT),
        ),
        case(
            Plain,
            released,
            Tag,
            "delivers",
            ("fetch", "M2"),
            ("M2", 200, MISS),
        ),
    ])
    .await;
}

/// O5, C2: upstreams are never contacted.
#[tokio::test]
async fn tells_what_happens_without_contact() {
    let (serve, absent) = (("serve", "C2"), ("notFound", "C2"));
    hold_all([
        case(Plain, &[Pull, CutOff], Tag, "notAsked", serve, ("C2", 200, HIT)),
        case(
            Plain,
            &[Pull, CutOff],
            Digest,
            "notAsked",
            serve,
            ("C2", 200, HIT),
        ),
        case(
            Plain,
            &[Pull, CutOff, Wait(61)],
            Tag,
            "notAsked",
            absent,
            ("C2", 404, None),
        ),
        case(
            Plain,
            &[Pull, CutOff, Wait(61)],
            Digest,
            "notAsked",
            absent,
            ("C2", 404, None),
        ),
        case(Plain, &[CutOff], Tag, "notAsked", absent, ("C2", 404, None)),
        case(Plain, &[CutOff], Digest, "notAsked", absent, ("C2", 404, None)),
        case(
            Plain,
            &[Pull, Wait(61), Release, CutOff],
            Digest,
            "notAsked",
            absent,
            ("C2", 404, None),
        ),
    ])
    .await;
}

/// O5, A2, A3, A4: what becomes of it depends on who asks.
#[tokio::test]
async fn tells_what_happens_to_whom() {
    let (serve, absent) = (("serve", "A3"), ("notFound", "A3"));
    let (deny, login) = (("deny", "A4"), ("deny", "A2"));
    let check = ("revalidate", "M3");
    hold_all([
        case(Private, &[Pull], Tag, "notAsked", deny, ("A4", 401, None)),
        case(Private, &[Pull], Tag, "notAsked", deny, ("A4", 403, None)).by("bob"),
        case(Private, &[Pull], Tag, "same", check, ("M3", 200, REVALIDATED)).by("alice"),
        case(Private, &[Pull], Tag, "same", check, ("M3", 200, REVALIDATED)).by("acme+ci"),
        case(Private, &[Pull], Digest, "notAsked", login, ("A2", 401, None)).by("nobody"),
        case(Public, &[Pull], Tag, "notAsked", serve, ("A3", 200, HIT)),
        case(Public, &[Pull], Digest, "notAsked", serve, ("A3", 200, HIT)).by("bob"),
        case(Public, &[], Tag, "notAsked", absent, ("A3", 401, None)),
        case(Public, &[], Digest, "notAsked", absent, ("A3", 401, None)),
        case(Public, &[], Tag, "notAsked", absent, ("A3", 404, None)).by("bob"),
        case(
            Public,
            &[Pull, Wait(61)],
            Tag,
            "notAsked",
            absent,
            ("A3", 404, None),
        )
        .by("bob"),
        case(
            Public,
            &[Pull, Wait(61)],
            Digest,
            "notAsked",
            absent,
            ("A3", 404, None),
        )
        .by("bob"),
        case(Public, &[Pull], Tag, "same", check, ("M3", 200, REVALIDATED)).by("alice"),
        case(Public, &[Pull], Tag, "notAsked", login, ("A2", 401, None)).by("nobody"),
    ])
    .await;
}
