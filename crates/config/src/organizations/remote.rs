//! An upstream as people write it, and as it is compared and contacted (N1, N2).

use std::fmt;

use quayside_oci::RepositoryName;

use crate::fault::shown;
use crate::hostname;

/// The names of Docker Hub (N2).
const DOCKER_HUB: [&str; 4] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];
/// Under which of them it is contacted.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
/// What a one-component name on Docker Hub leaves out.
const DOCKER_HUB_LIBRARY: &str = "library";
const HTTPS_PORT: u16 = 443;

/// An upstream registry, or one namespace of it: `host[:port][/namespace]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Remote {
    host: String,
    port: Option<u16>,
    namespace: Option<RepositoryName>,
}

impl Remote {
    /// Reads `host[:port][/ns[/ns…]]`. The message is for people and never repeats the host.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err("must be host[:port][/namespace], without a scheme like https://".to_owned());
        }
        let (authority, namespace) = match text.split_once('/') {
            Some((authority, namespace)) => (authority, Some(namespace)),
            None => (text, None),
        };
        let (mut host, mut port) = hostname::authority(authority)?;
        let namespace = namespace.map(|text| {
            RepositoryName::parse(text).map_err(|_| {
                format!(
                    "the namespace {} is not in the grammar of repository names",
                    shown(text)
                )
            })
        });
        if DOCKER_HUB.contains(&host.as_str()) {
            DOCKER_HUB_HOST.clone_into(&mut host);
            port = port.filter(|port| *port != HTTPS_PORT);
        }
        Ok(Self {
            host,
            port,
            namespace: namespace.transpose()?,
        })
    }

    /// The host that is contacted: lower case, Docker Hub's aliases resolved, an IPv6 literal in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The namespace to which the organization is narrowed (N1).
    pub fn namespace(&self) -> Option<&RepositoryName> {
        self.namespace.as_ref()
    }

    /// `host[:port]` as it is contacted.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Whether this is Docker Hub, under any of its names (N2).
    pub fn is_docker_hub(&self) -> bool {
        self.host == DOCKER_HUB_HOST
    }

    /// What is compared (G5, K7): equal for all spellings of one upstream.
    pub fn identity(&self) -> String {
        let authority = if self.port == Some(HTTPS_PORT) {
            self.host.clone()
        } else {
            self.authority()
        };
        match &self.namespace {
            Some(namespace) => format!("{authority}/{namespace}"),
            None => authority,
        }
    }

    /// The repository under which `asked` is kept: on the whole Docker Hub, `alpine` is `library/alpine` (N2).
    #[must_use]
    pub fn local_repository(&self, asked: &RepositoryName) -> RepositoryName {
        if !self.is_docker_hub() || self.namespace.is_some() || asked.components().nth(1).is_some() {
            return asked.clone();
        }
        RepositoryName::parse(DOCKER_HUB_LIBRARY)
            .map_or_else(|_| asked.clone(), |library| asked.inside(&library))
    }

    /// The repository at the upstream of one here (N1, N2).
    pub fn upstream_repository(&self, local: &RepositoryName) -> String {
        match &self.namespace {
            Some(namespace) => local.inside(namespace).to_string(),
            None => self.local_repository(local).to_string(),
        }
    }
}

