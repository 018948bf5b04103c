//! What is written into an organizations file is read out of it.

use std::sync::Arc;

use proptest::prelude::*;
use quayside_config::organizations::{Credentials, PasswordHash, Remote, Robot, Team, Tls};
use serde_json::{Map, Value, json};

use super::*;

/// Whatever YAML makes of it: words that look like other things, quotes, and characters of any script.
const SECRET: &str = "true|null|0x1f|-|\\PC{1,20}";

fn words<T: Copy + std::fmt::Debug + 'static>(
    words: &'static [(&'static str, T)],
) -> impl Strategy<Value = (&'static str, T)> {
    prop::sample::select(words)
}

fn some_member() -> impl Strategy<Value = (Value, Member)> {
    let name = "[a-z][a-z0-9-]{0,10}[a-z0-9]";
    prop_oneof![
        name.prop_map(|name| (json!({ "kind": "User", "name": name }), Member::User(name))),
        name.prop_map(|name| (json!({ "kind": "Robot", "name": name }), Member::Robot(name))),
        name.prop_map(|name| (
            json!({ "kind": "Group", "name": format!("system:{name}") }),
            Member::Group(format!("system:{name}"))
        )),
        (name, name).prop_map(|(namespace, name)| (
            json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name }),
            Member::ServiceAccount { namespace, name }
        )),
    ]
}

fn some_team(number: usize) -> impl Strategy<Value = (Value, Team)> {
    let roles = words(&[
        ("member", Role::Member),
        ("creator", Role::Creator),
        ("admin", Role::Admin),
    ]);
    let members = prop::collection::vec(some_member(), 0..4);
    (roles, members).prop_map(move |((word, role), members)| {
        let (written, members): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let name = format!("team-{number}");
        let entry = json!({ "name": name, "role": word, "members": written });
        (entry, Team { name, role, members })
    })
}

fn some_robot(number: usize) -> impl Strategy<Value = (Value, Robot)> {
    let moment = prop::option::of(0_i64..4_000_000_000);
    prop::collection::vec(("[0-9a-f]{64}", moment), 1..3).prop_map(move |hashes| {
        let mut written = Vec::new();
        let mut password_hashes = Vec::new();
        for (hex, not_after) in hashes {
            let hash = format!("$sha256${hex}");
            let not_after = not_after.map(|second| jiff::Timestamp::from_second(second).expect("in range"));
            let mut entry = json!({ "hash": hash });
            if let Some(moment) = not_after {
                entry["notAfter"] = moment.to_string().into();
            }
            written.push(entry);
            password_hashes.push(PasswordHash {
                hash: hash.into(),
                not_after,
            });
        }
        let name = format!("robot{number}");
        let entry = json!({ "name": name, "passwordHashes": written });
        (
            entry,
            Robot {
                name,
                password_hashes,
            },
        )
    })
}

fn some_remote() -> impl Strategy<Value = String> {
    // Two hyphens in a row are for names in other scripts, which have a grammar of their own.
    let host = "([a-z]([a-z0-9]|-[a-z0-9]){0,8}\\.){1,2}example|docker\\.io|10\\.0\\.0\\.1|\\[2001:db8::1\\]";
    let namespace = prop::option::of("[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}");
    (host, prop::option::of(1_u16..), namespace).prop_map(|(host, port, namespace)| {
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let namespace = namespace.map_or_else(String::new, |namespace| format!("/{namespace}"));
        format!("{host}{port}{namespace}")
    })
}

