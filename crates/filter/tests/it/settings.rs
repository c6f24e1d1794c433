//! Fields of a FelixConfiguration.

use filter::{Exclusions, Interfaces, Settings, rules};
use serde_json::{Value as Json, json};

use crate::world::{addr, cidr};

fn configuration(name: &str, spec: Json) -> Json {
    json!({"kind": "FelixConfiguration", "metadata": {"name": name}, "spec": spec})
}

#[test]
fn what_is_set() {
    let mut settings = Settings::default();
    assert_eq!(settings.take(&configuration("default", json!({}))), []);
    assert_eq!(settings.take(&Json::Null), []);
    assert_eq!(settings, Settings::default());
    let told = settings.take(&configuration(
        "default",
        json!({
            "vxlanPort": 4790, "vxlanVNI": 4097, "natOutgoingExclusions": "IPPoolsAndHostIPs",
            "natOutgoingAddress": "10.0.0.1", "natPortRange": "1000:2000",
            "iptablesNATOutgoingInterfaceFilter": "eth+", "externalNodesList": ["192.0.2.1", "192.0.3.0/24"],
            "allowVXLANPacketsFromWorkloads": true, "allowIPIPPacketsFromWorkloads": true,
            "logSeverityScreen": "Info",
        }),
    ));
    assert_eq!(told, []);
    let wanted = Settings {
        vxlan_port: 4790,
        vxlan_vni: 4097,
        exclusions: Exclusions::PoolsAndNodes,
        nat_address: Some(addr("10.0.0.1")),
        nat_ports: Some((1000, 2000)),
        nat_interfaces: Interfaces::parse("eth+").unwrap(),
        external_nodes: vec![cidr("192.0.2.1/32"), cidr("192.0.3.0/24")],
        pods_send_vxlan: true,
        pods_send_ipip: true,
    };
    assert_eq!(settings, wanted);
    // What the node's own configuration does not say stays as it is for all nodes.
    settings
        .take(&configuration("node.n1", json!({"natPortRange": 3000, "natOutgoingAddress": "2001:db8::1"})));
    let own = Settings { nat_ports: Some((3000, 3000)), nat_address: Some(addr("2001:db8::1")), ..wanted };
    assert_eq!(settings, own);
}

/// Each unusable value is told with its field, and counts for nothing.
#[test]
fn what_says_nothing() {
    for (field, value) in [
        ("vxlanPort", json!(0)),
        ("vxlanPort", json!(65536)),
        ("vxlanPort", json!("4789")),
        ("vxlanVNI", json!(1 << 24)),
        ("natOutgoingExclusions", json!("None")),
        ("natOutgoingAddress", json!("10.0.0.1/32")),
        ("natOutgoingAddress", json!("0.0.0.0")),
        ("natOutgoingAddress", json!("224.0.0.1")),
        ("natPortRange", json!("2000:1000")),
        ("natPortRange", json!("0:1")),
        ("natPortRange", json!("a")),
        ("iptablesNATOutgoingInterfaceFilter", json!("eth0; drop")),
        ("externalNodesList", json!(["10.0.0.1", "x"])),
        ("externalNodesList", json!("10.0.0.1")),
        ("allowVXLANPacketsFromWorkloads", json!("true")),
    ] {
        let mut settings = Settings::default();
        let mut spec = json!({});
        spec[field] = value.clone();
        let told = settings.take(&configuration("default", spec));
        assert_eq!(settings, Settings::default(), "{field} {value}");
        let [told] = told.as_slice() else { panic!("{field} {value}: {told:?}") };
        let told = told.to_string();
        assert!(told.starts_with(&format!("FelixConfiguration(default): spec.{field} is {value}")), "{told}");
    }
}

#[test]
fn pods_of_endpoints() {
    let endpoint = |spec: Json| {
        let key = api::Key::Resource {
            kind: api::Kind::WorkloadEndpoint,
            namespace: Some("default".into()),
            name: "n1-k8s-web-eth0".into(),
        };
        let json = json!({"metadata": {"name": "n1-k8s-web-eth0", "namespace": "default"}, "spec": spec});
        match api::Value::from_stored_text(&key, &json.to_string()).unwrap() {
            api::Value::Resource(resource) => rules::pod(&resource),
            other => panic!("{other:?}"),
        }
    };
    let found = endpoint(json!({"interfaceName": "cali1", "ipNetworks": ["10.81.1.2/32", "2001:db8::1/128"],
        "allowSpoofedSourcePrefixes": ["10.99.0.0/24", "192.0.2.1", "x"]}));
    let (interface, networks) = found.unwrap().unwrap();
    assert_eq!(interface.as_str(), "cali1");
    let wanted = ["10.81.1.2/32", "10.99.0.0/24", "192.0.2.1/32", "2001:db8::1/128"];
    assert_eq!(networks, wanted.map(cidr));
    assert_eq!(endpoint(json!({"ipNetworks": ["10.81.1.2/32"]})).unwrap(), None);
    assert!(endpoint(json!({"interfaceName": "cali1\" accept"})).is_err());
}
