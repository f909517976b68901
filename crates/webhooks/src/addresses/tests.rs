//! What is called and what is not, in all its spellings.

use proptest::prelude::*;

use super::*;

fn allowing(networks: &[&str]) -> Addresses {
    Addresses::new(Networks(networks.iter().map(|text| text.parse().expect("a network")).collect()))
}

fn is_called(addresses: &Addresses, address: &str) -> bool {
    stands(addresses, address.parse().expect("an address"))
}

/// Whether it is called by https at least.
fn stands(addresses: &Addresses, address: IpAddr) -> bool {
    addresses.standing(address) != Standing::Forbidden
}

/// The first and the last address of what is never called, and what lies beside it.
const NOT_PUBLIC: [(&str, &str); 39] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.255"),
    ("::", "::1"),
    ("::2", "::ffff"),
    ("::1.2.3.4", "::8.8.8.8"),
    ("::ffff:0.0.0.0", "::ffff:0.255.255.255"),
    ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
    ("::ffff:127.0.0.1", "::ffff:127.255.255.255"),
    ("::ffff:169.254.169.254", "::ffff:169.254.255.255"),
    ("::ffff:0:10.0.0.1", "::ffff:0:192.168.0.1"),
    ("64:ff9b::10.0.0.0", "64:ff9b::10.255.255.255"),
    ("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002:7f00:1::", "2002:7f00:1:ffff:ffff:ffff:ffff:ffff"),
    ("2002:a00::", "2002:aff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002:c0a8::", "2002:c0a8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

const PUBLIC: [&str; 26] = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:200::1",
    "2001:db9::",
    "2002:808:808::1",
    "2606:4700::1111",
    "3fff:1000::",
    "3ffe:ffff::1",
];

#[test]
fn only_public_addresses_are_called() {
    let addresses = Addresses::default();
    for (first, last) in NOT_PUBLIC {
        assert!(!is_called(&addresses, first), "{first}");
        assert!(!is_called(&addresses, last), "{last}");
    }
    for address in PUBLIC {
        assert!(is_called(&addresses, address), "{address}");
    }
}

#[test]
fn what_is_allowed_is_called_by_each_of_its_names() {
    let addresses = allowing(&["10.1.0.0/16", "fd12::/16", "127.0.0.1"]);
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "fd12::7", "127.0.0.1"] {
        assert!(is_called(&addresses, address), "{address}");
    }
    for address in ["10.2.0.0", "::ffff:10.2.0.0", "fd13::7", "127.0.0.2", "::1"] {
        assert!(!is_called(&addresses, address), "{address}");
    }
}

#[test]
fn metadata_is_never_called() {
    let all = allowing(&["0.0.0.0/0", "::/0", "169.254.169.254"]);
    for address in ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16"] {
        assert!(!is_called(&all, address), "{address}");
    }
    for address in ["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe"] {
        assert!(!is_called(&all, address), "{address}");
    }
    assert!(!is_called(&all, "::ffff:169.254.169.254") && !is_called(&all, "64:ff9b::a9fe:a9fe"));
    assert!(!is_called(&all, "2002:a9fe:a9fe::") && is_called(&all, "169.254.169.253"));
}

#[test]
fn addresses_in_urls_are_judged_however_they_are_written() {
    let check = |addresses: &Addresses, url: &str| addresses.check(&Url::parse(url).expect("a URL"));
    let none = Addresses::default();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "0xa9fea9fe",
        "0",
    ] {
        assert_eq!(check(&none, &format!("https://{host}/x")), Err(Forbidden::NotPublic), "{host}");
        assert_eq!(check(&none, &format!("http://{host}:8080/x")), Err(Forbidden::NotPublic), "{host}");
    }
    assert_eq!(check(&none, "https://8.8.8.8:22/"), Ok(()));
    assert_eq!(check(&none, "http://8.8.8.8/"), Err(Forbidden::NotEncrypted));
    assert_eq!((check(&none, "https://example.com/"), check(&none, "https://localhost/")), (Ok(()), Ok(())));
    assert_eq!(check(&none, "http://example.com/"), Err(Forbidden::NotEncrypted));
    let some = allowing(&["10.0.0.0/8"]);
    assert_eq!((check(&some, "http://10.0.0.9/"), check(&some, "http://in.example.com/")), (Ok(()), Ok(())));
}

#[test]
fn of_a_names_addresses_those_are_left_that_are_called() {
    let found =
        || ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0", "192.168.0.1:0"].map(|text| text.parse().expect("an address"));
    let left = |networks: &[&str], encrypted: bool| {
        let left = allowing(networks).of(encrypted, found().into_iter());
        left.iter().map(|address: &SocketAddr| address.ip().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(left(&[], true), ["8.8.8.8"]);
    assert_eq!(left(&["10.0.0.0/8"], true), ["10.0.0.1", "8.8.8.8"]);
    assert_eq!(left(&["10.0.0.0/8"], false), ["10.0.0.1"]);
    assert!(left(&[], false).is_empty());
}

#[tokio::test]
async fn a_name_that_leads_inside_resolves_to_nothing() {
    let name = || "localhost".parse::<Name>().expect("a name");
    let Err(error) = Addresses::default().resolver(true).resolve(name()).await else { panic!("it is called") };
    assert_eq!(error.downcast_ref(), Some(&NoneCalled));
    let found = allowing(&["127.0.0.0/8", "::1"]).resolver(false).resolve(name()).await;
    assert!(found.is_ok_and(|mut found| found.all(|address| address.ip().is_loopback())));
}

#[tokio::test]
async fn names_are_looked_up_so_many_at_once() {
    let addresses = allowing(&["127.0.0.0/8", "::1"]);
    // Their servers do not answer.
    let stalled = addresses.lookups.clone().try_acquire_many_owned(u32::try_from(LOOKUPS_MAX).expect("it fits"));
    let stalled = stalled.expect("nobody else looks");
    // By either way: they share the threads.
    for encrypted in [true, false] {
        let mut looking = addresses.resolver(encrypted).resolve("localhost".parse().expect("a name"));
        assert!(futures_util::poll!(&mut looking).is_pending());
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut looking).is_pending());
    }
    let looking = addresses.resolver(false).resolve("localhost".parse().expect("a name"));
    drop(stalled);
    assert!(looking.await.is_ok());
    assert_eq!(addresses.lookups.available_permits(), LOOKUPS_MAX);
}

proptest! {
    #[test]
    fn an_address_of_ipv4_stands_the_same_by_each_of_its_names(bits: u32) {
        let four = Ipv4Addr::from(bits);
        let [a, b, c, d] = four.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let addresses = Addresses::default();
        let called = stands(&addresses, four.into());
        for six in [
            four.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ] {
            prop_assert_eq!(stands(&addresses, six.into()), called, "{}", six);
        }
    }

    #[test]
    fn what_the_standard_library_calls_local_is_never_called(bits: u128) {
        let (four, six) = (Ipv4Addr::from(u32::try_from(bits >> 96).expect("32 bits")), Ipv6Addr::from(bits));
        let addresses = Addresses::default();
        let local = four.is_private() || four.is_loopback() || four.is_link_local() || four.is_multicast()
            || four.is_documentation() || four.is_broadcast() || four.is_unspecified();
        prop_assert!(!(local && stands(&addresses, four.into())), "{four}");
        let local = six.is_loopback() || six.is_multicast() || six.is_unique_local() || six.is_unicast_link_local();
        prop_assert!(!(local && stands(&addresses, six.into())), "{six}");
    }
}
