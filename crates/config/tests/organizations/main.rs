//! The organizations file: entries, warnings, and files that are rejected whole (C3, G5).

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use quayside_config::organizations::{
    BadEntry, Entry, FailurePolicy, File, FileError, MAX_FILE_BYTES, Member, Organization, Role, Visibility,
    parse,
};
use secrecy::ExposeSecret;

mod bad_entries;
mod round_trip;

const PEM: &str = "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n";

fn complete() -> String {
    format!(
        r#"
organizations:
- name: cache-quayio
  id: 6f1c-uid
  revision: 1796119200123
  remoteRegistry: quay.io/projectquay
  credentials: {{ username: org+robot, password: "s3cret" }}
  tls: {{ caBundle: 3f9a, insecureSkipVerify: true, plainHttp: true }}
  expirationSeconds: 0
  timeMachineSeconds: 60
  storageQuotaBytes: 150000000
  revalidateSeconds: 5
  upstreamFailurePolicy: ServeStored
  visibility: Public
  backgroundFill: false
  teams:
  - name: developers
    role: creator
    members:
    - {{ kind: User, name: alice }}
    - {{ kind: Robot, name: cache-quayio+pull }}
    - {{ kind: Robot, name: ci }}
    - {{ kind: ServiceAccount, namespace: team-a, name: default }}
    - {{ kind: Group, name: "system:serviceaccounts:team-a" }}
  robots:
  - name: pull
    passwordHashes:
    - {{ hash: "$sha256${upper}" }}
    - {{ hash: "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234", notAfter: 2026-12-01T10:00:00Z }}
allowEmpty: true
caBundles: {{ 3f9a: "{PEM}" }}
"#,
        upper = "AB".repeat(32)
    )
}

fn file(text: &str) -> File {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {:?}: {text}", error.source()))
}

fn good(text: &str) -> Organization {
    match file(text).entries.remove(0) {
        Entry::Good(organization) => *organization,
        Entry::Bad(bad) => panic!("{bad:?}"),
    }
}

