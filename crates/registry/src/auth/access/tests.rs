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

/// M1, A1, A3, A4, A8: the whole table for callers that come from anywhere.
#[test]
fn decides_for_untrusted_addresses_as_the_table_says() {
    use Decision::{Challenge, Denied, InsufficientScope, Member, Public};
    let granted = || token("acme/app", &["pull"]);
    let nothing = || token("acme/app", &[]);
    let other = || token("acme/other", &["pull"]);
    let table = [
        ("nobody", Who::Anonymous, Proof::None, Challenge, Public),
        (
            "nobody with a token",
            Who::Anonymous,
            nothing(),
            Challenge,
            Public,
        ),
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
    ];
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
