//! Configurations of routers, in each language.

use std::collections::BTreeSet;

use routes::configuration::{self, Language};
use routes::{Aggregation, Router};
use serde_json::json;

use crate::world::{World, addr};

fn world() -> World {
    let mut world = World::new();
    for (rack, network) in [("0", "10.0.0.0/16"), ("1", "10.1.0.0/16"), ("2", "10.2.0.0/16")] {
        world.pool(&format!("rack-{rack}"), network, json!({"nodeSelector": format!("rack == '{rack}'")}));
    }
    world.pool("six", "fd00::/112", json!({"nodeSelector": "rack == '0'"}));
    world.node("a", "10.100.0.1/24", "0", json!({"ipv6Address": "fd01::1/64"}));
    world.node("b\nroute 0.0.0.0/0 via 6.6.6.6;", "10.100.0.2/24", "0", json!({}));
    world.node("c", "10.100.1.1/24", "1", json!({}));
    world.block("10.0.7.0/26", Some("b\nroute 0.0.0.0/0 via 6.6.6.6;"), &[]);
    world
}

fn written(aggregation: Aggregation, language: Language) -> String {
    let beside = BTreeSet::from([Some("0".to_string()), Some("1".to_string())]);
    let router = Router { beside, via: vec![addr("10.200.0.1")], aggregation, gateways: 2 };
    configuration::of(&world().router(&router), language)
}

#[test]
fn bird() {
    assert_eq!(
        written(Aggregation::Node, Language::Bird),
        "\
protocol static rackpool4 {
  ipv4;
  # rack 0
  route 10.0.0.0/16 via 10.100.0.1 via 10.100.0.2;
  # rack 1
  route 10.1.0.0/16 via 10.100.1.1;
  # rack 2
  route 10.2.0.0/16 via 10.200.0.1;
}
protocol static rackpool6 {
  ipv6;
  # rack 0
  route fd00::/112 via fd01::1;
}
"
    );
}

#[test]
fn frr() {
    assert_eq!(
        written(Aggregation::Node, Language::Frr),
        "\
! rack 0
ip route 10.0.0.0/16 10.100.0.1
ip route 10.0.0.0/16 10.100.0.2
! rack 1
ip route 10.1.0.0/16 10.100.1.1
! rack 2
ip route 10.2.0.0/16 10.200.0.1
! rack 0
ipv6 route fd00::/112 fd01::1
"
    );
}

/// The names of nodes come from others.
#[test]
fn no_name_writes_a_line() {
    assert_eq!(
        written(Aggregation::Tor, Language::Ip),
        "\
# own rack 0: what no block holds
ip route replace unreachable 10.0.0.0/16 proto static
# block of b?route 0.0.0.0/0 via 6.6.6.6?, pool rack-0
ip route replace 10.0.7.0/26 via 10.100.0.2 proto static
# own rack 1: what no block holds
ip route replace unreachable 10.1.0.0/16 proto static
# rack 2
ip route replace 10.2.0.0/16 via 10.200.0.1 proto static
# own rack 0: what no block holds
ip -6 route replace unreachable fd00::/112 proto static
"
    );
    let node = written(Aggregation::Node, Language::Ip);
    let both = "ip route replace 10.0.0.0/16 proto static nexthop via 10.100.0.1 nexthop via 10.100.0.2\n";
    assert!(node.contains(both), "{node}");
}
