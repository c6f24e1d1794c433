//! Pools that are only for some namespaces.

use serde_json::{Value as Json, json};

use crate::fixture::{Cluster, Host, PLUGIN, cluster, namespace, node, pod, pool};
use crate::harness::{self, Machine};

fn teams(cluster: &Cluster) {
    cluster.apply(&[
        namespace("team-a", json!({"team": "a"})),
        namespace("team-b", json!({"team": "b"})),
        namespace("nobodys", json!({})),
        node("n1"),
        pool("pool-a", "10.1.0.0/16", selected("team == 'a'")),
        pool("pool-b", "10.2.0.0/16", selected("team == 'b'")),
        pool("pool-default", "10.3.0.0/16", selected("kubernetes.io/metadata.name == 'default'")),
    ]);
}

/// A pool's settings with a namespace selector. Such a pool is only for pods.
fn selected(selector: &str) -> Json {
    json!({"namespaceSelector": selector, "allowedUses": ["Workload"]})
}

#[test]
fn a_pods_namespace_chooses_the_pool() {
    let Some(cluster) = cluster() else { return };
    teams(&cluster);
    let host = Host::new(&cluster, "n1", PLUGIN);
    let test_namespace = "IgnoreUnknown=1;CNI_TEST_NAMESPACE=team-b".to_string();
    // A container that is no pod has a namespace as well.
    for (container, args, start) in [
        ("c1", pod("team-a", "web"), "10.1."),
        ("c2", pod("team-b", "web"), "10.2."),
        ("c3", pod("default", "web"), "10.3."),
        ("c4", String::new(), "10.3."),
        ("c5", test_namespace, "10.2."),
    ] {
        let addresses = host.run_with("ADD", container, &args).addresses();
        assert!(addresses[0].starts_with(start), "{args}: {addresses:?}");
    }
    let answer = host.run_with("ADD", "c6", &pod("nobodys", "web"));
    assert_eq!(answer.error(), (999, "no configured Calico pools for node n1".to_string()));
    // The labels count as they are at the time of the request.
    cluster.kubectl(&["label", "namespace", "team-a", "team=b", "--overwrite"]);
    assert!(host.run_with("ADD", "c7", &pod("team-a", "web")).addresses()[0].starts_with("10.2."));
}

#[test]
fn a_namespace_that_is_gone_gets_nothing() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    // The second name is no valid name of a namespace. The third would lead to the path of another object.
    for name in ["nope", "No Pe", "default?x", ".."] {
        let answer = host.run_with("ADD", "c1", &pod(name, "a"));
        let wanted = format!("failed to get namespace {name}: namespaces \"{name}\" not found");
        assert_eq!(answer.error(), (999, wanted));
    }
    assert_eq!((cluster.taken(), cluster.objects("ipamhandles").len()), (0, 0));
    // The pod's namespace does not exist. Its addresses are released all the same, and a named address is
    // assigned.
    assert_eq!(host.run_with("DEL", "c1", &pod("nope", "a")).code, Some(0));
    let by_name = format!("{};IP=10.0.0.9", pod("nope", "a"));
    assert_eq!(host.run_with("ADD", "c1", &by_name).addresses(), ["10.0.0.9/32"]);
}

/// If the configuration has no settings for Kubernetes besides those of the datastore, selectors see no
/// labels, as with Calico.
#[test]
fn nobody_is_asked_unless_the_configuration_says_so() {
    let Some(cluster) = cluster() else { return };
    teams(&cluster);
    let server = cluster.server;
    let host = Host::new(&cluster, "n1", PLUGIN);
    let kubernetes = json!({"k8s_api_root": server.endpoint()});
    let host = host.with("kubernetes", kubernetes).with(
        "policy",
        json!({"k8s_auth_token": server.token(PLUGIN),
        "k8s_certificate_authority": server.ca()}),
    );
    let (answer, requests) = cluster.counted(|| host.run_with("ADD", "c1", &pod("team-a", "web")));
    assert_eq!(answer.error(), (999, "no configured Calico pools for node n1".to_string()));
    assert!(!requests.iter().any(|request| request.uri.contains("namespaces")), "{requests:?}");
}

/// The labels come from Kubernetes; all other records are in another store.
#[test]
fn kubernetes_is_asked_beside_other_stores() {
    let Some(cluster) = cluster() else { return };
    teams(&cluster);
    let machine = Machine::new(&[
        harness::node("n1", json!({})),
        harness::pool("pool-a", "10.1.0.0/16", selected("team == 'a'")),
        harness::pool("pool-b", "10.2.0.0/16", selected("team == 'b'")),
    ]);
    let kubernetes = json!({"kubeconfig": cluster.server.kubeconfig_of(PLUGIN)});
    let conf = machine.conf(json!({"kubernetes": kubernetes, "policy": {"type": "k8s"}}));
    let (answer, requests) = cluster.counted(|| machine.run_with("ADD", "c1", &pod("team-b", "web"), &conf));
    assert!(answer.addresses()[0].starts_with("10.2."), "{answer:?}");
    let seen: Vec<_> = requests.iter().map(|request| request.uri.as_str()).collect();
    assert_eq!(seen, ["/api/v1/namespaces/team-b"]);
    let answer = machine.run_with("ADD", "c2", &pod("nope", "web"), &conf);
    answer.says(&["failed to get namespace nope: namespaces \"nope\" not found"]);
    assert_eq!(machine.taken().len(), 1);
    // A missing kubeconfig is reported before anything is changed.
    let conf = machine.conf(json!({"kubernetes": {"kubeconfig": "/nowhere/kubeconfig"}}));
    let answer = machine.run_with("ADD", "c3", &pod("team-b", "web"), &conf);
    answer.says(&["failed to get namespace team-b: ", "/nowhere/kubeconfig"]);
    assert_eq!(machine.run_with("DEL", "c3", &pod("team-b", "web"), &conf).code, Some(0));
}

#[cfg(feature = "etcd")]
#[test]
fn kubernetes_is_asked_beside_etcd() {
    let Some(cluster) = cluster() else { return };
    teams(&cluster);
    let etcd = cluster.server.etcd().endpoint();
    crate::fixture::fill_etcd(
        &cluster,
        &[
            harness::node("n1", json!({})),
            harness::pool("pool-a", "10.1.0.0/16", selected("team == 'a'")),
            harness::pool("pool-b", "10.2.0.0/16", selected("team == 'b'")),
        ],
    );
    let host = Host::new(&cluster, "n1", PLUGIN);
    let host = host.with("datastore_type", json!("etcdv3")).with("etcd_endpoints", json!(etcd));
    let addresses = host.run_with("ADD", "c1", &pod("team-b", "web")).addresses();
    assert!(addresses[0].starts_with("10.2."), "{addresses:?}");
}
