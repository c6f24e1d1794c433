//! The profiles of networks, and the labels that Mesos gives.

use std::process::Command;

use api::{Key, Kind, Resource};
use serde_json::json;
use servers::etcd_server::{self, EtcdServer};

use crate::harness::{Container, Node, run};

fn stored(node: &Node, name: &str) -> Option<String> {
    node.stored(&Key::global(Kind::Profile, name))
}

/// The stored text without the fields that differ in each run.
fn without_identity(text: &str) -> String {
    let metadata = text.find(r#","uid":""#).unwrap();
    let end = text.find(r#"Z"},"#).unwrap();
    format!("{}{}", &text[..metadata], &text[end + 2..])
}

#[test]
fn a_network_has_a_profile_where_nobody_sees_to_policy() {
    let Some(node) = Node::new() else { return };
    let start = r#"{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{"name":"net"},"spec":{"ingress":"#;
    let end = r#","egress":[{"action":"Allow"}],"labelsToApply":{"net":""}}}"#;
    for (pod, ingress) in [
        ("", r#"[{"action":"Allow","source":{"selector":"has(net)"}}]"#),
        ("pod-a", r#"[{"action":"Allow"}]"#),
    ] {
        let container = Container::new("aaaa", pod);
        let kubernetes = json!({"policy": {"type": "none"}});
        node.call("ADD", &container, kubernetes.clone()).addresses();
        assert_eq!(stored(&node, "net"), None, "somebody else sees to it");
        assert_eq!(node.call("DEL", &container, kubernetes).code, 0);

        node.add(&container).addresses();
        let first = stored(&node, "net").unwrap();
        assert_eq!(without_identity(&first), format!("{start}{ingress}{end}"));
        // An existing profile stays as it is: other containers of the network use it, too.
        assert_eq!(node.del(&container).code, 0);
        assert_eq!(stored(&node, "net").as_ref(), Some(&first));
        node.add(&container).addresses();
        assert_eq!(stored(&node, "net").as_ref(), Some(&first));
        assert_eq!(node.del(&container).code, 0);
        node.forget_profile("net");
    }
}

#[test]
fn a_network_whose_name_is_no_profiles_is_refused_before_anything_is_done() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "");
    for name in ["Net", "my_net", "net-"] {
        let msg = node.call("ADD", &container, json!({"name": name})).error();
        assert!(msg.contains(name) && msg.contains("policy.type is not set"), "{msg}");
        assert_eq!((stored(&node, name), node.in_use(), node.endpoints().len()), (None, 0, 0));
        assert_eq!(node.call("DEL", &container, json!({"name": name})).code, 0);
    }
}

#[test]
fn many_at_once_make_one_profile() {
    let Some(node) = Node::new() else { return };
    let containers: Vec<_> = (0..4).map(|at| Container::new(&format!("c{at}"), "")).collect();
    std::thread::scope(|scope| {
        let adds: Vec<_> = containers.iter().map(|container| scope.spawn(|| node.add(container))).collect();
        for add in adds {
            add.join().unwrap().addresses();
        }
    });
    assert!(stored(&node, "net").is_some());
}

#[test]
fn labels_of_mesos_reach_the_endpoint() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "");
    let label = |key: &str, value: &str| json!({"key": key, "value": value});
    let labels = |list: serde_json::Value| json!({"args": {"org.apache.mesos": {"network_info": {"name": "n", "labels": {"labels": list}}}}});
    let all = labels(json!([
        label("projectcalico.org/namespace", "team-a"),
        label("role", "web server"),
        label("org.example/tier", "1"),
    ]));
    node.call("ADD", &container, all.clone()).addresses();
    let endpoint = node.endpoints().remove(0);
    let metadata = endpoint.metadata();
    let pairs: Vec<_> = metadata.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        pairs,
        [
            "org.example.tier=1",
            "projectcalico.org/namespace=team-a",
            "projectcalico.org/orchestrator=cni",
            "role=web-server"
        ]
    );
    assert_eq!(metadata.namespace.as_deref(), Some("team-a"));
    assert_eq!(node.call("CHECK", &container, all.clone()).code, 0);
    assert_eq!(node.call("DEL", &container, all).code, 0);
    assert_eq!((node.endpoints().len(), node.in_use()), (0, 0));

    let twice = node.call("ADD", &container, labels(json!([label("a/b", "1"), label("a.b", "2")])));
    assert!(twice.stderr.contains("the label a/b=1 of Mesos has no place"), "{}", twice.stderr);
    assert_eq!(node.del(&container).code, 0);
    let wrong = node.call("ADD", &container, labels(json!([label("é", "1")]))).error();
    assert!(wrong.contains("Metadata.Labels"), "{wrong}");
    let wrong = node.call("ADD", &container, labels(json!("x"))).error();
    assert!(wrong.contains("network_info.labels.labels is \"x\""), "{wrong}");
    assert_eq!((node.endpoints().len(), node.in_use()), (0, 0));
}

/// The profile in etcd equals the one that Calico's plugin writes, byte for byte.
#[test]
fn the_profile_in_etcd() {
    if etcd_server::is_left_out() {
        return;
    }
    let Some(node) = Node::new() else { return };
    node.host.run(|| {
        let server = EtcdServer::start();
        let endpoint = server.endpoint();
        node.with_client_of(&[("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", &endpoint)], async |client| {
            client.ensure_initialised().await.unwrap();
            for (kind, name, spec) in [
                (Kind::Node, "n1", json!({})),
                (Kind::IPPool, "v4", json!({"cidr": "10.5.0.0/24", "nodeSelector": "all()"})),
            ] {
                let resource = Resource::from_json(kind, json!({"metadata": {"name": name}, "spec": spec}));
                client.create(&resource.unwrap()).await.unwrap();
            }
        });
        let container = Container::new("aaaa", "");
        let configuration = node.configuration(json!({"datastore_type": "etcdv3", "etcd_endpoints": endpoint,
            "ipam": {"type": "calico-ipam"}}));
        let call = |command| run(&[], container.environment(command, &node.bin), &configuration);
        let requests = || server.handled().values().sum::<u64>();
        assert_eq!(call("ADD").addresses().len(), 1);
        let path = "/calico/resources/v3/projectcalico.org/profiles/net";
        let mut etcdctl = Command::new("etcdctl");
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint, "get", "--print-value-only", path]);
        let text = String::from_utf8(etcdctl.output().unwrap().stdout).unwrap();
        assert_eq!(
            without_identity(text.trim_end()),
            r#"{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{"name":"net"},"spec":{"ingress":[{"action":"Allow","source":{"selector":"has(net)"}}],"egress":[{"action":"Allow"}],"labelsToApply":{"net":""}}}"#
        );
        assert_eq!(call("DEL").code, 0);
        let before = requests();
        assert_eq!(call("ADD").addresses().len(), 1);
        let asked = requests() - before;
        // The check for the profile takes no request of its own: it is in the request that checks the
        // datastore's lock.
        let mut other = configuration.clone();
        other["policy"] = json!({"type": "none"});
        assert_eq!(call("DEL").code, 0);
        let before = requests();
        assert_eq!(run(&[], container.environment("ADD", &node.bin), &other).addresses().len(), 1);
        assert_eq!(requests() - before, asked, "the profile takes no question of its own");
        assert_eq!(call("DEL").code, 0);
    });
}
