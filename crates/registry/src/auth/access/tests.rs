use quayside_config::organizations::{Entry, parse};

use super::super::token::Grant;
use super::*;

fn organization(visibility: &str) -> Organization {
    let file = format!(
        "organizations:\n- name: acme\n  remoteRegistry: quay.io\n  visibility: {visibility}\n  \
         teams: [{{ name: devs, role: member, members: [{{ kind: User, name: alice }}] }}]\n  \
         robots: [{{ name: ci, passwordHashes: [] }}]\n"
    );
    match parse(file.as_bytes()).unwrap().entries.remove(0) {
        Entry::Good(organization) => *organization,
        Entry::Bad(bad) => panic!("{bad:?}"),
    }
}

fn user(name: &str) -> Who {
    Who::User(name.to_owned())
}

fn robot(organization: &str, name: &str) -> Who {
    Who::Robot(organization.parse().unwrap(), name.to_owned())
}

fn token(name: &str, actions: &[&str]) -> Proof {
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    Proof::Token(
        [Grant {
            kind: "repository".to_owned(),
            name: name.to_owned(),
            actions,
        }]
        .into(),
    )
}

fn ask(visibility: &str, who: Who, proof: Proof, trusted: bool) -> Decision {
    decide(
        Some(&organization(visibility)),
        &Caller { who, proof, trusted },
        "acme/app",
    )
}

