//! Which addresses may be contacted (A7). Pure: names and addresses in, a verdict out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::Host;

/// Endings of names that belong to the inside of a network.
const PRIVATE_SUFFIXES: [&str; 3] = ["internal", "local", "svc"];

/// An address that may not be contacted, and why (A7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} may not be contacted: {reason}")]
pub struct Forbidden {
    /// The name or literal that was refused.
    pub address: String,
    /// Why, for people.
    pub reason: String,
}

impl Forbidden {
    pub(crate) fn new(address: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            reason: reason.into(),
        }
    }
}

/// The rule of A7 with the administrator's exceptions (`upstream.allowedHosts`).
///
/// Loopback, link-local, unspecified, multicast, private and shared (CGNAT) addresses are refused
/// unless they lie in an allowed network; a name that ends in `.internal`, `.local` or `.svc` is
/// refused unless it is allowed itself or every address dialled for it lies in an allowed network.
/// An allowed name may resolve to anything.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    names: Vec<String>,
    nets: Vec<IpNet>,
}

/// What a name says before it is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameVerdict {
    /// Named by the administrator: any address will do.
    Allowed,
    /// Decided by its addresses.
    Ordinary,
    /// Ends like an internal name: only addresses of allowed networks will do.
    Internal,
}

impl AddressPolicy {
    /// `names` are compared whole, without case and trailing dot; one that is an IP address counts
    /// as the network of that address.
    pub fn new(names: &[String], nets: &[IpNet]) -> Self {
        let mut policy = Self {
            names: Vec::new(),
            nets: nets.iter().copied().map(unmap_net).collect(),
        };
        for name in names {
            match parse_host(name) {
                Some(Host::Ipv4(ip)) => policy.nets.push(IpNet::from(IpAddr::from(ip))),
                Some(Host::Ipv6(ip)) => policy.nets.push(unmap_net(IpNet::from(IpAddr::from(ip)))),
                Some(Host::Domain(domain)) => policy.names.push(bare(&domain)),
                None => policy.names.push(bare(name)),
            }
        }
        policy
    }

    /// Checks one address that is about to be dialled. An IPv6 address that carries an IPv4 one
    /// (mapped, compatible, 6to4, NAT64, Teredo) is refused if either would be.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Forbidden> {
        if self.is_listed(ip) {
            return Ok(());
        }
        let reason = match ip {
            IpAddr::V4(v4) => forbidden_v4(v4),
            IpAddr::V6(v6) => match embedded_v4(v6) {
                Some(v4) if self.is_listed(IpAddr::V4(v4)) => None,
                Some(v4) => forbidden_v4(v4).or_else(|| forbidden_v6(v6)),
                None => forbidden_v6(v6),
            },
        };
        reason.map_or(Ok(()), |reason| Err(Forbidden::new(ip.to_string(), reason)))
    }

    /// Checks the host of a URL or of a configuration before it is resolved: a literal in any of
    /// the spellings that URLs allow (decimal, hexadecimal, octal, bracketed) like
    /// [`check_ip`](Self::check_ip), a name by its ending. A name that an allowed network might
    /// still cover passes here and is decided by its addresses.
    pub fn check_host(&self, host: &str) -> Result<(), Forbidden> {
        match parse_host(host) {
            None => Err(Forbidden::new(host, "it is not a host name")),
            Some(Host::Ipv4(ip)) => self.check_ip(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => self.check_ip(IpAddr::V6(ip)),
            Some(Host::Domain(name)) => match self.verdict(&name) {
                NameVerdict::Internal if self.nets.is_empty() => Err(internal_name(&name)),
                _ => Ok(()),
            },
        }
    }

    /// As [`check_host`](Self::check_host), for a name that somebody else (a proxy) will resolve:
    /// its addresses are never seen here, so an internal name has to be allowed itself.
    pub(crate) fn check_unresolved(&self, host: &str) -> Result<(), Forbidden> {
        self.check_host(host)?;
        match parse_host(host) {
            Some(Host::Domain(name)) if self.verdict(&name) == NameVerdict::Internal => {
                Err(internal_name(&name))
            }
            _ => Ok(()),
        }
    }

    /// Checks one of the addresses that `name` resolved to.
    pub(crate) fn check_answer(&self, name: &str, ip: IpAddr) -> Result<(), Forbidden> {
        match self.verdict(name) {
            NameVerdict::Allowed => Ok(()),
            NameVerdict::Ordinary => self
                .check_ip(ip)
                .map_err(|no| Forbidden::new(name, format!("it resolves to {}, {}", no.address, no.reason))),
            NameVerdict::Internal if self.is_listed(ip) => Ok(()),
            NameVerdict::Internal => Err(internal_name(name)),
        }
    }

    /// Whether the administrator named this host.
    pub(crate) fn names(&self, host: &str) -> bool {
        self.names.contains(&bare(host))
    }

    fn verdict(&self, name: &str) -> NameVerdict {
        let name = bare(name);
        if self.names.contains(&name) {
            return NameVerdict::Allowed;
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if PRIVATE_SUFFIXES.contains(&last) {
            NameVerdict::Internal
        } else {
            NameVerdict::Ordinary
        }
    }

    fn is_listed(&self, ip: IpAddr) -> bool {
        let plain = ip.to_canonical();
        self.nets
            .iter()
            .any(|net| net.contains(&ip) || net.contains(&plain))
    }
}

fn internal_name(name: &str) -> Forbidden {
    Forbidden::new(name, "names under .internal, .local and .svc are internal")
}

/// A name as it is compared: lower case, without the dot of the root.
fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Reads a host as a URL would, with or without brackets around an IPv6 address.
fn parse_host(host: &str) -> Option<Host<String>> {
    if let Ok(ip) = host.parse::<Ipv6Addr>() {
        return Some(Host::Ipv6(ip));
    }
    // `a..b` and `.` are names to a URL and to nobody else.
    Host::parse(host).ok().filter(|host| match host {
        Host::Domain(name) => !name.starts_with('.') && !name.contains(".."),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    })
}

/// A network written in the mapped form means the IPv4 network.
fn unmap_net(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96).map_or(net, IpNet::V4),
            None => net,
        },
        _ => net,
    }
}

fn forbidden_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = ip.octets();
    if ip.is_loopback() {
        Some("a loopback address")
    } else if a == 0 {
        Some("an unspecified address")
    } else if ip.is_link_local() {
        Some("a link-local address")
    } else if ip.is_private() {
        Some("a private address")
    } else if a == 100 && (64..128).contains(&b) {
        Some("a shared address (CGNAT)")
    } else if ip.is_multicast() || ip.is_broadcast() {
        Some("a multicast address")
    } else {
        None
    }
}

fn forbidden_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if ip.is_loopback() {
        Some("a loopback address")
    } else if ip.is_unspecified() {
        Some("an unspecified address")
    } else if ip.is_unicast_link_local() {
        Some("a link-local address")
    } else if ip.is_unique_local() || ip.segments()[0] & 0xffc0 == 0xfec0 {
        Some("a private address")
    } else if ip.is_multicast() {
        Some("a multicast address")
    } else {
        None
    }
}

/// The IPv4 address that packets to this IPv6 address may end up at.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let tail = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        // ::ffff:a.b.c.d, ::ffff:0:a.b.c.d of stateless translation, 64:ff9b::/96 of NAT64 and its
        // local 64:ff9b:1::/48
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => Some(tail),
        // ::a.b.c.d, of which :: and ::1 are not
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => Some(tail),
        // 2002:ab:cd::/48
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        // 2001:0::/32 hides the client's address inverted
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!u32::from(tail))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