fn bad(text: &str) -> BadEntry {
    match file(text).entries.remove(0) {
        Entry::Bad(bad) => bad,
        Entry::Good(organization) => panic!("{organization:?}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// C3, E1, E2: what an entry leaves out has the default of the resource.
#[test]
fn has_a_default_for_everything_but_name_and_upstream() {
    let organization = good("organizations: [ { name: docker, remoteRegistry: docker.io } ]");
    assert_eq!(organization.name.as_str(), "docker");
    assert_eq!(organization.id, "docker");
    assert_eq!(organization.revision, 0);
    assert_eq!(organization.remote.authority(), "registry-1.docker.io");
    assert_eq!(organization.credentials, None);
    assert_eq!(organization.ttl, Some(Duration::from_hours(24)));
    assert_eq!(organization.window, Duration::from_hours(14 * 24));
    assert_eq!(organization.storage_quota_bytes, None);
    assert_eq!(organization.revalidate, Duration::ZERO);
    assert_eq!(organization.upstream_failure_policy, FailurePolicy::ServeLive);
    assert_eq!(organization.visibility, Visibility::Private);
    assert!(organization.background_fill && organization.teams.is_empty() && organization.robots.is_empty());
    assert!(!organization.tls.insecure_skip_verify && !organization.tls.plain_http);
    assert_eq!(organization.tls.ca_bundle, None);
}

#[test]
fn reads_every_field() {
    let text = complete();
    let file = file(&text);
    assert!(file.allow_empty);
    assert_eq!(file.warnings, [""; 0]);
    let organization = good(&text);
    assert_eq!(
        organization.identity(),
        ("6f1c-uid", "quay.io/projectquay".to_owned())
    );
    assert_eq!(organization.revision, 1_796_119_200_123);
    let credentials = organization.credentials.expect("credentials");
    assert_eq!(
        (
            credentials.username.as_str(),
            credentials.password.expose_secret()
        ),
        ("org+robot", "s3cret")
    );
    assert!(organization.tls.insecure_skip_verify && organization.tls.plain_http);
    assert!(organization.tls.ca_bundle.expect("bundle").contains("MIIB\n"));
    assert_eq!(organization.ttl, None);
    assert_eq!(organization.window, Duration::from_mins(1));
    assert_eq!(organization.storage_quota_bytes, Some(150_000_000));
    assert_eq!(organization.revalidate, Duration::from_secs(5));
    assert_eq!(organization.upstream_failure_policy, FailurePolicy::ServeStored);
    assert_eq!(organization.visibility, Visibility::Public);
    assert!(!organization.background_fill);
    assert_eq!(organization.teams[0].role, Role::Creator);
    assert_eq!(
        organization.teams[0].members,
        [
            Member::User("alice".to_owned()),
            Member::Robot("pull".to_owned()),
            Member::Robot("ci".to_owned()),
            Member::ServiceAccount {
                namespace: "team-a".to_owned(),
                name: "default".to_owned()
            },
            Member::Group("system:serviceaccounts:team-a".to_owned()),
        ]
    );
    let robot = &organization.robots[0];
    assert_eq!(
        robot.password_hashes[0].hash.expose_secret(),
        format!("$sha256${}", "ab".repeat(32))
    );
    assert_eq!(robot.password_hashes[0].not_after, None);
    assert_eq!(
        robot.password_hashes[1]
            .not_after
            .map(|at| at.to_string())
            .as_deref(),
        Some("2026-12-01T10:00:00Z")
    );
}

/// Words that older YAML takes for true and false are names like any other.
#[test]
fn a_country_may_be_called_no() {
    assert_eq!(
        good("organizations: [ { name: no, remoteRegistry: quay.io } ]")
            .name
            .as_str(),
        "no"
    );
    assert_eq!(
        bad("organizations: [ { name: a, remoteRegistry: quay.io, backgroundFill: yes } ]").faults[0].path,
        "organizations[0].backgroundFill"
    );
}

/// C3: gzipped or not is told by the first bytes.
#[test]
fn reads_gzipped_files() {
    let text = complete();
    assert_eq!(parse(&gzip(text.as_bytes())).expect("gzipped"), file(&text));
    let (head, tail) = text.as_bytes().split_at(100);
    let members = [gzip(head), gzip(tail)].concat();
    assert_eq!(parse(&members).expect("two members"), file(&text));
    let packed = gzip(text.as_bytes());
    assert!(matches!(
        parse(&packed[..packed.len() / 2]),
        Err(FileError::Gzip(_))
    ));
    assert!(matches!(parse(&[0x1f, 0x8b, 0, 0]), Err(FileError::Gzip(_))));
    assert!(matches!(parse(&gzip(b"")), Err(FileError::Empty)));
}

/// O2: a file that unpacks to more than the limit is refused while it is unpacked.
#[test]
fn refuses_a_file_that_unpacks_to_too_much() {
    let bytes = vec![b' '; usize::try_from(MAX_FILE_BYTES).expect("size") + 1];
    assert!(matches!(parse(&gzip(&bytes)), Err(FileError::TooLarge)));
    assert!(matches!(parse(&bytes), Err(FileError::TooLarge)));
}

/// O2: aliases do not turn a small file into a large tree.
#[test]
fn refuses_a_file_whose_aliases_multiply() {
    let mut text = String::from("a: &a0 [ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(text, "a{level}: &a{level} [ {aliases} ]").expect("memory");
    }
    text += "organizations: []\n";
    assert!(matches!(parse(text.as_bytes()), Err(FileError::Syntax(_))));
    let deep = format!("organizations: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(parse(deep.as_bytes()), Err(FileError::Syntax(_))));
}

/// C3: what does not parse is rejected whole; no organizations is a file like any other.
#[test]
fn tells_files_that_do_not_parse_from_files_without_organizations() {
    for text in ["", " \n\t\n", "# nothing\n", "---\n", "~"] {
        assert!(
            matches!(parse(text.as_bytes()), Err(FileError::Empty)),
            "{text:?}"
        );
    }
    for text in [
        "caBundles: {}",
        "organizations:",
        "organizations: {}",
        "organizations: none",
        "organizations: []\norganizations: []",
        "organizations: []\nallowEmpty: maybe",
        "organizations: []\ncaBundles: []",
        "[]",
        "text",
    ] {
        assert!(
            matches!(parse(text.as_bytes()), Err(FileError::Outline(_))),
            "{text:?}"
        );
    }
    for text in [
        "organizations: [",
        "organizations: []\n---\norganizations: []",
        "organizations: [ *x ]",
    ] {
        assert!(
            matches!(parse(text.as_bytes()), Err(FileError::Syntax(_))),
            "{text:?}"
        );
    }
    assert!(matches!(parse(b"organizations: \xff"), Err(FileError::NotText)));
    assert_eq!(file("\u{feff}organizations: []").entries, []);
}

/// G5: no organizations, while some are known, has to be meant.
#[test]
fn refuses_emptiness_that_is_not_meant() {
    assert!(file("organizations: []").check_emptiness(0).is_ok());
    assert!(matches!(
        file("organizations: []").check_emptiness(3),
        Err(FileError::NotMeantEmpty { known: 3 })
    ));
    assert!(matches!(
        file("organizations: []\nallowEmpty: false").check_emptiness(1),
        Err(FileError::NotMeantEmpty { .. })
    ));
    assert!(
        file("organizations: []\nallowEmpty: true")
            .check_emptiness(3)
            .is_ok()
    );
    assert!(
        file("organizations: [ { name: broken } ]")
            .check_emptiness(3)
            .is_ok()
    );
}

/// C3: unknown keys are ignored with a warning that says where.
#[test]
fn warns_about_unknown_keys() {
    let file = file(
        "
organizations:
- name: a
  remoteRegistry: quay.io
  mode: Offline
  tls: { alpn: [ h2 ] }
  teams: [ { name: t, role: member, color: red, members: [ { kind: User, name: u, since: 1 } ] } ]
  robots: [ { name: r, passwordHashes: [], note: x } ]
- name: 7
  colour: red
newer: { things: 1 }
",
    );
    assert!(matches!(file.entries[..], [Entry::Good(_), Entry::Bad(_)]));
    let paths: Vec<&str> = file
        .warnings
        .iter()
        .map(|warning| warning.split(':').next().unwrap_or(""))
        .collect();
    assert_eq!(
        paths,
        [
            "newer",
            "organizations[0].tls.alpn",
            "organizations[0].teams[0].members[0].since",
            "organizations[0].teams[0].color",
            "organizations[0].robots[0].note",
            "organizations[0].mode",
            "organizations[1].colour",
        ]
    );
}

/// A6: secrets stay out of errors, faults and `Debug`.
#[test]
fn never_shows_a_secret() {
    for text in [
        "organizations: [ { name: a, remoteRegistry: quay.io, credentials: { username: u, password: [ canary ] } } ]",
        "organizations: [ { name: a, remoteRegistry: quay.io, credentials: { password: canary } } ]",
        "organizations: [ { name: a, remoteRegistry: quay.io, credentials: canary } ]",
        "organizations: [ { name: a, remoteRegistry: 'https://u:canary@quay.io' } ]",
        "organizations: [ { name: a, remoteRegistry: 'u:canary@quay.io' } ]",
        "organizations: [ { name: a, remoteRegistry: quay.io, robots: [ { name: r, passwordHashes: [ { hash: canary } ] } ] } ]",
        "organizations: [ { name: a, remoteRegistry: quay.io, credentials: { username: u, password: canary } } ]",
    ] {
        assert!(!format!("{:?}", file(text)).contains("canary"), "{text}");
    }
    for text in [
        "organizations: [ { credentials: { password: *canary } } ]",
        "organizations: [ { credentials: { password: !canary x } } ]",
        "organizations: [ { credentials: { password: 'canary } } ]",
        "organizations: [ { credentials: { password: \"canary\\q\" } } ]",
        "canary",
        "[ canary ]",
    ] {
        let error = parse(text.as_bytes()).expect_err(text);
        let shown = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
        assert!(!shown.contains("canary"), "{shown}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes);
        let _ = parse(&[&[0x1f, 0x8b][..], &bytes].concat());
    }

    /// C3: one bad entry among good ones takes none of them down.
    #[test]
    fn good_entries_survive_their_neighbours(at in 0_usize..5, junk in "\\PC{0,20}") {
        let mut entries: Vec<String> = (0..5).map(|n| format!("{{ name: org{n}, remoteRegistry: quay.io }}")).collect();
        entries[at] = format!("{{ name: org{at}, remoteRegistry: {} }}", serde_json::to_string(&format!("{junk} ")).expect("json"));
        let file = file(&format!("organizations: [ {} ]", entries.join(", ")));
        for (index, entry) in file.entries.iter().enumerate() {
            prop_assert_eq!(matches!(entry, Entry::Good(_)), index != at);
        }
    }
}
