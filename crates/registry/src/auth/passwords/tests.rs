use std::collections::HashMap;

use quayside_config::organizations::{Entry, Organization, parse};
use quayside_metadata::OrganizationId;
use quayside_oci::{Algorithm, Digest};
use quayside_upstream::{AddressPolicy, Client, Settings, Spec};

use super::*;
use crate::clock::ManualClock;
use crate::organizations::Served;

const START: Millis = 1_800_000_000_000;
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

struct Scene {
    passwords: Passwords,
    clock: ManualClock,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

fn sha256(password: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, password.as_bytes());
    format!("$sha256${}", digest.hex())
}

/// `acme` with the robot `acme+ci`, whose password hashes are these lines of YAML.
fn snapshot(generation: u64, hashes: &str) -> Snapshot {
    let file = format!(
        "organizations:\n- name: acme\n  remoteRegistry: quay.io\n  \
         robots: [ {{ name: ci, passwordHashes: [ {hashes} ] }} ]\n"
    );
    let spec: Organization = match parse(file.as_bytes()).unwrap().entries.remove(0) {
        Entry::Good(organization) => *organization,
        Entry::Bad(bad) => panic!("{bad:?}"),
    };
    let client = Client::new(Settings {
        connect_timeout: GOOD,
        read_timeout: GOOD,
        allowed: AddressPolicy::new(&[], &[]),
        user_agent: "test".to_owned(),
        observer: quayside_upstream::Observer::default(),
    });
    let upstream = client.upstream(Spec {
        host: "quay.io".to_owned(),
        port: None,
        plain_http: false,
        ca_bundle: None,
        insecure_skip_verify: false,
        credentials: None,
    });
    let name = spec.name.clone();
    let metrics = crate::metrics::Metrics::new().organization("acme");
    let served = Served::new(Arc::new(spec), OrganizationId(1), upstream.unwrap(), metrics);
    Snapshot {
        by_name: HashMap::from([(name, Arc::new(served))]),
        loaded: true,
        generation,
    }
}

fn good(password: &str) -> String {
    format!("{{ hash: '{}' }}", sha256(password))
}

/// The user `alice` with the password `right`, and `acme+ci` with these hashes.
fn scene(hashes: &str) -> Scene {
    let clock = ManualClock::new(START);
    let snapshot = Arc::new(ArcSwap::from_pointee(snapshot(1, hashes)));
    let users = vec![User {
        name: "alice".to_owned(),
        password_hash: bcrypt::hash("right", 4).unwrap().into(),
    }];
    Scene {
        passwords: Passwords::new(users, Arc::clone(&snapshot), Arc::new(clock.clone())).unwrap(),
        clock,
        snapshot,
    }
}

impl Scene {
    async fn try_from(&self, client: IpAddr, login: &str, password: &str) -> &'static str {
        match self.passwords.check(login, password.into(), client).await {
            Ok(who) => {
                assert_eq!(who.login(), login);
                "in"
            }
            Err(AuthError::WrongPassword) => "wrong",
            Err(AuthError::TooManyFailures { .. }) => "too many",
            Err(error) => panic!("{error}"),
        }
    }

    async fn tries(&self, login: &str, password: &str) -> &'static str {
        self.try_from(HOME, login, password).await
    }

    /// As a reload does, or, with the generation that there is, as no reload does: to see what is remembered.
    fn replace(&self, generation: u64, hashes: &str) {
        self.snapshot.store(Arc::new(snapshot(generation, hashes)));
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }
}

/// A2: users and robots are known by their passwords, and nobody else is.
#[tokio::test]
async fn knows_users_and_robots() {
    let scene = scene(&good("drawn"));
    assert_eq!(scene.tries("alice", "right").await, "in");
    assert_eq!(scene.tries("acme+ci", "drawn").await, "in");
    for (login, password) in [
        ("alice", "drawn"),
        ("acme+ci", "right"),
        ("acme+cd", "drawn"),
        ("other+ci", "drawn"),
        ("ci", "drawn"),
        ("bob", "right"),
        ("", "right"),
        ("+", "right"),
        ("UPPER+ci", "right"),
    ] {
        assert_eq!(scene.tries(login, password).await, "wrong", "{login}");
    }
}

/// A2: a good credential is remembered for a minute, and not longer.
#[tokio::test]
async fn remembers_a_good_credential_for_a_minute() {
    let scene = scene(&good("drawn"));
    assert_eq!(scene.tries("acme+ci", "drawn").await, "in");
    scene.replace(1, "");
    scene.pass(59_999);
    assert_eq!(scene.tries("acme+ci", "drawn").await, "in");
    scene.pass(1);
    assert_eq!(scene.tries("acme+ci", "drawn").await, "wrong");
}

/// A2: a bad one is remembered for five seconds.
#[tokio::test]
async fn remembers_a_bad_credential_for_five_seconds() {
    let scene = scene(&good("drawn"));
    assert_eq!(scene.tries("acme+ci", "next").await, "wrong");
    scene.replace(1, &good("next"));
    scene.pass(4_999);
    assert_eq!(scene.tries("acme+ci", "next").await, "wrong");
    scene.pass(1);
    assert_eq!(scene.tries("acme+ci", "next").await, "in");
}