/// What a row of a table says: whose request, and the decision in a private and in a public organization.
type Row = (&'static str, Who, Proof, Decision, Decision);

fn holds(table: impl IntoIterator<Item = Row>) {
    for (row, who, proof, private, public) in table {
        assert_eq!(
            ask("Private", who.clone(), proof.clone(), false),
            private,
            "Private: {row}"
        );
        assert_eq!(
            ask("Internal", who.clone(), proof.clone(), false),
            private,
            "Internal: {row}"
        );
        assert_eq!(ask("Public", who, proof, false), public, "Public: {row}");
    }
}

/// M1, A1, A3, A4, A8: nobody in particular, from anywhere.
#[test]
fn decides_for_nobody_as_the_table_says() {
    use Decision::{Challenge, InsufficientScope, Public};
    let granted = token("acme/app", &["pull"]);
    let nothing = token("acme/app", &[]);
    let other = token("acme/other", &["pull"]);
    holds([
        ("nobody", Who::Anonymous, Proof::None, Challenge, Public),
        ("nobody with a token", Who::Anonymous, nothing, Challenge, Public),
        (
            "nobody with a token for another image",
            Who::Anonymous,
            other,
            InsufficientScope,
            Public,
        ),
        (
            "nobody with a grant that is no longer true",
            Who::Anonymous,
            granted,
            InsufficientScope,
            Public,
        ),
    ]);
}

/// M1, A1, A3, A4, A8: somebody, from anywhere.
#[test]
fn decides_for_somebody_as_the_table_says() {
    use Decision::{Denied, InsufficientScope, Member, Public};
    let granted = || token("acme/app", &["pull"]);
    let nothing = || token("acme/app", &[]);
    let other = || token("acme/other", &["pull"]);
    holds([
        (
            "member by password",
            user("alice"),
            Proof::Password,
            Member,
            Member,
        ),
        ("member with a token", user("alice"), granted(), Member, Member),
        (
            "member whose token was refused before",
            user("alice"),
            nothing(),
            InsufficientScope,
            InsufficientScope,
        ),
        (
            "member with a token for another image",
            user("alice"),
            other(),
            InsufficientScope,
            InsufficientScope,
        ),
        (
            "stranger by password",
            user("bob"),
            Proof::Password,
            Denied,
            Public,
        ),
        (
            "stranger with an empty grant",
            user("bob"),
            nothing(),
            Denied,
            Public,
        ),
        (
            "stranger with a grant that is no longer true",
            user("bob"),
            granted(),
            InsufficientScope,
            Public,
        ),
        (
            "stranger with a token for another image",
            user("bob"),
            other(),
            InsufficientScope,
            Public,
        ),
        ("its robot", robot("acme", "ci"), Proof::Password, Member, Member),
        (
            "a robot that it does not have",
            robot("acme", "gone"),
            Proof::Password,
            Denied,
            Public,
        ),
        (
            "another organization's robot",
            robot("other", "ci"),
            Proof::Password,
            Denied,
            Public,
        ),
    ]);
}

/// A8: a trusted address makes a member of an Internal organization, and of no other.
#[test]
fn a_trusted_address_counts_for_internal_organizations_only() {
    assert_eq!(
        ask("Internal", Who::Anonymous, Proof::None, true),
        Decision::Member
    );
    assert_eq!(
        ask("Internal", Who::Anonymous, token("acme/app", &["pull"]), true),
        Decision::Member
    );
    assert_eq!(
        ask("Internal", user("bob"), Proof::Password, true),
        Decision::Member
    );
    assert_eq!(
        ask("Private", Who::Anonymous, Proof::None, true),
        Decision::Challenge
    );
    assert_eq!(ask("Public", Who::Anonymous, Proof::None, true), Decision::Public);
}

/// A4: an organization that does not exist is answered like one without the role.
#[test]
fn an_unknown_organization_looks_like_a_private_one() {
    let callers = [
        (Who::Anonymous, Proof::None),
        (Who::Anonymous, token("acme/app", &[])),
        (user("bob"), Proof::Password),
        (user("bob"), token("acme/app", &[])),
        (user("bob"), token("acme/other", &["pull"])),
    ];
    for (who, proof) in callers {
        let caller = Caller {
            who,
            proof,
            trusted: true,
        };
        let private = decide(Some(&organization("Private")), &caller, "acme/app");
        assert_eq!(decide(None, &caller, "acme/app"), private, "{caller:?}");
    }
}

/// A1: a scope that is listed twice is granted if one of them is.
#[test]
fn a_scope_may_be_listed_more_than_once() {
    let grant = |actions: &[&str]| match token("acme/app", actions) {
        Proof::Token(grants) => grants[0].clone(),
        _ => unreachable!("a token"),
    };
    for grants in [[grant(&[]), grant(&["pull"])], [grant(&["pull"]), grant(&[])]] {
        let proof = Proof::Token(grants.into());
        assert_eq!(ask("Private", user("alice"), proof, false), Decision::Member);
    }
}

fn catalog(visibilities: &[&str], who: Who, proof: Proof, trusted: bool) -> Result<Vec<usize>, Decision> {
    let organizations: Vec<_> = visibilities.iter().map(|name| organization(name)).collect();
    let numbered = organizations.iter().zip(0..);
    visible(numbered, &Caller { who, proof, trusted })
}

/// L1, A1: the catalog shows what the caller may pull; a token has to list it for more than what is public.
#[test]
fn the_catalog_shows_what_the_caller_may_pull() {
    use Decision::{Challenge, InsufficientScope};
    let listing = |actions: &[&str]| {
        Proof::Token(
            [Grant {
                kind: "registry".to_owned(),
                name: "catalog".to_owned(),
                actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            }]
            .into(),
        )
    };
    let pull = || token("acme/app", &["pull"]);
    let all = ["Private", "Internal", "Public"];
    let rows = [
        ("nobody", Who::Anonymous, Proof::None, false, Ok(vec![2])),
        (
            "nobody with any token",
            Who::Anonymous,
            pull(),
            false,
            Ok(vec![2]),
        ),
        (
            "a trusted address",
            Who::Anonymous,
            Proof::None,
            true,
            Ok(vec![1, 2]),
        ),
        (
            "a trusted address, its token",
            Who::Anonymous,
            listing(&["*"]),
            true,
            Ok(vec![1, 2]),
        ),
        (
            "a trusted address, any token",
            Who::Anonymous,
            pull(),
            true,
            Err(InsufficientScope),
        ),
        ("member", user("alice"), Proof::Password, false, Ok(vec![0, 1, 2])),
        (
            "member, its token",
            user("alice"),
            listing(&["*"]),
            false,
            Ok(vec![0, 1, 2]),
        ),
        (
            "member, empty listing",
            user("alice"),
            listing(&[]),
            false,
            Err(InsufficientScope),
        ),
        (
            "member, any token",
            user("alice"),
            pull(),
            false,
            Err(InsufficientScope),
        ),
        (
            "robot",
            robot("acme", "ci"),
            Proof::Password,
            false,
            Ok(vec![0, 1, 2]),
        ),
        ("stranger", user("bob"), Proof::Password, false, Ok(vec![2])),
        ("stranger, any token", user("bob"), pull(), false, Ok(vec![2])),
    ];
    for (row, who, proof, trusted, expected) in rows {
        assert_eq!(catalog(&all, who, proof, trusted), expected, "{row}");
    }
    for (who, proof, trusted) in [
        (Who::Anonymous, Proof::None, false),
        (Who::Anonymous, listing(&[]), false),
        (Who::Anonymous, listing(&["*"]), false),
    ] {
        assert_eq!(
            catalog(&["Private", "Internal"], who, proof, trusted),
            Err(Challenge)
        );
    }
    assert_eq!(
        catalog(&["Private"], user("bob"), Proof::Password, false),
        Ok(vec![])
    );
}
