//! config.yaml: defaults, and every fault by its path (C1).

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod shared;

use std::time::Duration;

use proptest::prelude::*;
use quayside_config::{AllowedHost, Config, Database, Filesystem, Scheme, Storage, schema};
use secrecy::ExposeSecret;
use serde_json::Value;

const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

/// Every key there is, of one process.
const COMPLETE: &str = r#"
FEATURE_PROXY_CACHE: true
FEATURE_QUOTA_MANAGEMENT: true
SERVER_HOSTNAME: registry.example.com:8443
PREFERRED_URL_SCHEME: http
listen: "[::]:5000"
adminListen: 127.0.0.1:5001
tls: { certificateFile: /tls/tls.crt, keyFile: /tls/tls.key }
organizationsFile: /etc/orgs.yaml
database: { sqlite: { path: /data/q.db } }
storage: { filesystem: { path: /data/blobs, minFreeBytes: 0 } }
auth:
  signingKeyFile: /keys/signing.key
  users:
  - { name: alice, passwordHash: "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234" }
admin: { tokenFile: /keys/admin.token }
trustedNetworks: [ 10.0.0.0/8, "::1" ]
trustedProxies: [ 192.168.1.7 ]
upstream: { allowedHosts: [ Registry.Corp.internal., 127.0.0.1, 10.1.2.3/8, "::1/128" ], connectTimeoutSeconds: 2, readTimeoutSeconds: 3 }
gc: { intervalSeconds: 4, graceSeconds: 5 }
drainSeconds: 6
shutdownSeconds: 7
"#;

fn faults(yaml: &str) -> Vec<String> {
    Config::parse(yaml)
        .expect_err(yaml)
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn paths(yaml: &str) -> Vec<String> {
    Config::parse(yaml)
        .expect_err(yaml)
        .0
        .into_iter()
        .map(|fault| fault.path)
        .collect()
}

/// C1, C2, Q1: only the host name has to be given, and both features are off.
#[test]
fn has_a_default_for_everything_but_the_hostname() {
    let config = Config::parse("SERVER_HOSTNAME: registry.example.com").expect("minimal");
    assert!(!config.feature_proxy_cache && !config.feature_quota_management);
    assert_eq!(config.server_hostname, "registry.example.com");
    assert_eq!(config.preferred_url_scheme, Scheme::Https);
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.admin_listen.to_string(), "0.0.0.0:9090");
    assert!(config.tls.is_none() && config.auth.signing_key_file.is_none() && config.auth.users.is_empty());
    assert_eq!(
        config.organizations_file.to_str(),
        Some("/etc/quayside/organizations/organizations.yaml")
    );
    let database = Database::Sqlite {
        path: "/var/lib/quayside/quayside.db".into(),
    };
    assert_eq!(config.database, database);
    let storage = Storage::Filesystem(Filesystem {
        path: "/var/lib/quayside/blobs".into(),
        min_free_bytes: 536_870_912,
    });
    assert_eq!(config.storage, storage);
    assert!(config.peer.is_none());
    assert!(config.trusted_networks.is_empty() && config.trusted_proxies.is_empty());
    assert!(config.upstream.allowed_hosts.is_empty() && config.admin.token_file.is_none());
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.upstream.read_timeout, Duration::from_secs(30));
    assert_eq!(config.gc.interval, Duration::from_secs(30));
    assert_eq!(config.gc.grace, Duration::from_mins(5));
    assert_eq!(config.drain, Duration::ZERO);
    assert_eq!(config.shutdown, Duration::from_mins(5));
}

/// C1, A7: every key is read, names are normalised.
#[test]
fn reads_every_key() {
    let config = Config::parse(COMPLETE).expect("complete");
    assert!(config.feature_proxy_cache && config.feature_quota_management);
    assert_eq!(config.server_hostname, "registry.example.com:8443");
    assert_eq!(config.preferred_url_scheme, Scheme::Http);
    assert_eq!(config.listen.to_string(), "[::]:5000");
    assert_eq!(config.admin_listen.port(), 5001);
    assert_eq!(config.tls.expect("tls").key_file.to_str(), Some("/tls/tls.key"));
    let storage = Storage::Filesystem(Filesystem {
        path: "/data/blobs".into(),
        min_free_bytes: 0,
    });
    assert_eq!(config.storage, storage);
    assert_eq!(config.auth.users[0].name, "alice");
    assert_eq!(config.auth.users[0].password_hash.expose_secret(), BCRYPT);
    assert_eq!(config.trusted_networks[1].to_string(), "::1/128");
    assert_eq!(config.trusted_proxies[0].to_string(), "192.168.1.7/32");
    assert_eq!(
        config.upstream.allowed_hosts,
        [
            AllowedHost::Name("registry.corp.internal".to_owned()),
            AllowedHost::Net("127.0.0.1/32".parse().expect("net")),
            AllowedHost::Net("10.0.0.0/8".parse().expect("net")),
            AllowedHost::Net("::1/128".parse().expect("net")),
        ]
    );
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.gc.grace, Duration::from_secs(5));
    assert_eq!((config.drain.as_secs(), config.shutdown.as_secs()), (6, 7));
}

