//! Entries that cannot be read, or not whole (C3, G5).

use quayside_config::organizations::{Entry, Member};

use super::{PEM, bad, file, good};

/// C3: a bad entry is kept apart with all its faults and leaves the others alone.
#[test]
fn keeps_bad_entries_apart_with_every_fault() {
    let file = file(
        "
organizations:
- name: Bad_Name
  id: 7
  revision: -1
  remoteRegistry: https://quay.io
  credentials: { username: 'a:b' }
  tls: { caBundle: missing, plainHttp: 1 }
  expirationSeconds: 86400.5
  timeMachineSeconds: -1
  storageQuotaBytes: 0
  revalidateSeconds: soon
  upstreamFailurePolicy: ServeAll
  visibility: public
  backgroundFill: 'true'
  teams:
  - { name: t, role: owner, members: [ { kind: Bot, name: x }, { kind: ServiceAccount, name: x }, { kind: User, name: o+r, namespace: n }, { kind: Robot, name: other/x } ] }
  - { name: t, role: admin }
  robots: [ { name: a+b }, { name: r, passwordHashes: [ { hash: x }, { notAfter: tomorrow } ] }, { name: r } ]
- name: fine
  remoteRegistry: quay.io
- just text
-
",
    );
    let [
        Entry::Bad(first),
        Entry::Good(neighbour),
        Entry::Bad(text),
        Entry::Bad(nothing),
    ] = &file.entries[..]
    else {
        panic!("{:?}", file.entries);
    };
    assert_eq!(neighbour.name.as_str(), "fine");
    assert_eq!(
        (
            first.name.as_deref(),
            first.id.as_deref(),
            first.upstream.as_deref()
        ),
        (Some("Bad_Name"), None, None)
    );
    let paths: Vec<&str> = first
        .faults
        .iter()
        .filter_map(|fault| fault.path.strip_prefix("organizations[0]."))
        .collect();
    assert_eq!(
        paths,
        [
            "name",
            "id",
            "revision",
            "remoteRegistry",
            "credentials.username",
            "credentials.password",
            "tls.caBundle",
            "tls.plainHttp",
            "expirationSeconds",
            "timeMachineSeconds",
            "storageQuotaBytes",
            "revalidateSeconds",
            "upstreamFailurePolicy",
            "visibility",
            "backgroundFill",
            "teams[0].role",
            "teams[0].members[0].kind",
            "teams[0].members[1].namespace",
            "teams[0].members[2].namespace",
            "teams[0].members[2].name",
            "teams[0].members[3].name",
            "teams[1].name",
            "robots[0].name",
            "robots[1].passwordHashes[0].hash",
            "robots[1].passwordHashes[1].hash",
            "robots[1].passwordHashes[1].notAfter",
            "robots[2].name",
        ]
    );
    assert_eq!(text.faults[0].path, "organizations[2]");
    assert_eq!(
        (nothing.name.as_ref(), nothing.faults[0].path.as_str()),
        (None, "organizations[3]")
    );
}

/// C3, G5: what a bad entry can still be recognised by.
#[test]
fn recognises_bad_entries_by_what_can_be_read() {
    for (entry, name, id, upstream) in [
        ("{ name: a }", Some("a"), Some("a"), None),
        (
            "{ name: a, id: u, remoteRegistry: Docker.io, visibility: x }",
            Some("a"),
            Some("u"),
            Some("registry-1.docker.io"),
        ),
        (
            "{ name: 12, remoteRegistry: quay.io }",
            Some("12"),
            Some("12"),
            Some("quay.io"),
        ),
        (
            "{ name: a, id: [ ], remoteRegistry: quay.io }",
            Some("a"),
            None,
            Some("quay.io"),
        ),
        (
            "{ name: a, name: b, id: u, remoteRegistry: quay.io }",
            None,
            Some("u"),
            Some("quay.io"),
        ),
        ("{ id: u, remoteRegistry: '' }", None, Some("u"), None),
        (
            "{ name: a, id: null, remoteRegistry: 5 }",
            Some("a"),
            Some("a"),
            None,
        ),
        ("[ ]", None, None, None),
    ] {
        let bad = bad(&format!("organizations: [ {entry} ]"));
        assert_eq!(
            (bad.name.as_deref(), bad.id.as_deref(), bad.upstream.as_deref()),
            (name, id, upstream),
            "{entry}"
        );
    }
}

/// C3: a bundle that cannot be used is the fault of the entries that name it, and of no other.
#[test]
fn a_bad_bundle_is_the_fault_of_those_who_name_it() {
    let file = file(&format!(
        "
organizations:
- {{ name: a, remoteRegistry: quay.io, tls: {{ caBundle: good }} }}
- {{ name: b, remoteRegistry: quay.io, tls: {{ caBundle: number }} }}
- {{ name: c, remoteRegistry: quay.io, tls: {{ caBundle: text }} }}
- {{ name: d, remoteRegistry: quay.io, tls: {{ caBundle: twice }} }}
- {{ name: e, remoteRegistry: quay.io, tls: {{ caBundle: absent }} }}
caBundles: {{ good: \"{PEM}\", number: 5, text: none, twice: \"{PEM}\", twice: \"{PEM}\" }}
"
    ));
    let kinds: Vec<bool> = file
        .entries
        .iter()
        .map(|entry| matches!(entry, Entry::Good(_)))
        .collect();
    assert_eq!(kinds, [true, false, false, false, false]);
}

/// A2: a robot belongs to its own organization and to no other.
#[test]
fn refuses_robots_of_other_organizations_as_members() {
    let entry = |robot: &str| {
        format!(
            "organizations: [ {{ name: a, remoteRegistry: quay.io, teams: [ {{ name: t, role: member, members: [ {{ kind: Robot, name: {robot} }} ] }} ] }} ]"
        )
    };
    assert_eq!(
        good(&entry("a+ci")).teams[0].members,
        [Member::Robot("ci".to_owned())]
    );
    assert_eq!(
        bad(&entry("b+ci")).faults[0].path,
        "organizations[0].teams[0].members[0].name"
    );
}
