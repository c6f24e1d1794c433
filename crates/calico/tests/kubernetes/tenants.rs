//! Pods with false annotations cannot get what belongs to other pods.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use crate::fixture::{Cluster, on_host};
use crate::harness::{Container, Node, run};

fn ok(answer: crate::harness::Answer) {
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// A pod with a container and an address, which another pod tries to get.
fn victim(cluster: &Cluster) -> (Container, IpAddr) {
    cluster.pod("victim", &[]);
    let container = Container::new("c1", "victim");
    let addr = cluster.add(&container).addresses()[0];
    (container, addr)
}

fn is_unharmed(cluster: &Cluster, (container, addr): &(Container, IpAddr)) {
    assert!(cluster.host().reaches(&container.netns, *addr));
    assert_eq!((cluster.annotation("victim", "podIP"), cluster.taken()), (format!("{addr}/32"), 1));
    ok(cluster.call("CHECK", container, json!({})));
}

/// A pod whose annotations falsely name the victim's container and address asks for that address.
#[test]
fn an_address_that_a_pod_calls_its_own() {
    on_host(|cluster| {
        let victim = victim(cluster);
        let addr = victim.1;
        let (network, list) = (format!("{addr}/32"), format!(r#"["{addr}"]"#));
        let said: [(&str, &str); 4] =
            [("podIP", &network), ("podIPs", &network), ("containerID", "c1"), ("ipAddrs", &list)];
        cluster.pod("thief", &said);
        for id in ["c2", "c1"] {
            let thief = Container::new(id, "thief");
            let msg = cluster.add(&thief).error();
            assert!(msg.contains(&addr.to_string()) && msg.contains("already assigned"), "{msg}");
            is_unharmed(cluster, &victim);
            if id == "c2" {
                for netns in [thief.netns.path(), String::new()] {
                    ok(cluster.call_at("DEL", &thief, &netns, json!({})));
                    is_unharmed(cluster, &victim);
                }
            }
        }
        ok(cluster.del(&victim.0));
        assert_eq!(cluster.taken(), 0);
    });
}

/// The address is asked for without IPAM, and as a floating address.
#[test]
fn an_address_that_nobody_was_to_record() {
    on_host(|cluster| {
        let victim = victim(cluster);
        let list = format!(r#"["{}"]"#, victim.1);
        let allowed = json!({"feature_control": {"ip_addrs_no_ipam": true, "floating_ips": true}});
        for name in ["ipAddrsNoIpam", "floatingIPs"] {
            let pod = name.to_lowercase();
            cluster.pod(&pod, &[(name, &list)]);
            let thief = Container::new("c2", &pod);
            let answer = cluster.call("ADD", &thief, allowed.clone());
            let msg = answer.error();
            assert!(msg.contains(name) && msg.contains(&victim.1.to_string()), "{msg}");
            assert!(
                !msg.contains("default/victim") && answer.stderr.contains("pod default/victim"),
                "{answer:?}"
            );
            is_unharmed(cluster, &victim);
            ok(cluster.call("DEL", &thief, allowed.clone()));
            is_unharmed(cluster, &victim);
        }
    });
}

/// In a store where the plugin itself writes the endpoints, a floating address leads to one pod until that
/// pod gives it up.
#[test]
fn a_floating_address_leads_to_one_pod() {
    on_host(|cluster| {
        let Some(node) = Node::new() else { return };
        let list = r#"["192.0.2.7","2001:db8::7"]"#;
        cluster.pod("holder", &[("floatingIPs", list)]);
        cluster.pod("second", &[("floatingIPs", r#"["192.0.2.8","::ffff:192.0.2.7"]"#)]);
        let more = json!({"policy": {"type": "k8s"}, "kubernetes": cluster.kubeconfig(), "feature_control": {"floating_ips": true}});
        let call = |command: &str, container: &Container| {
            run(&[], container.environment(command, &node.bin), &node.configuration(more.clone()))
        };
        let (first, second) = (Container::new("c1", "holder"), Container::new("c2", "second"));
        let addresses = call("ADD", &first).addresses();
        let answer = call("ADD", &second);
        let msg = answer.error();
        assert!(msg.contains("floatingIPs names 192.0.2.7, which leads to another workload"), "{msg}");
        assert!(!msg.contains("holder") && answer.stderr.contains("k8s-holder-eth0"), "{answer:?}");
        assert_eq!((node.endpoints().len(), node.in_use(), second.netns.interfaces().len()), (1, 2, 0));
        ok(call("DEL", &second));
        assert!(cluster.host().reaches(&first.netns, addresses[0]));
        // The pod's next container gets the floating address, too, even before the former one's DEL.
        let next = Container::new("c3", "holder");
        call("ADD", &next).addresses();
        ok(call("DEL", &first));
        assert!(call("ADD", &second).error().contains("192.0.2.7"));
        ok(call("DEL", &next));
        call("ADD", &second).addresses();
        ok(call("DEL", &second));
        assert_eq!((node.endpoints().len(), node.in_use()), (0, 0));
    });
}

/// If two pods ask for it at the same time, at most one gets it: each checks before and after its endpoint is
/// stored.
#[test]
fn a_floating_address_that_two_ask_for_at_once() {
    on_host(|cluster| {
        let Some(node) = Node::new() else { return };
        let more = json!({"policy": {"type": "k8s"}, "kubernetes": cluster.kubeconfig(), "feature_control": {"floating_ips": true}});
        for round in 0..4 {
            let containers = [0, 1].map(|side| {
                let name = format!("p{round}-{side}");
                cluster.pod(&name, &[("floatingIPs", r#"["192.0.2.7"]"#)]);
                Container::new(&format!("c{round}{side}"), &name)
            });
            let call = |command: &str, container: &Container| {
                run(&[], container.environment(command, &node.bin), &node.configuration(more.clone()))
            };
            let codes = std::thread::scope(|scope| {
                let adds = containers.each_ref().map(|container| scope.spawn(|| call("ADD", container)));
                adds.map(|add| add.join().unwrap().code)
            });
            let served = codes.iter().filter(|code| **code == 0).count();
            assert!(served < 2, "{codes:?}");
            assert_eq!((node.endpoints().len(), node.in_use()), (served, 2 * served));
            containers.iter().for_each(|container| ok(call("DEL", container)));
        }
    });
}

/// The pod's object has room for one interface. The DEL for the refused second one does not remove the first.
#[test]
fn a_second_interface_is_refused_and_the_first_goes_on() {
    on_host(|cluster| {
        let (mut container, addr) = victim(cluster);
        for name in ["net", "other"] {
            for is_calicos in [false, true] {
                if is_calicos {
                    for name in cluster.host().interfaces() {
                        cluster.host().ip(&["link", "set", "dev", &name, "alias", ""]);
                    }
                }
                container.interface = "net1";
                let msg = cluster.call("ADD", &container, json!({"name": name})).error();
                for part in ["c1", "as eth0 already", "cannot have net1"] {
                    assert!(msg.contains(part), "{msg}");
                }
                for netns in [container.netns.path(), String::new()] {
                    ok(cluster.call_at("DEL", &container, &netns, json!({"name": name})));
                    container.interface = "eth0";
                    let of_pod = (container, addr);
                    is_unharmed(cluster, &of_pod);
                    (container, _) = of_pod;
                    container.interface = "net1";
                }
            }
        }
        container.interface = "eth0";
        // The ADD of the first interface may be repeated.
        let again = cluster.add(&container).addresses()[0];
        assert!(cluster.host().reaches(&container.netns, again));
        ok(cluster.call_at("DEL", &container, "", json!({})));
        assert_eq!((cluster.taken(), cluster.host().interfaces().len()), (0, 0));
        assert_eq!(cluster.annotation("victim", "podIP"), "");
    });
}

/// A container that renames its interface cannot keep it after its DEL.
#[test]
fn an_interface_that_was_renamed_inside() {
    on_host(|cluster| {
        for interface in ["eth0", "net1"] {
            cluster.pod(interface, &[]);
            let mut container = Container::new("c1", interface);
            container.interface = interface;
            cluster.add(&container).addresses();
            container.netns.ip(&["link", "set", interface, "down"]);
            container.netns.ip(&["link", "set", interface, "name", "mine"]);
            ok(cluster.call_at("DEL", &container, "", json!({})));
            assert_eq!((cluster.taken(), cluster.host().interfaces().len()), (0, 0), "{interface}");
        }
    });
}

/// The pod's next container gets the same address. The old container's DEL comes late, and without any
/// details.
#[test]
fn a_named_address_goes_from_container_to_container() {
    on_host(|cluster| {
        cluster.pod("web-0", &[("ipAddrs", r#"["10.5.0.77"]"#)]);
        let (old, new) = (Container::new("c1", "web-0"), Container::new("c2", "web-0"));
        let addr = cluster.add(&old).addresses()[0];
        // A StatefulSet creates the pod anew, and the new object says nothing about the former container.
        cluster.kubectl(&["delete", "pod", "web-0", "--force", "--grace-period=0"], "");
        cluster.pod("web-0", &[("ipAddrs", r#"["10.5.0.77"]"#)]);
        assert_eq!(cluster.add(&new).addresses(), [addr]);
        assert!(old.netns.interfaces().is_empty());
        for netns in [String::new(), old.netns.path()] {
            ok(cluster.call_at("DEL", &old, &netns, json!({})));
            assert!(cluster.host().reaches(&new.netns, addr));
        }
        let result: Json = json!({"ips": [{"address": "10.5.0.77/32"}]});
        ok(cluster.call_at("DEL", &old, "", json!({"prevResult": result})));
        assert!(cluster.host().reaches(&new.netns, addr));
        assert_eq!((cluster.del(&new).code, cluster.taken()), (0, 0));
    });
}