prop_compose! {
    fn some_behaviour()(
        ttl in 0_u32..1_000_000,
        window in 0_u32..1_000_000,
        quota in prop::option::of(1_u64..1 << 60),
        revalidate in 0_u32..1_000_000,
        policy in words(&[("ServeLive", FailurePolicy::ServeLive), ("ServeStored", FailurePolicy::ServeStored)]),
        visibility in words(&[
            ("Private", Visibility::Private), ("Internal", Visibility::Internal), ("Public", Visibility::Public),
        ]),
        fills: bool,
    ) -> (Map<String, Value>, Organization) {
        let seconds = |count: u32| Duration::from_secs(count.into());
        let mut organization = good("organizations: [ { name: any, remoteRegistry: any.example } ]");
        organization.ttl = Some(seconds(ttl)).filter(|ttl| !ttl.is_zero());
        organization.window = seconds(window);
        organization.storage_quota_bytes = quota;
        organization.revalidate = seconds(revalidate);
        (organization.upstream_failure_policy, organization.visibility) = (policy.1, visibility.1);
        organization.background_fill = fills;
        let mut written = json!({
            "expirationSeconds": ttl, "timeMachineSeconds": window, "revalidateSeconds": revalidate,
            "upstreamFailurePolicy": policy.0, "visibility": visibility.0, "backgroundFill": fills,
        });
        if let Some(quota) = quota {
            written["storageQuotaBytes"] = quota.into();
        }
        (written.as_object().expect("a mapping").clone(), organization)
    }
}

prop_compose! {
    fn some_organization()(
        (mut written, mut organization) in some_behaviour(),
        name in "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8})?",
        id in "[0-9a-f]{1,8}(-[0-9a-f]{1,8}){0,4}",
        revision in 0_u64..1 << 53,
        remote in some_remote(),
        credentials in prop::option::of(("[a-z][a-z0-9+_-]{0,12}", SECRET)),
        tls: [bool; 3],
        teams in prop_oneof![Just(0_usize), 1_usize..4].prop_flat_map(|count| (0..count).map(some_team).collect::<Vec<_>>()),
        robots in (0_usize..3).prop_flat_map(|count| (0..count).map(some_robot).collect::<Vec<_>>()),
    ) -> (Value, Organization) {
        let [bundle, skip, plain] = tls;
        written.extend([
            ("name".to_owned(), json!(name)), ("id".to_owned(), json!(id)), ("revision".to_owned(), json!(revision)),
            ("remoteRegistry".to_owned(), json!(remote)),
            ("tls".to_owned(), json!({ "insecureSkipVerify": skip, "plainHttp": plain })),
        ]);
        organization.name = quayside_oci::OrganizationName::parse(&name).expect("a name");
        (organization.id, organization.revision) = (id, revision);
        organization.remote = Remote::parse(&remote).expect("a remote registry");
        organization.tls = Tls { ca_bundle: None, insecure_skip_verify: skip, plain_http: plain };
        if bundle {
            written["tls"]["caBundle"] = json!("3f9a");
            organization.tls.ca_bundle = Some(Arc::from(PEM.replace("\\n", "\n")));
        }
        organization.credentials = credentials.map(|(username, password)| {
            written.insert("credentials".to_owned(), json!({ "username": username, "password": password }));
            Credentials { username, password: password.into() }
        });
        let (entries, teams): (Vec<_>, Vec<_>) = teams.into_iter().unzip();
        written.insert("teams".to_owned(), json!(entries));
        let (entries, robots): (Vec<_>, Vec<_>) = robots.into_iter().unzip();
        written.insert("robots".to_owned(), json!(entries));
        (organization.teams, organization.robots) = (teams, robots);
        (Value::Object(written), organization)
    }
}

proptest! {
    /// C3: every field of any entry, plain and gzipped.
    #[test]
    fn parses_back_any_file(all in prop::collection::vec(some_organization(), 1..4)) {
        let (entries, organizations): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let text = json!({
            "organizations": entries, "caBundles": { "3f9a": PEM.replace("\\n", "\n") },
        }).to_string();
        for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
            let file = parse(&bytes).expect("a file");
            prop_assert_eq!(&file.warnings, &[""; 0]);
            let read: Vec<Organization> = file.entries.into_iter().map(|entry| match entry {
                Entry::Good(organization) => *organization,
                Entry::Bad(bad) => panic!("{bad:?}: {text}"),
            }).collect();
            prop_assert_eq!(&read, &organizations);
        }
    }
}