/// The normalised form, which parses to the same upstream.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remote(text: &str) -> Remote {
        Remote::parse(text).expect(text)
    }

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).expect(text)
    }

    /// N2, G5, K7: every alias, in any case, with and without the default port, is one upstream.
    #[test]
    fn takes_every_name_of_docker_hub_for_one_upstream() {
        for host in [
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "registry.hub.docker.com",
        ] {
            for spelling in [
                host.to_owned(),
                host.to_uppercase(),
                format!("{host}:443"),
                format!("{host}."),
            ] {
                let remote = remote(&spelling);
                assert_eq!(remote.identity(), "registry-1.docker.io", "{spelling}");
                assert_eq!(remote.authority(), "registry-1.docker.io", "{spelling}");
                assert!(remote.is_docker_hub());
            }
        }
        assert_eq!(
            remote("Docker.io:443/bitnami"),
            remote("registry-1.docker.io/bitnami")
        );
        assert_eq!(remote("docker.io:5000").identity(), "registry-1.docker.io:5000");
        assert!(!remote("docker.io.example.com").is_docker_hub());
    }

    /// N2: a port that is the default compares like none, but plain HTTP on 443 is still contacted there.
    #[test]
    fn compares_the_default_port_like_none_and_keeps_it() {
        assert_eq!(remote("quay.io:443").identity(), remote("QUAY.io").identity());
        assert_eq!(remote("quay.io:443").authority(), "quay.io:443");
        assert_ne!(remote("quay.io:80").identity(), remote("quay.io").identity());
    }

    #[test]
    fn reads_hosts_ports_and_namespaces() {
        for (text, authority, namespace) in [
            ("localhost", "localhost", None),
            ("localhost:5000", "localhost:5000", None),
            ("quay.io/projectquay", "quay.io", Some("projectquay")),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000", Some("a/b/c")),
            ("[::1]:5000/a", "[::1]:5000", Some("a")),
            ("[0::1]", "[::1]", None),
        ] {
            let remote = remote(text);
            assert_eq!(remote.authority(), authority);
            assert_eq!(remote.namespace().map(ToString::to_string).as_deref(), namespace);
        }
    }

    #[test]
    fn refuses_what_is_no_upstream_without_repeating_a_password() {
        for text in [
            "",
            "/",
            "quay.io/",
            "/ns",
            "https://quay.io",
            "http://u:hunter2@quay.io",
            "u:hunter2@quay.io",
            "quay.io/NS",
            "quay.io//a",
            "quay.io/../a",
            "quay.io/a/",
            "quay.io:/a",
            "quay.io?a",
            "quay.io#a",
            "::1",
        ] {
            let error = Remote::parse(text).expect_err(text);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    /// N1, N2: where `asked` is kept here and what it is called there.
    #[test]
    fn maps_repositories_to_the_upstream() {
        for (upstream, asked, local, there) in [
            ("quay.io", "prometheus/node", "prometheus/node", "prometheus/node"),
            ("quay.io", "alpine", "alpine", "alpine"),
            ("quay.io/projectquay", "quay", "quay", "projectquay/quay"),
            ("quay.io/a/b", "c/d", "c/d", "a/b/c/d"),
            ("docker.io", "alpine", "library/alpine", "library/alpine"),
            ("docker.io", "library/alpine", "library/alpine", "library/alpine"),
            (
                "INDEX.docker.io",
                "bitnami/redis",
                "bitnami/redis",
                "bitnami/redis",
            ),
            ("docker.io/library", "alpine", "alpine", "library/alpine"),
            ("docker.io/bitnami", "redis", "redis", "bitnami/redis"),
        ] {
            let remote = remote(upstream);
            assert_eq!(
                remote.local_repository(&name(asked)),
                name(local),
                "{upstream} {asked}"
            );
            assert_eq!(
                remote.upstream_repository(&name(local)),
                there,
                "{upstream} {asked}"
            );
            assert_eq!(
                remote.upstream_repository(&name(asked)),
                there,
                "{upstream} {asked}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_normalised_form_is_stable(text in "([A-Za-z0-9.-]{1,16}|\\[::[0-9a-f]{1,4}\\]|docker.io)(:[0-9]{1,5})?(/[a-z0-9._/-]{1,12})?") {
            if let Ok(remote) = Remote::parse(&text) {
                let again = Remote::parse(&remote.to_string()).expect("the normalised form parses");
                prop_assert_eq!(again.identity(), remote.identity());
                prop_assert_eq!(again.host(), remote.host());
            }
        }

        #[test]
        fn the_local_repository_is_stable(hub in any::<bool>(), asked in "[a-z]{1,6}(/[a-z]{1,6}){0,2}") {
            let remote = remote(if hub { "docker.io" } else { "quay.io" });
            let local = remote.local_repository(&name(&asked));
            prop_assert_eq!(remote.local_repository(&local), local);
        }
    }
}
