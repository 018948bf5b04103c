//! What surrounds the process: proxies, name resolution, patience; and the gate that every request
//! passes before it is sent.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::address::{AddressPolicy, Forbidden};
use crate::body::DripLimit;

/// Outbound proxies (U3), as in `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http` upstreams. A URL, secret because it may hold a password.
    pub http: Option<SecretString>,
    /// For `https` upstreams.
    pub https: Option<SecretString>,
    /// For whatever the other two do not cover.
    pub all: Option<SecretString>,
    /// Hosts, domains and networks that are contacted directly, separated by commas.
    pub none: Option<String>,
}

impl Proxies {
    /// Reads the usual variables, upper case before lower case; empty means unset.
    pub fn of_process() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |upper: &str| {
            [upper.to_owned(), upper.to_ascii_lowercase()]
                .iter()
                .filter_map(|name| variable(name))
                .find(|value| !value.trim().is_empty())
        };
        Self {
            http: either("HTTP_PROXY").map(SecretString::from),
            https: either("HTTPS_PROXY").map(SecretString::from),
            all: either("ALL_PROXY").map(SecretString::from),
            none: either("NO_PROXY"),
        }
    }
}

/// Addresses of a name (without the dot of the root), or nothing to ask the system.
pub type Answers = Arc<dyn Fn(&str) -> Option<Vec<IpAddr>> + Send + Sync>;

/// What a process normally takes from its surroundings and a test gives explicitly.
#[derive(Clone, Default)]
pub struct Environment {
    /// Outbound proxies.
    pub proxies: Proxies,
    /// Asked for a name's addresses before the system's resolver is. Its answers are checked like
    /// any other answer.
    pub resolve: Option<Answers>,
    /// When a transfer counts as too slow to go on with.
    pub drip: DripLimit,
}

