//! The files and the reference that are shipped beside the code.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use quayside_config::organizations::{Entry, Visibility, parse};
use quayside_config::{AllowedHost, Config, Scheme, Storage, schema};
use serde_json::Value;

const LOCAL_CONFIG: &str = include_str!("../../../deploy/local/config.yaml");
const LOCAL_ORGANIZATIONS: &[u8] = include_bytes!("../../../deploy/local/organizations.yaml");
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// C1, A8: the template of `make run`, filled in as run.sh does it.
#[test]
fn the_local_config_is_good_and_trusts_this_machine_only() {
    let yaml = LOCAL_CONFIG
        .replace("@ADDRESS@", "127.0.0.1:8080")
        .replace("@ADMIN_ADDRESS@", "127.0.0.1:0")
        .replace("@ORGANIZATIONS@", "/checkout/deploy/local/organizations.yaml")
        .replace("@DATA@", "/checkout/with space");
    let settings = yaml.lines().filter(|line| !line.starts_with('#'));
    assert!(
        settings.clone().all(|line| !line.contains('@')),
        "every placeholder is known"
    );
    let config = Config::parse(&yaml).expect("local config");
    assert!(config.feature_proxy_cache);
    assert_eq!(config.server_hostname, "127.0.0.1:8080");
    assert_eq!(config.preferred_url_scheme, Scheme::Http);
    assert!(config.listen.ip().is_loopback() && config.admin_listen.ip().is_loopback());
    assert!(
        config
            .trusted_networks
            .iter()
            .all(|net| net.network().is_loopback())
    );
    assert!(config.upstream.allowed_hosts.iter().all(|host| match host {
        AllowedHost::Name(name) => name == "localhost",
        AllowedHost::Net(net) => net.network().is_loopback(),
    }));
    let Storage::Filesystem(directory) = &config.storage else {
        panic!("{:?}", config.storage);
    };
    assert_eq!(directory.path.to_str(), Some("/checkout/with space/blobs"));
}

/// A8, N2: the five organizations of `make run`.
#[test]
fn the_local_organizations_are_good() {
    let file = parse(LOCAL_ORGANIZATIONS).expect("local organizations");
    assert_eq!(file.warnings, [""; 0]);
    let found: Vec<(String, String)> = file
        .entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Good(organization) => {
                assert_eq!(organization.visibility, Visibility::Internal);
                (organization.name.to_string(), organization.remote.authority())
            }
            Entry::Bad(bad) => panic!("{bad:?}"),
        })
        .collect();
    let expected = [
        ("docker", "registry-1.docker.io"),
        ("quay", "quay.io"),
        ("ghcr", "ghcr.io"),
        ("k8s", "registry.k8s.io"),
        ("gcr", "gcr.io"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, host)| (name.to_owned(), host.to_owned()))
    );
}

/// The YAML examples of the reference, with what language tag they have.
fn examples() -> Vec<&'static str> {
    REFERENCE
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// C1, C3: a reader can copy the examples of the reference.
#[test]
fn the_examples_of_the_reference_are_good() {
    let mut kinds = (0, 0);
    for example in examples() {
        if example.contains("organizations:\n") {
            kinds.0 += 1;
            let file = parse(example.as_bytes()).expect("organizations example");
            assert!(
                file.entries.iter().all(|entry| matches!(entry, Entry::Good(_))),
                "{:?}",
                file.entries
            );
            assert_eq!(file.warnings, [""; 0]);
        } else {
            kinds.1 += 1;
            Config::parse(example).expect("config example");
        }
    }
    assert!(kinds.0 >= 1 && kinds.1 >= 1, "{kinds:?}");
}

fn paths(schema: &Value, path: &str, found: &mut Vec<String>) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        paths(value, &path, found);
        paths(&value["items"], &format!("{path}[]"), found);
        found.push(path);
    }
}

/// C1: every key of config.yaml has its row in the reference.
#[test]
fn the_reference_names_every_key_of_config_yaml() {
    let mut keys = Vec::new();
    paths(&schema(), "", &mut keys);
    for key in keys {
        assert!(
            REFERENCE.contains(&format!("| `{key}` |")),
            "docs/configuration.md lacks {key}"
        );
    }
}