/// C1: unknown keys and bad values, each with its path, all in one answer.
#[test]
fn names_every_fault_at_once() {
    let yaml = r#"
SERVER_HOSTNAME: https://registry.example.com
FEATURE_PROXY_CACHE: "yes"
PREFERRED_URL_SCHEME: ftp
Listen: 0.0.0.0:1
adminListen: localhost:9090
tls: { certificateFile: /c }
database: { sqlite: { path: 5 }, postgres: { maxConnections: 1 } }
storage: { filesystem: { path: "", minFreeBytes: -1, fast: true }, s3: {} }
peer: { advertise: 10.1.2.3 }
auth:
  users:
  - { name: a+b, passwordHash: hunter2 }
  - { name: serviceaccount, passwordHash: $2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234 }
  - just text
  -
  - { name: bob }
admin: []
trustedNetworks: 10.0.0.0/8
trustedProxies: [ 10.0.0.0/8, 10.0.0.0/33, 5 ]
upstream: { allowedHosts: [ "*.example.com", "a:5000" ], connectTimeoutSeconds: 0, readTimeoutSeconds: 1.5 }
gc: { graceSeconds: 99999999999999999999 }
drainSeconds: -1
surprise: 1
"#;
    let mut found = paths(yaml);
    found.sort();
    let mut expected = vec![
        "FEATURE_PROXY_CACHE",
        "Listen",
        "PREFERRED_URL_SCHEME",
        "SERVER_HOSTNAME",
        "admin",
        "adminListen",
        "auth.users[0].name",
        "auth.users[0].passwordHash",
        "auth.users[1].name",
        "auth.users[2]",
        "auth.users[3]",
        "auth.users[4].passwordHash",
        "database",
        "database.postgres.maxConnections",
        "database.postgres.urlFile",
        "database.sqlite.path",
        "drainSeconds",
        "gc.graceSeconds",
        "peer.advertise",
        "storage",
        "storage.filesystem.fast",
        "storage.filesystem.minFreeBytes",
        "storage.filesystem.path",
        "storage.s3.bucket",
        "surprise",
        "tls.keyFile",
        "trustedNetworks",
        "trustedProxies[1]",
        "trustedProxies[2]",
        "upstream.allowedHosts[0]",
        "upstream.allowedHosts[1]",
        "upstream.connectTimeoutSeconds",
        "upstream.readTimeoutSeconds",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(faults(yaml).contains(&"Listen: unknown key; did you mean listen?".to_owned()));
}

/// C1: a key given twice is a fault, wherever it is, and does not hide the others.
#[test]
fn refuses_a_key_that_is_given_twice() {
    assert_eq!(
        paths(
            "SERVER_HOSTNAME: a.example\nSERVER_HOSTNAME: b.example\ngc: { graceSeconds: 1, graceSeconds: 2 }\nx: 1"
        ),
        ["gc.graceSeconds", "SERVER_HOSTNAME", "x"]
    );
}

#[test]
fn refuses_what_contradicts_another_key() {
    let users = format!(
        "SERVER_HOSTNAME: a.example\nlisten: 0.0.0.0:1\nadminListen: 0.0.0.0:1\nauth: {{ users: [ {{ name: a, passwordHash: \"{BCRYPT}\" }}, {{ name: a, passwordHash: \"{BCRYPT}\" }} ] }}"
    );
    assert_eq!(
        faults(&users),
        [
            "adminListen: must differ from listen",
            "auth.users[1].name: is the name of an earlier user"
        ]
    );
    let same_free_port = "SERVER_HOSTNAME: a.example\nlisten: 127.0.0.1:0\nadminListen: 127.0.0.1:0";
    assert!(Config::parse(same_free_port).is_ok());
}

#[test]
fn checks_the_hostname() {
    for good in [
        "localhost",
        "127.0.0.1:8080",
        "registry.example.com",
        "[::1]:5000",
        "R.example:443",
    ] {
        assert!(
            Config::parse(&format!("SERVER_HOSTNAME: \"{good}\"")).is_ok(),
            "{good}"
        );
    }
    for bad in ["", "http://a", "a/b", "a b", "a:0", "a:x", "::1", "u@a"] {
        assert_eq!(
            paths(&format!("SERVER_HOSTNAME: \"{bad}\"")),
            ["SERVER_HOSTNAME"],
            "{bad}"
        );
    }
    assert_eq!(faults(""), ["SERVER_HOSTNAME: is required"]);
    assert_eq!(faults("SERVER_HOSTNAME:"), ["SERVER_HOSTNAME: is required"]);
    assert_eq!(
        faults("SERVER_HOSTNAME: 5"),
        ["SERVER_HOSTNAME: must be text, not an integer: put it in quotes"]
    );
}

#[test]
fn says_where_a_file_is_no_yaml() {
    for yaml in [
        "a: [",
        "a: b: c",
        "\ta: 1",
        "a: 'x",
        "- a",
        "text",
        "a: 1\n---\nb: 1\n",
        "a: *b",
        "\u{1}",
    ] {
        let faults = faults(yaml);
        assert!(faults.iter().all(|fault| !fault.contains('\n')), "{faults:?}");
    }
    assert!(faults("SERVER_HOSTNAME: a\nb: [1\n").concat().contains("line"));
}

/// A6: what is wrong with a secret is said without the secret, and `Debug` hides it.
#[test]
fn never_shows_a_secret() {
    for yaml in [
        "auth: { users: [ { name: a, passwordHash: canary-5f1d } ] }",
        "auth: { users: [ { name: a, passwordHash: [ canary-5f1d ] } ] }",
        "auth:\n  users:\n  - name: a\n    passwordHash: *canary-5f1d\n",
        "auth:\n  users:\n  - name: a\n    passwordHash: \"canary-5f1d\n",
        "auth:\n  users:\n  - name: a\n    passwordHash: !!int canary-5f1d\n",
        "auth:\n  users:\n  - name: a\n    passwordHash: @canary-5f1d\n",
        "auth:\n  users:\n  - name: a\n    passwordHash: {canary-5f1d\n",
        "auth:\n  users:\n  - name: a\n    passwordHash: !canary-5f1d!x y\n",
    ] {
        let faults = Config::parse(yaml).expect_err(yaml);
        assert!(!format!("{faults} {faults:?}").contains("canary"), "{faults}");
    }
    let config = Config::parse(COMPLETE).expect("complete");
    assert!(!format!("{config:?}").contains("abcdefghijklmnop"));
}

/// Every path of a schema: `auth.users[].name`.
fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (key, value) in properties {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            assert!(
                value["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{path}"
            );
            leaves(value, &path, found);
        }
    } else if schema["type"] == "array" {
        leaves(&schema["items"], &format!("{path}[]"), found);
    } else {
        found.push(path.to_owned());
    }
}