impl Environment {
    /// Proxies from the process environment, names from the system.
    pub fn of_process() -> Self {
        Self {
            proxies: Proxies::of_process(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("drip", &self.drip)
            .finish_non_exhaustive()
    }
}

/// Decides about every URL before it is asked for and about every address before it is dialled.
pub(crate) struct Gate {
    policy: AddressPolicy,
    matcher: Matcher,
    proxies: Vec<reqwest::Proxy>,
    proxy_hosts: Vec<String>,
}

impl Gate {
    /// Fails with the name of the variable that holds no URL.
    pub(crate) fn new(policy: AddressPolicy, from: &Proxies) -> Result<Self, &'static str> {
        type Make = fn(Url) -> reqwest::Result<reqwest::Proxy>;
        let except = from.none.as_deref().unwrap_or_default();
        let mut matcher = Matcher::builder().no(except.to_owned());
        let mut proxies = Vec::new();
        let mut proxy_hosts = Vec::new();
        let kinds: [(&'static str, &Option<SecretString>, Make); 3] = [
            ("HTTP_PROXY", &from.http, reqwest::Proxy::http),
            ("HTTPS_PROXY", &from.https, reqwest::Proxy::https),
            ("ALL_PROXY", &from.all, reqwest::Proxy::all),
        ];
        for (variable, value, make) in kinds {
            let Some(value) = value else { continue };
            let url = proxy_url(value.expose_secret()).ok_or(variable)?;
            let text = url.as_str().to_owned();
            matcher = match variable {
                "HTTP_PROXY" => matcher.http(text),
                "HTTPS_PROXY" => matcher.https(text),
                _ => matcher.all(text),
            };
            proxy_hosts.extend(url.host_str().map(str::to_ascii_lowercase));
            let proxy = make(url).map_err(|_| variable)?;
            proxies.push(proxy.no_proxy(reqwest::NoProxy::from_string(except)));
        }
        Ok(Self {
            policy,
            matcher: matcher.build(),
            proxies,
            proxy_hosts,
        })
    }

    pub(crate) fn proxies(&self) -> Vec<reqwest::Proxy> {
        self.proxies.clone()
    }

    /// Checks what can be checked of a URL without resolving its name (A7, U3).
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        let host = url.host_str().unwrap_or_default();
        if self.is_proxy(host) && !self.policy.names(host) {
            // The proxy's name is exempt from the check of addresses, so nobody may borrow it.
            return Err(Forbidden::new(host, "it is the proxy's own name"));
        }
        let proxied = http::Uri::try_from(url.as_str())
            .is_ok_and(|uri| !self.proxies.is_empty() && self.matcher.intercept(&uri).is_some());
        if proxied {
            self.policy.check_unresolved(host)
        } else {
            self.policy.check_host(host)
        }
    }

    /// Checks one answer of the resolver. The proxy's own name may resolve to anything (U3).
    pub(crate) fn check_answer(&self, name: &str, ip: IpAddr) -> Result<(), Forbidden> {
        if self.is_proxy(name) {
            return Ok(());
        }
        self.policy.check_answer(name, ip)
    }

    fn is_proxy(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.proxy_hosts
            .iter()
            .any(|proxy| proxy.trim_end_matches('.') == host)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A proxy's URL; without a scheme it means `http://`.
fn proxy_url(value: &str) -> Option<Url> {
    let value = value.trim();
    let url = if value.contains("://") {
        Url::parse(value)
    } else {
        Url::parse(&format!("http://{value}"))
    };
    url.ok().filter(Url::has_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(proxies: &Proxies, names: &[&str]) -> Gate {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Gate::new(AddressPolicy::new(&names, &[]), proxies).unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// U3
    #[test]
    fn reads_upper_case_before_lower_case_and_ignores_empty_variables() {
        let read = Proxies::read(|name| match name {
            "HTTP_PROXY" => Some(" ".to_owned()),
            "http_proxy" => Some("lower:1".to_owned()),
            "HTTPS_PROXY" => Some("upper:2".to_owned()),
            "https_proxy" => Some("never".to_owned()),
            _ => None,
        });
        assert_eq!(read.http.unwrap().expose_secret(), "lower:1");
        assert_eq!(read.https.unwrap().expose_secret(), "upper:2");
        assert!(read.all.is_none() && read.none.is_none());
    }

    /// U3, A7: the proxy's name may resolve to anything, but may not be used as an upstream.
    #[test]
    fn exempts_only_the_proxy_itself_from_the_address_check() {
        let proxies = Proxies {
            https: Some("http://proxy.corp:3128".into()),
            ..Proxies::default()
        };
        let gate = gate(&proxies, &[]);
        let private = IpAddr::from([10, 0, 0, 1]);
        assert!(gate.check_answer("proxy.corp", private).is_ok());
        assert!(gate.check_answer("other.corp", private).is_err());
        assert!(gate.check_url(&url("https://proxy.corp/")).is_err());
        assert!(gate.check_url(&url("https://PROXY.corp.:8443/")).is_err());
        assert!(gate.check_url(&url("https://other.corp/")).is_ok());
        assert!(gate.check_url(&url("https://10.0.0.1/")).is_err());
        assert!(gate.check_url(&url("https://registry.svc/")).is_err());
    }

    /// U3
    #[test]
    fn lets_an_administrator_use_an_upstream_on_the_proxys_machine() {
        let proxies = Proxies {
            all: Some("proxy.corp:3128".into()),
            ..Proxies::default()
        };
        assert!(
            gate(&proxies, &["proxy.corp"])
                .check_url(&url("https://proxy.corp:5000/"))
                .is_ok()
        );
    }

    /// U3, A7: behind a proxy nobody checks the addresses of an internal name, so a network does not cover it.
    #[test]
    fn does_not_let_a_network_cover_an_internal_name_that_a_proxy_resolves() {
        let proxies = Proxies {
            https: Some("proxy.corp:3128".into()),
            none: Some("direct.internal".to_owned()),
            ..Proxies::default()
        };
        let nets = ["10.0.0.0/8".parse().unwrap()];
        let gate = Gate::new(AddressPolicy::new(&[], &nets), &proxies).unwrap();
        assert!(gate.check_url(&url("https://hidden.internal/")).is_err());
        assert!(gate.check_url(&url("https://direct.internal/")).is_ok());
    }

    /// A6
    #[test]
    fn names_the_variable_but_not_the_value_of_a_malformed_proxy() {
        let proxies = Proxies {
            http: Some("http://:canary-secret@".into()),
            ..Proxies::default()
        };
        let Err(variable) = Gate::new(AddressPolicy::default(), &proxies) else {
            panic!("accepted a proxy without a host")
        };
        assert_eq!(variable, "HTTP_PROXY");
        assert!(!format!("{proxies:?}").contains("canary"));
    }
}
