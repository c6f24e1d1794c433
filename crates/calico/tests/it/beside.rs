//! Containers that already have an interface of another plugin's network, and wishes of runtimes other than
//! Kubernetes'.

use serde_json::json;

use crate::harness::{Container, Namespace, Node};

impl Namespace {
    /// Gives the container a bridge's network: an interface with addresses and default routes of both
    /// families.
    fn other_network(&self) {
        for line in [
            "link set lo up",
            "link add net0 type veth peer name net0-peer",
            "link set net0 up",
            "link set net0-peer up",
            "addr add 172.31.0.2/24 dev net0",
            "route add default via 172.31.0.1",
            "addr add fd00:31::2/64 dev net0 nodad",
            "-6 route add default via fd00:31::1",
        ] {
            self.ip(&line.split(' ').collect::<Vec<_>>());
        }
    }

    fn defaults(&self) -> Vec<String> {
        let text = self.ip(&["route", "show", "default"]) + &self.ip(&["-6", "route", "show", "default"]);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

#[test]
fn the_default_routes_of_another_network_stay_first() {
    let Some(node) = Node::new() else { return };
    for pod in ["pod-a", ""] {
        let mut container = Container::new("aaaa", pod);
        container.interface = "eth1";
        container.netns.other_network();
        let before = container.netns.defaults();
        let answer = node.add(&container);
        assert_eq!(answer.addresses().len(), 2);
        let defaults = container.netns.defaults();
        assert_eq!(defaults.len(), 4, "{defaults:?}");
        let places = defaults.iter().map(|line| line.contains("dev net0")).collect::<Vec<_>>();
        assert_eq!(places, [true, false, true, false], "{defaults:?}");
        assert!(defaults[1].contains("via 169.254.1.1 dev eth1 metric 1"), "{defaults:?}");
        assert!(defaults[3].contains("dev eth1 metric 1025"), "{defaults:?}");
        for family in ["0.0.0.0/0", "::/0"] {
            let line = format!("the container has a route to {family} already (via ");
            assert!(answer.stderr.contains(&line), "{}", answer.stderr);
        }
        assert_eq!((node.check(&container).code, node.del(&container).code), (0, 0));
        assert_eq!(container.netns.defaults(), before);

        let failed = node.call("ADD", &container, json!({"mtu": 20})).error();
        assert!(failed.contains("MTU"), "{failed}");
        assert_eq!((container.netns.defaults(), node.in_use()), (before, 0));
    }
}

#[test]
fn a_hardware_address_and_addresses_by_name() {
    let Some(node) = Node::new() else { return };
    let names =
        |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<std::net::IpAddr>>();
    for pod in ["", "pod-a"] {
        let mut container = Container::new("aaaa", pod);
        container.args = "MAC=02:00:00:00:00:17;IP=10.5.0.77".to_string();
        assert_eq!(node.add(&container).addresses(), names(&["10.5.0.77"]));
        assert!(container.netns.ip(&["link", "show", "eth0"]).contains("link/ether 02:00:00:00:00:17"));
        assert_eq!((node.check(&container).code, node.del(&container).code, node.in_use()), (0, 0, 0));

        container.args = String::new();
        let asked =
            json!({"runtimeConfig": {"mac": "02:00:00:00:00:18", "ips": ["10.5.0.78/24", "fd00:5::78"]}});
        assert_eq!(
            node.call("ADD", &container, asked.clone()).addresses(),
            names(&["10.5.0.78", "fd00:5::78"])
        );
        assert!(container.netns.ip(&["link", "show", "eth0"]).contains("link/ether 02:00:00:00:00:18"));
        assert_eq!((node.check(&container).code, node.call("DEL", &container, asked).code), (0, 0));
        for (wrong, told) in [
            (json!({"runtimeConfig": {"mac": "x"}}), "runtimeConfig.mac: address x: invalid MAC address"),
            (json!({"runtimeConfig": {"ips": ["x"]}}), "runtimeConfig.ips holds \"x\""),
        ] {
            assert!(node.call("ADD", &container, wrong).error().contains(told), "{told}");
        }
        assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
    }
}

/// No route can come after one with the highest metric. The interface that the container already has stays as
/// it was.
#[test]
fn a_route_that_leaves_no_room_is_named() {
    let Some(node) = Node::new() else { return };
    for pod in ["pod-a", ""] {
        let mut container = Container::new("aaaa", pod);
        container.interface = "eth1";
        container.netns.other_network();
        container.netns.ip(&["route", "replace", "default", "via", "172.31.0.1", "metric", "4294967295"]);
        let before = container.netns.defaults();
        let msg = node.add(&container).error();
        assert!(msg.contains("0.0.0.0/0 (via 172.31.0.1 dev net0 metric 4294967295)"), "{msg}");
        assert_eq!((container.netns.defaults(), node.in_use()), (before, 0));
        assert_eq!((node.endpoints().len(), node.host.interfaces().len()), (0, 0));
    }
}
