//! One row of the table: a state, a question, and what is said and done.

use http::Method;
use quayside_tests::fake::{FakeUpstream, Fault, On};
use quayside_tests::house::{Answer, House, Organization};
use quayside_tests::images::Image;
use serde_json::{Value, json};

use crate::scene::contacts;
use crate::why::ask;

const ROBOT: &str = "canary-robot-of-256-random-bits-0123456789";

/// What happens before somebody asks. Pulls are a member's.
#[derive(Clone, Copy)]
pub(super) enum Before {
    /// GET of `alpine:1`.
    Pull,
    /// GET of the same image by its digest.
    Pin,
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

use Before::{CutOff, Fail, Move, Pin, Pull, Release, Remove, Wait};

/// What the image is asked for by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Tag,
    Digest,
}

use By::{Digest, Tag};

/// How `acme` is set up. Alice is a member of every form of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Revalidates,
    ServesStored,
    Private,
    Public,
}

use Form::{Plain, Private, Public, Revalidates, ServesStored};

/// State, question, and what is said.
pub(super) struct Case {
    form: Form,
    before: &'static [Before],
    by: By,
    user: Option<&'static str>,
    said: Said,
}

/// What is said, and comes true.
struct Said {
    /// What upstream will answer.
    upstream: &'static str,
    /// What the pull does first, and by which rule.
    step: (&'static str, &'static str),
    /// The rule of the end, the status, and `X-Cache`.
    end: (&'static str, u16, Option<&'static str>),
}

impl Case {
    /// Somebody who does not log in, from the trusted networks. `said` is what upstream answers, the first step, its
    /// rule, the rule of the end, the status, and `X-Cache` if it is 200.
    pub(super) fn new(form: Form, before: &'static [Before], by: By, said: &'static str) -> Self {
        let words: Vec<_> = said.split_whitespace().collect();
        let [upstream, step, rule, end, status, ref cache @ ..] = words[..] else {
            panic!("not a row: {said}");
        };
        let said = Said {
            upstream,
            step: (step, rule),
            end: (end, status.parse().unwrap(), cache.first().copied()),
        };
        Self {
            form,
            before,
            by,
            user: None,
            said,
        }
    }

    /// Asked and pulled by a user.
    pub(super) fn by(self, user: &'static str) -> Self {
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
            Pull => self.pull_as_alice("1").await,
            Pin => self.pull_as_alice(self.image.digest()).await,
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

    async fn pull_as_alice(&self, reference: &str) {
        let path = format!("/v2/acme/alpine/manifests/{reference}");
        let call = self.house.call(Method::GET, &path).user("alice");
        assert_eq!(call.send().await.status, 200);
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

/// Asks, pulls by GET and by HEAD, and panics unless both say what the case says.
pub(super) async fn hold(name: usize, case: &Case) {
    for method in [Method::GET, Method::HEAD] {
        let mut world = World::of(case.form).await;
        for before in case.before {
            world.happen(*before).await;
        }
        let at = format!("case {name}, {method}");
        world.compare(&at, &method, case).await;
    }
}

impl World {
    async fn compare(&self, at: &str, method: &Method, case: &Case) {
        let said = self.ask(at, case).await;
        let asked = contacts(&self.upstream);
        let Said { upstream, step, end } = &case.said;
        let next = &said["next"][if method == Method::GET { "get" } else { "head" }];
        assert_eq!(
            (&next["step"], &next["rule"]),
            (&json!(step.0), &json!(step.1)),
            "{at}: {said:#}"
        );
        let told = foreseen(next, upstream);
        let [told] = told[..] else {
            panic!("{at}: {upstream} is not foreseen once in {next:#}");
        };
        let (rule, status, cache) = *end;
        // M11 is the rule of what a HEAD confirms.
        let confirmed = method == Method::HEAD && *upstream == "same";
        let rule = if confirmed { "M11" } else { rule };
        assert_eq!(
            (&told["rule"], &told["status"], &told["cache"]),
            (&json!(rule), &json!(status), &json!(cache)),
            "{at}: {said:#}"
        );
        let answer = self.pull(method, case).await;
        let served = (answer.status == 200).then(|| answer.header("x-cache"));
        assert_eq!(
            (answer.status, served),
            (status, cache),
            "{at}: {}",
            answer.summary()
        );
        let contacted = contacts(&self.upstream) > asked;
        assert_eq!(contacted, *upstream != "notAsked", "{at}: {}", answer.summary());
    }

    /// What is said, twice the same, while nothing happens.
    async fn ask(&self, at: &str, case: &Case) -> Value {
        let separator = if case.by == Tag { ":" } else { "@" };
        let image = format!("acme/alpine{separator}{}", self.reference(case.by));
        let said = ask(&self.house, &image, case.user).await;
        let (sum, asked) = (self.sum().await, contacts(&self.upstream));
        assert_eq!(
            ask(&self.house, &image, case.user).await,
            said,
            "{at}: changes its mind"
        );
        assert_eq!(contacts(&self.upstream), asked, "{at}: upstream was asked");
        assert_eq!(self.sum().await, sum, "{at}: something changed");
        said
    }
}

fn foreseen<'a>(next: &'a Value, upstream: &str) -> Vec<&'a Value> {
    let outcomes = next["outcomes"].as_array().unwrap().iter();
    outcomes
        .filter(|outcome| outcome["upstream"] == upstream)
        .collect()
}
