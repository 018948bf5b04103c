use proptest::prelude::*;

use super::*;

fn strict() -> AddressPolicy {
    AddressPolicy::default()
}

fn allowing(names: &[&str], nets: &[&str]) -> AddressPolicy {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
    AddressPolicy::new(&names, &nets)
}

/// A7: every kind of address, as it is and hidden in IPv6.
#[test]
fn refuses_every_kind_of_inside_address() {
    let refused = [
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:0:0:0:0:80ff:fffe",
    ];
    for text in refused {
        let ip: IpAddr = text.parse().unwrap();
        assert!(strict().check_ip(ip).is_err(), "{text}");
        assert!(strict().check_host(text).is_err(), "{text}");
    }
    let fine = [
        "1.1.1.1",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "192.169.0.1",
        "11.0.0.1",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::",
    ];
    for text in fine {
        assert_eq!(strict().check_ip(text.parse().unwrap()), Ok(()), "{text}");
        assert_eq!(strict().check_host(text), Ok(()), "{text}");
    }
}

/// A7: spellings that a URL turns into an address.
#[test]
fn sees_through_the_spellings_of_a_literal() {
    let refused = [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:7f00:1]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "fe80::1%eth0",
        "１２７.0.0.1",
        "%31%32%37.0.0.1",
        "127。0。0。1",
        "",
        "..",
        "a b",
        "256.256.256.256",
        "0x7f000001.",
    ];
    for text in refused {
        assert!(strict().check_host(text).is_err(), "{text:?}");
    }
}

/// A7
#[test]
fn refuses_names_of_the_inside_whole_and_in_any_spelling() {
    let refused = [
        "a.internal",
        "metadata.google.internal",
        "A.INTERNAL",
        "a.internal.",
        "a.internal..",
        "printer.local",
        "registry.default.svc",
        "registry.default.svc.cluster.local",
        "svc",
        "x.SVC.",
    ];
    for text in refused {
        assert!(strict().check_host(text).is_err(), "{text:?}");
    }
    for text in [
        "internal.example.com",
        "notinternal",
        "a.xlocal",
        "svc.io",
        "registry-1.docker.io",
        "ghcr.io.",
    ] {
        assert_eq!(strict().check_host(text), Ok(()), "{text:?}");
    }
}

/// A7: an allowed name may be anything and resolve to anything.
#[test]
fn lets_an_allowed_name_resolve_to_anything() {
    let policy = allowing(&["Registry.Corp.Internal."], &[]);
    assert_eq!(policy.check_host("registry.corp.internal"), Ok(()));
    assert_eq!(
        policy.check_answer("registry.corp.internal.", "10.0.0.1".parse().unwrap()),
        Ok(())
    );
    assert!(policy.check_host("other.corp.internal").is_err());
    assert!(
        policy
            .check_answer("other.example.com", "10.0.0.1".parse().unwrap())
            .is_err()
    );
}

/// A7: "an allow-listed CIDR covers every name that resolves into it", and only there.
#[test]
fn lets_a_network_cover_the_names_that_resolve_into_it() {
    let policy = allowing(&[], &["10.1.0.0/16"]);
    let (inside, outside, public) = (
        "10.1.2.3".parse().unwrap(),
        "10.2.2.3".parse().unwrap(),
        "1.1.1.1".parse().unwrap(),
    );
    assert_eq!(policy.check_host("registry.svc"), Ok(()));
    assert_eq!(policy.check_answer("registry.svc", inside), Ok(()));
    assert!(policy.check_answer("registry.svc", outside).is_err());
    assert!(
        policy.check_answer("registry.svc", public).is_err(),
        "internal names stay inside"
    );
    assert_eq!(policy.check_answer("registry.example.com", inside), Ok(()));
    assert!(policy.check_answer("registry.example.com", outside).is_err());
    assert_eq!(policy.check_answer("registry.example.com", public), Ok(()));
    assert_eq!(policy.check_host("[::ffff:10.1.2.3]"), Ok(()));
    assert!(policy.check_unresolved("registry.svc").is_err());
}

