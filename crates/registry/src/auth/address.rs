//! A2, A8: from which address a request comes.

use std::net::IpAddr;

use ipnet::IpNet;

/// The client's address: the peer's, or behind a trusted proxy the right-most untrusted one of
/// `X-Forwarded-For`, of which `forwarded` are the lines. An entry that is no address ends the search: what is
/// left of it cannot be believed.
pub(crate) fn client(
    peer: IpAddr,
    forwarded: impl Iterator<Item = impl AsRef<str>>,
    proxies: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines: Vec<_> = forwarded.collect();
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_ref().rsplit(','))
        .map(str::trim);
    for hop in hops {
        if !contains(proxies, client) {
            return client;
        }
        match parse(hop) {
            Some(address) => client = address,
            None => return client,
        }
    }
    client
}

/// Whether one of the networks contains the address; an IPv4 address in IPv6 clothes is an IPv4 address.
pub(crate) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or(hop, |(bare, _)| bare);
    let parsed = bare
        .parse()
        .or_else(|_| hop.parse::<std::net::SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(peer: &str, forwarded: &[&str]) -> String {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client(peer.parse().unwrap(), forwarded.iter().copied(), &proxies).to_string()
    }

    /// A2: the header of an untrusted peer is not believed.
    #[test]
    fn an_untrusted_peer_speaks_for_itself() {
        assert_eq!(find("192.0.2.1", &["10.0.0.1"]), "192.0.2.1");
        assert_eq!(find("192.0.2.1", &[]), "192.0.2.1");
    }

    /// A2: behind trusted proxies the right-most untrusted address counts, whatever the client wrote left of it.
    #[test]
    fn the_right_most_untrusted_address_counts() {
        assert_eq!(find("10.0.0.1", &["127.0.0.1, 192.0.2.7, 10.0.0.9"]), "192.0.2.7");
        assert_eq!(
            find("10.0.0.1", &["127.0.0.1", "192.0.2.7", "10.0.0.9"]),
            "192.0.2.7"
        );
        assert_eq!(find("::ffff:10.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(find("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(find("10.0.0.1", &["10.0.0.3"]), "10.0.0.3");
        assert_eq!(find("10.0.0.1", &[]), "10.0.0.1");
    }

    /// A2: what is no address is not skipped, else a client could hide behind it.
    #[test]
    fn rubbish_ends_the_search() {
        assert_eq!(find("10.0.0.1", &["127.0.0.1, unknown, 10.0.0.9"]), "10.0.0.9");
    }
}
