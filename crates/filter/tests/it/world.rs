//! Rules for tests: those of a node with pools, tunnels and pods of both families.

use std::net::IpAddr;

use api::{Cidr, Key, Kind, Record, Revision, Value};
use filter::{Interface, Rules, Settings};
use routes::destination::Destinations;
use routes::{Exported, Known, Options, Racks, Snapshot, node};
use serde_json::{Value as Json, json};

pub fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn resource(kind: Kind, name: &str, spec: Json) -> Record {
    let key = Key::global(kind, name);
    let json = json!({"metadata": {"name": name}, "spec": spec});
    let value = Value::from_stored_text(&key, &json.to_string()).unwrap();
    Record { key, value, revision: Revision::from(1) }
}

/// The rules of the node `n1` of a cluster of two, by the same way as an agent makes them.
pub fn rules_of(pools: &[(&str, Json)], settings: Settings) -> Rules {
    let mut snapshot = Snapshot::new(Known::ByBlocks);
    for (number, name) in [(1, "n1"), (2, "n2")] {
        let spec = json!({
            "bgp": {
                "ipv4Address": format!("10.77.1.{number}/24"),
                "ipv6Address": format!("2001:db8:77::{number}/64"),
                "ipv4IPIPTunnelAddr": format!("10.83.0.{number}"),
            },
            "ipv4VXLANTunnelAddr": format!("10.81.{number}.1"),
            "ipv6VXLANTunnelAddr": format!("2001:db8:81:{number}::1"),
            "addresses": [
                {"address": format!("10.77.1.{number}"), "type": "InternalIP"},
                {"address": format!("198.51.100.{number}"), "type": "ExternalIP"},
            ],
        });
        snapshot.take(&resource(Kind::Node, name, spec));
    }
    let internal = json!({"addresses": [{"address": "10.77.1.3", "type": "InternalIP"},
        {"address": "198.51.100.3", "type": "ExternalIP"}]});
    snapshot.take(&resource(Kind::Node, "n3", internal));
    for (nth, (network, fields)) in pools.iter().enumerate() {
        let mut spec = json!({"cidr": network});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        snapshot.take(&resource(Kind::IPPool, &format!("pool-{nth}"), spec));
    }
    let destinations = Destinations::of(&snapshot);
    let racks = Racks::of(&destinations, None, Exported::Plain);
    let desired = node::desired(&destinations, &racks, "n1", &Options::default()).unwrap();
    Rules::of(&snapshot, &desired, settings)
}

/// Pools of every kind.
pub fn every_pool() -> Vec<(&'static str, Json)> {
    vec![
        ("10.81.0.0/16", json!({"vxlanMode": "Always", "natOutgoing": true})),
        ("10.81.128.0/20", json!({"vxlanMode": "CrossSubnet", "natOutgoing": true})),
        ("10.82.0.0/16", json!({"natOutgoing": false})),
        ("10.83.0.0/16", json!({"ipipMode": "Always", "natOutgoing": true})),
        ("10.84.0.0/16", json!({"disabled": true})),
        ("10.85.0.0/24", json!({"allowedUses": ["LoadBalancer"], "natOutgoing": true})),
        ("2001:db8:81::/48", json!({"vxlanMode": "Always", "natOutgoing": true})),
        ("2001:db8:82::/48", json!({})),
    ]
}

pub fn with_pods(mut rules: Rules, pods: &[(&str, &[&str])]) -> Rules {
    for (name, networks) in pods {
        let networks = networks.iter().map(|network| cidr(network)).collect();
        rules.pods.insert(Interface::parse(name).unwrap(), networks);
    }
    rules
}