/// Every path of a document.
fn document_leaves(document: &Value, path: &str, found: &mut Vec<String>) {
    match document {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                document_leaves(value, &path, found);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| document_leaves(item, &format!("{path}[]"), found)),
        _ => found.push(path.to_owned()),
    }
}

/// C1: the schema knows exactly the keys that are read, and closes every mapping.
#[test]
fn the_schema_knows_every_key_and_no_other() {
    let schema = schema();
    let mut described = Vec::new();
    leaves(&schema, "", &mut described);
    described.sort();
    let mut written = Vec::new();
    for complete in [COMPLETE, shared::COMPLETE] {
        let document: Value = serde_saphyr::from_str(complete).expect("yaml");
        document_leaves(&document, "", &mut written);
    }
    written.sort();
    written.dedup();
    assert_eq!(described, written);
    assert_eq!(schema["required"], serde_json::json!(["SERVER_HOSTNAME"]));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["properties"]["storage"]["properties"]["filesystem"]["properties"]["minFreeBytes"]["default"],
        536_870_912
    );
    assert_eq!(
        schema["properties"]["tls"]["required"],
        serde_json::json!(["certificateFile", "keyFile"])
    );
}

/// C1: for every key that is described a wrong value is refused under its path.
#[test]
fn a_wrong_value_is_refused_for_every_key_of_the_schema() {
    let mut described = Vec::new();
    leaves(&schema(), "", &mut described);
    for path in described {
        // A mapping is right for no plain value.
        let mut document = String::from("{ wrong: 1 }");
        for part in path.split('.').rev() {
            document = match part.strip_suffix("[]") {
                Some(key) => format!("{{ {key}: [ {document} ] }}"),
                None => format!("{{ {part}: {document} }}"),
            };
        }
        assert!(paths(&document).contains(&path.replace("[]", "[0]")), "{path}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _ = Config::parse(&text);
    }

    /// C1: unknown keys anywhere are all found.
    #[test]
    fn finds_every_unknown_key(keys in proptest::collection::vec("zz[a-z]{1,6}", 5)) {
        let [root, storage, filesystem, gc, auth] = &keys[..] else { return Ok(()) };
        let yaml = format!(
            "SERVER_HOSTNAME: a.example
{root}: 1
storage: {{ {storage}: [], filesystem: {{ {filesystem}: text }} }}
gc: {{ {gc}: {{}} }}
auth: {{ {auth}: 1.5 }}
"
        );
        let mut expected = vec![
            root.clone(),
            format!("storage.{storage}"),
            format!("storage.filesystem.{filesystem}"),
            format!("gc.{gc}"),
            format!("auth.{auth}"),
        ];
        let mut found = paths(&yaml);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
