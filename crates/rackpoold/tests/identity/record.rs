//! What the Node says on a store of our own, and that nothing else in it changes.

use api::Kind;
use rackpoold::node::name::{MACHINE_ANNOTATION, MachineId};
use rackpoold::node::record::{RecordError, Says, Written, told_interfaces};
use routes::tunnel::Kind as Tunnel;
use serde_json::json;

use crate::detect::interfaces;
use crate::home::{Home, block_on};

pub fn machine() -> MachineId {
    MachineId::of("0123456789abcdef0123456789abcdef").unwrap()
}

/// All that a node says of itself.
pub fn everything() -> Says {
    let host = interfaces(&[
        ("lo", &["127.0.0.1/8 l"]),
        ("eth0", &["10.1.0.5/24", "2001:db8::5/64", "fe80::1/64 l"]),
        ("docker0", &["172.17.0.1/16"]),
        ("eth1", &["fe80::2/64 l"]),
    ]);
    Says {
        v4: Some("10.1.0.5/24".parse().unwrap()),
        v6: Some("2001:db8::5/64".parse().unwrap()),
        interfaces: Some(told_interfaces(&host)),
        as_number: Some(64512),
        kubernetes_node: Some("kube-1".to_string()),
        machine: Some(machine()),
        tunnels: [
            (Tunnel::Ipip, Some("10.0.0.1".parse().unwrap())),
            (Tunnel::Vxlan, Some("10.2.0.1".parse().unwrap())),
            (Tunnel::VxlanV6, Some("fd00::1".parse().unwrap())),
        ]
        .into(),
    }
}

/// What a node that runs Felix needs to find in our node's record, field by field.
pub async fn says_everything(home: &Home) {
    let record = home.record("n1");
    assert!(record.read().await.unwrap().node.is_none());
    assert_eq!(record.write(&everything()).await.unwrap(), Written::Created);
    let node = home.node("n1").await;
    assert_eq!(
        node["spec"],
        json!({
            "bgp": {"asNumber": 64512, "ipv4Address": "10.1.0.5/24", "ipv6Address": "2001:db8::5/64",
                "ipv4IPIPTunnelAddr": "10.0.0.1"},
            "ipv4VXLANTunnelAddr": "10.2.0.1",
            "ipv6VXLANTunnelAddr": "fd00::1",
            "orchRefs": [{"nodeName": "kube-1", "orchestrator": "k8s"}],
            "interfaces": [{"name": "eth0", "addresses": ["10.1.0.5", "2001:db8::5"]}],
        })
    );
    assert_eq!(node["metadata"]["annotations"][MACHINE_ANNOTATION], machine().as_str());
    assert!(node["metadata"]["uid"].is_string(), "{node}");

    // Nothing changes, so nothing is written.
    assert_eq!(record.write(&everything()).await.unwrap(), Written::Nothing);
    assert_eq!(record.write(&Says::default()).await.unwrap(), Written::Nothing);
    assert_eq!(home.node("n1").await, node);

    let holder = record.read().await.unwrap().holder;
    assert_eq!(holder.noted.as_deref(), Some(machine().as_str()));
    assert_eq!(holder.addresses.len(), 2);
}