/// A7
#[test]
fn takes_literals_among_the_names_as_addresses() {
    let policy = allowing(
        &["127.0.0.1", "[fd00::1]", "fd00::2"],
        &["::ffff:192.168.0.0/112"],
    );
    for text in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "fd00::1",
        "fd00::2",
        "192.168.9.9",
    ] {
        assert_eq!(policy.check_host(text), Ok(()), "{text}");
    }
    for text in [
        "127.0.0.2",
        "fd00::3",
        "192.169.1.1".replace("169", "167").as_str(),
        "10.0.0.1",
    ] {
        let expected = text == "192.167.1.1";
        assert_eq!(policy.check_host(text).is_ok(), expected, "{text}");
    }
}

/// A7, A6: a person has to understand what to allow.
#[test]
fn says_what_was_refused_and_why() {
    let answer = strict().check_answer("evil.example.com", "169.254.169.254".parse().unwrap());
    assert_eq!(
        answer.unwrap_err().to_string(),
        "evil.example.com may not be contacted: it resolves to 169.254.169.254, a link-local address"
    );
}

/// IPv4 addresses that A7 refuses, written down a second time as networks.
fn refused_nets() -> Vec<ipnet::Ipv4Net> {
    let nets = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
    ];
    nets.iter().map(|net| net.parse().unwrap()).collect()
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let near = prop::sample::select(refused_nets()).prop_flat_map(|net| {
        let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
        (first.saturating_sub(2)..=last.saturating_add(2)).prop_map(Ipv4Addr::from)
    });
    prop_oneof![any::<u32>().prop_map(Ipv4Addr::from), near]
}

proptest! {
    /// A7
    #[test]
    fn agrees_with_the_networks_of_the_rule(ip in v4()) {
        let refused = refused_nets().iter().any(|net| net.contains(&ip));
        prop_assert_eq!(strict().check_ip(ip.into()).is_err(), refused);
    }

    /// A7: hiding an address in IPv6 or in a number changes nothing.
    #[test]
    fn judges_hidden_forms_like_the_address_itself(ip in v4()) {
        let verdict = strict().check_ip(ip.into()).is_ok();
        let bits = u32::from(ip);
        let [a, b] = [bits >> 16, bits & 0xffff];
        prop_assert_eq!(strict().check_ip(ip.to_ipv6_mapped().into()).is_ok(), verdict);
        for form in [
            bits.to_string(),
            format!("{bits:#x}"),
            format!("0{bits:o}"),
            format!("[::ffff:{a:x}:{b:x}]"),
            format!("[64:ff9b::{a:x}:{b:x}]"),
            format!("[2002:{a:x}:{b:x}::1]"),
            format!("[2001:0:102:304::{:x}:{:x}]", !a & 0xffff, !b & 0xffff),
        ] {
            prop_assert_eq!(strict().check_host(&form).is_ok(), verdict, "{}", form);
        }
    }

    /// A7: an allowed network opens exactly itself.
    #[test]
    fn opens_exactly_the_allowed_network(ip in v4(), net in v4(), length in 0u8..=32) {
        let net = ipnet::Ipv4Net::new(net, length).unwrap().trunc();
        let policy = AddressPolicy::new(&[], &[net.into()]);
        let expected = net.contains(&ip) || strict().check_ip(ip.into()).is_ok();
        prop_assert_eq!(policy.check_ip(ip.into()).is_ok(), expected);
    }

    /// A7: whatever a URL would make of a host, the policy judges the same thing.
    #[test]
    fn judges_a_host_as_a_url_reads_it(host in "[0-9a-fx.]{1,20}") {
        let url = url::Url::parse(&format!("http://{host}/"));
        if let Some(Host::Ipv4(ip)) = url.as_ref().ok().and_then(url::Url::host) {
            prop_assert_eq!(strict().check_host(&host).is_ok(), strict().check_ip(ip.into()).is_ok());
        }
    }

    #[test]
    fn never_panics(host in "\\PC{0,60}") {
        let _ = strict().check_host(&host);
    }
}