/// A2: a reload forgets both kinds.
#[tokio::test]
async fn a_reload_forgets_what_was_remembered() {
    let scene = scene(&good("old"));
    assert_eq!(scene.tries("acme+ci", "old").await, "in");
    assert_eq!(scene.tries("acme+ci", "new").await, "wrong");
    scene.replace(2, &good("new"));
    assert_eq!(scene.tries("acme+ci", "old").await, "wrong");
    assert_eq!(scene.tries("acme+ci", "new").await, "in");
}

/// A2: a password lapses at its `notAfter` to the millisecond, remembered or not; another one beside it does not.
#[tokio::test]
async fn a_password_is_never_good_beyond_its_not_after() {
    let lapsing = |kind: &str| {
        let lapse = jiff::Timestamp::from_millisecond(START + 10_000).unwrap();
        format!("{{ hash: '{kind}', notAfter: {lapse} }}")
    };
    for hash in [sha256("old"), bcrypt::hash("old", 4).unwrap()] {
        let scene = scene(&format!("{}, {}", lapsing(&hash), good("new")));
        assert_eq!(scene.tries("acme+ci", "old").await, "in");
        scene.pass(9_999);
        assert_eq!(scene.tries("acme+ci", "old").await, "in");
        scene.pass(1);
        assert_eq!(scene.tries("acme+ci", "old").await, "wrong");
        assert_eq!(scene.tries("acme+ci", "new").await, "in");
    }
}

/// A2: after ten failures neither the right password nor a wrong one is looked at, for this user from this address.
#[tokio::test]
async fn ten_failures_a_minute_shut_the_door() {
    let scene = scene("");
    for attempt in 0..10 {
        assert_eq!(scene.tries("alice", &format!("wrong {attempt}")).await, "wrong");
    }
    assert_eq!(scene.tries("alice", "wrong 3").await, "too many");
    assert_eq!(scene.tries("alice", "right").await, "too many");
    assert_eq!(scene.tries("bob", "wrong").await, "wrong");
    assert_eq!(scene.try_from(ELSEWHERE, "alice", "right").await, "in");
    // It is remembered as good now, and so it is from everywhere.
    assert_eq!(scene.tries("alice", "right").await, "in");
    assert_eq!(scene.tries("alice", "wrong 3").await, "too many");
    scene.pass(60_000);
    assert_eq!(scene.tries("alice", "wrong 3").await, "wrong");
    assert_eq!(scene.tries("alice", "right").await, "in");
}

/// A2: the same wrong password over and over is a failure each time, remembered or not.
#[tokio::test]
async fn a_remembered_wrong_password_counts_as_a_failure() {
    let scene = scene("");
    for _ in 0..10 {
        assert_eq!(scene.tries("nobody", "wrong").await, "wrong");
    }
    assert_eq!(scene.tries("nobody", "wrong").await, "too many");
}

/// A2: a credential that is remembered as good is never refused, however often others fail.
#[tokio::test]
async fn a_remembered_credential_is_never_shut_out() {
    let scene = scene("");
    assert_eq!(scene.tries("alice", "right").await, "in");
    for attempt in 0..20 {
        let expected = if attempt < 10 { "wrong" } else { "too many" };
        assert_eq!(scene.tries("alice", &format!("{attempt}")).await, expected);
        assert_eq!(scene.tries("alice", "right").await, "in");
    }
    scene.pass(59_999);
    assert_eq!(scene.tries("alice", "right").await, "in");
}

/// A2: many attempts at one moment are no way around the limit.
#[tokio::test]
async fn attempts_at_one_moment_are_counted_like_others() {
    let scene = scene("");
    let attempts = (0..60).map(|attempt| {
        let password = format!("wrong {attempt}");
        let scene = &scene;
        async move { scene.tries("alice", &password).await }
    });
    let answers = futures::future::join_all(attempts).await;
    let looked_at = answers.iter().filter(|answer| **answer == "wrong").count();
    // Two run at once, so one may have begun when the tenth failed.
    assert!((10..=11).contains(&looked_at), "{looked_at}");
}

/// A2: a clock that was set back makes nothing last longer.
#[tokio::test]
async fn a_clock_that_was_set_back_forgets() {
    let scene = scene(&good("drawn"));
    assert_eq!(scene.tries("acme+ci", "drawn").await, "in");
    scene.replace(1, "");
    scene.clock.set(START - 1);
    assert_eq!(scene.tries("acme+ci", "drawn").await, "wrong");
}

/// A2: the decoy of a login that does not exist is a hash of a user, always the same one.
#[test]
fn an_unknown_user_is_compared_with_the_hash_of_a_known_one() {
    let scene = scene("");
    let decoy = |login| {
        let decoy = scene.passwords.decoy(login).unwrap();
        decoy.expose_secret().to_owned()
    };
    assert_eq!(
        decoy("bob"),
        scene.passwords.users[0].password_hash.expose_secret()
    );
}