/// What others have written stays.
pub async fn leaves_what_is_others(home: &Home) {
    let others = json!({
        "metadata": {"labels": {"rack": "1"}, "annotations": {"mine": "x"}},
        "spec": {
            "bgp": {"ipv4Address": "10.1.0.4/24", "routeReflectorClusterID": "1.0.0.1", "asNumber": 65000},
            "vxlanTunnelMACAddr": "66:00:00:00:00:01",
            "orchRefs": [{"nodeName": "z", "orchestrator": "openstack"}, {"nodeName": "old", "orchestrator": "k8s"}],
            "wireguard": {"interfaceIPv4Address": "10.9.0.1"},
            "ofTheFuture": {"a": 1},
        },
        "status": {"wireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY="},
    });
    home.put(Kind::Node, "n2", others.clone()).await;
    let says = Says {
        v4: Some("10.1.0.5/24".parse().unwrap()),
        kubernetes_node: Some("kube-2".to_string()),
        tunnels: [(Tunnel::Vxlan, Some("10.2.0.2".parse().unwrap()))].into(),
        ..Says::default()
    };
    let Written::Changed(what) = home.record("n2").write(&says).await.unwrap() else {
        panic!("it was not changed")
    };
    assert_eq!(what.len(), 3, "{what:?}");
    assert!(what[0].contains("spec.bgp.ipv4Address: 10.1.0.5/24"), "{what:?}");
    let node = home.node("n2").await;
    let mut expected = others["spec"].clone();
    expected["bgp"]["ipv4Address"] = "10.1.0.5/24".into();
    expected["ipv4VXLANTunnelAddr"] = "10.2.0.2".into();
    expected["orchRefs"] = json!([{"nodeName": "z", "orchestrator": "openstack"}, {"nodeName": "kube-2", "orchestrator": "k8s"}]);
    assert_eq!(node["spec"], expected);
    assert_eq!(node["metadata"]["labels"], json!({"rack": "1"}));
    assert_eq!(node["metadata"]["annotations"], json!({"mine": "x"}));
    assert_eq!(node["status"], others["status"]);
}

/// A field that is cleared leaves no empty `spec.bgp` behind: Felix takes such a node for deleted.
pub async fn clears_fields(home: &Home) {
    home.put(Kind::Node, "n3", json!({"spec": {"bgp": {"ipv4IPIPTunnelAddr": "10.0.0.3"}}})).await;
    let gone = |kind| Says { tunnels: [(kind, None)].into(), ..Says::default() };
    assert_eq!(home.record("n3").write(&gone(Tunnel::Vxlan)).await.unwrap(), Written::Nothing);
    let written = home.record("n3").write(&gone(Tunnel::Ipip)).await.unwrap();
    assert_eq!(written, Written::Changed(vec!["spec.bgp.ipv4IPIPTunnelAddr is gone".to_string()]));
    assert_eq!(home.node("n3").await["spec"], json!({}));
}

pub async fn refuses_taken_addresses(home: &Home) {
    home.put(Kind::Node, "n4", json!({"spec": {"bgp": {"ipv4Address": "10.4.0.4/24"}}})).await;
    let ask = async |name: &str, net: &str| home.record(name).refuse_taken(&[net.parse().unwrap()]).await;
    ask("n4", "10.4.0.4/24").await.unwrap();
    ask("n5", "10.4.0.5/24").await.unwrap();
    let error = ask("n5", "10.4.0.4/24").await.unwrap_err();
    assert!(
        matches!(&error, RecordError::Address(_)) && error.to_string().contains("Node(n4) has it"),
        "{error}"
    );
}

#[test]
fn on_the_embedded_store() {
    block_on(async {
        let home = Home::embedded();
        says_everything(&home).await;
        leaves_what_is_others(&home).await;
        clears_fields(&home).await;
        refuses_taken_addresses(&home).await;
    });
}

/// Writers of different fields lose nothing of each other's.
#[test]
fn two_writers_at_once() {
    block_on(async {
        let home = Home::embedded();
        let record = home.record("n1");
        let of = |v4: Option<&str>, v6: Option<&str>| Says {
            v4: v4.map(|net| net.parse().unwrap()),
            v6: v6.map(|net| net.parse().unwrap()),
            ..Says::default()
        };
        let (v4, v6) = (of(Some("10.0.0.1/24"), None), of(None, Some("fd00::1/64")));
        let (one, two) = tokio::join!(record.write(&v4), record.write(&v6));
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        let bgp = json!({"ipv4Address": "10.0.0.1/24", "ipv6Address": "fd00::1/64"});
        assert_eq!(home.node("n1").await["spec"]["bgp"], bgp);
    });
}
