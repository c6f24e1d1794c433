//! The table as a text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use api::{Cidr, Family};
use filter::{Exclusions, Interface, Interfaces, Nft, NftError, Rules, Settings};
use proptest::prelude::*;
use routes::PoolNetwork;
use routes::tunnel::Kind;

use crate::harness::Namespace;
use crate::world::{addr, cidr, every_pool, rules_of, with_pods};

/// Whether `nft` in the namespace takes a text, without doing what it says.
fn check(space: &Namespace, text: &str) -> Result<(), String> {
    let out = space.run(|| {
        let mut nft = Command::new("nft");
        let mut nft = nft
            .args(["-c", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut nft.stdin.take().unwrap(), text.as_bytes()).unwrap();
        nft.wait_with_output().unwrap()
    });
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("{}\n{text}", String::from_utf8_lossy(&out.stderr))),
    }
}

fn golden(name: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let wanted = fs::read_to_string(&file).unwrap_or_default();
    if wanted != text {
        let now = file.with_extension("now");
        fs::create_dir_all(now.parent().unwrap()).unwrap();
        fs::write(&now, text).unwrap();
        panic!("{} differs from what {} holds now", file.display(), now.display());
    }
}

const PODS: &[(&str, &[&str])] = &[
    ("cali1", &["10.81.1.2/32", "2001:db8:81:1::2/128"]),
    ("cali2", &["10.82.1.2/32", "10.99.0.0/24", "2001:db8:99::/64"]),
];

/// The plain table of a node, and one with everything that an administrator can set.
#[test]
fn whole_tables() {
    let plain = with_pods(rules_of(&every_pool(), Settings::default()), PODS);
    let settings = Settings {
        vxlan_port: 40_000,
        vxlan_vni: 7,
        exclusions: Exclusions::PoolsAndNodes,
        nat_address: Some(addr("10.77.1.100")),
        nat_ports: Some((32_768, 65_535)),
        nat_interfaces: Interfaces::parse("eth+").unwrap(),
        external_nodes: vec![cidr("192.0.2.0/24"), cidr("2001:db8:99::1/128")],
        pods_send_vxlan: true,
        pods_send_ipip: true,
    };
    let set = with_pods(rules_of(&every_pool(), settings), PODS);
    golden("plain.nft", &plain.text());
    golden("set.nft", &set.text());
    let Some(space) = Namespace::new() else { return };
    for rules in [plain, set] {
        check(&space, &rules.text()).unwrap();
    }
}

/// A node of a cluster with one family, or with nothing at all, has a table that `nft` takes.
#[test]
fn small_tables() {
    let Some(space) = Namespace::new() else { return };
    let pools = every_pool();
    for pools in [&pools[..0], &pools[2..3], &pools[7..8], &pools[3..4]] {
        check(&space, &rules_of(pools, Settings::default()).text()).unwrap();
    }
}

/// What became unreadable counts on, and what was removed does not.
#[test]
fn what_is_not_known_is_kept() {
    let last = rules_of(&every_pool(), Settings::default());
    let mut now = rules_of(&every_pool()[2..3], Settings::default());
    now.keep_unknown(&last);
    assert_eq!(now, rules_of(&every_pool()[2..3], Settings::default()));
    now.has_unknown = true;
    now.keep_unknown(&last);
    assert_eq!((now.pools.len(), &now.tunnels), (last.pools.len(), &last.tunnels));
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::from(n.to_be_bytes())),
        any::<u128>().prop_map(|n| IpAddr::from(n.to_be_bytes()))
    ]
}

fn network() -> impl Strategy<Value = Cidr> {
    (address(), any::<u8>()).prop_map(|(addr, bits)| {
        let most = Family::of(addr).bits();
        Cidr::of(addr, bits % (most + 1)).unwrap()
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9._-]{1,15}", "\\PC{0,16}", "[ -~]{1,15}"]
}

fn rules() -> impl Strategy<Value = Rules> {
    let pool = (network(), any::<bool>(), any::<bool>())
        .prop_map(|(cidr, is_translated, is_inside)| PoolNetwork { cidr, is_translated, is_inside });
    let addresses = |most| prop::collection::btree_set(address(), 0..most);
    let of_family = |all: BTreeSet<IpAddr>, kind: Kind| {
        all.into_iter().filter(|addr| Family::of(*addr) == kind.family()).collect()
    };
    let tunnels = prop::collection::btree_map(prop::sample::select(Kind::ALL.to_vec()), addresses(20), 0..4)
        .prop_map(move |all: BTreeMap<Kind, BTreeSet<IpAddr>>| {
            all.into_iter().map(|(kind, all)| (kind, of_family(all, kind))).collect()
        });
    let pods =
        prop::collection::vec((name(), prop::collection::vec(network(), 0..4)), 0..8).prop_map(|pods| {
            pods.into_iter()
                .filter_map(|(name, networks)| Some((Interface::parse(&name).ok()?, networks)))
                .collect()
        });
    let ports = prop::option::of((1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| (a.min(b), a.max(b))));
    let settings =
        (1..=u16::MAX, 1..1u32 << 24, any::<[bool; 3]>(), prop::option::of(address()), ports, name());
    let settings = (settings, prop::collection::vec(network(), 0..4)).prop_map(
        |(
            (vxlan_port, vxlan_vni, [beside, pods_send_vxlan, pods_send_ipip], nat_address, nat_ports, name),
            external_nodes,
        )| {
            Settings {
                vxlan_port,
                vxlan_vni,
                exclusions: if beside { Exclusions::PoolsAndNodes } else { Exclusions::Pools },
                nat_address,
                nat_ports,
                nat_interfaces: Interfaces::parse(&name).unwrap_or(Interfaces::All),
                external_nodes,
                pods_send_vxlan,
                pods_send_ipip,
            }
        },
    );
    (settings, prop::collection::vec(pool, 0..20), addresses(20), tunnels, pods, any::<bool>()).prop_map(
        |(settings, pools, nodes, tunnels, pods, is_relay)| Rules {
            settings,
            pools,
            nodes,
            tunnels,
            pods,
            is_relay,
            has_unknown: false,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever names and addresses there are, `nft` takes the text, and a table that is changed into another
    /// one is the same as one that was put there anew.
    #[test]
    fn no_name_or_address_breaks_the_text(first in rules(), second in rules()) {
        thread_local! { static SPACE: Option<Namespace> = Namespace::new(); }
        let listings = |space: &Namespace| space.run(|| {
            let (mut changed, mut anew) = (Nft::default(), Nft::default());
            changed.remove()?;
            changed.keep(&first)?;
            changed.keep(&second)?;
            let listing = changed.listing()?;
            anew.remove()?;
            anew.keep(&second)?;
            Ok::<_, NftError>((listing, anew.listing()?))
        });
        if let Some((changed, anew)) = SPACE.with(|space| space.as_ref().map(listings)).transpose().unwrap() {
            prop_assert_eq!(changed, anew);
        }
    }
}
