//! What a cluster uses and rackpool does not carry out, on every store.

use std::io::Write;
use std::process::{Output, Stdio};

use resources::loss::{self, Losses};
use serde_json::{Value as Json, json};
use servers::etcd_server::{self, EtcdServer};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use store::AnyStore;
use store::etcd::{EtcdOptions, EtcdStore};
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig};
use store::sqlite::{SqliteOptions, SqliteStore};

use super::{AGENT, WITHIN};

fn told(losses: &Losses) -> Vec<(&'static str, Vec<&str>)> {
    let objects = |loss: &'_ loss::Loss| loss.feature.word();
    losses
        .found
        .iter()
        .map(|loss| (objects(loss), loss.objects.iter().map(String::as_str).collect()))
        .collect()
}

#[tokio::test]
async fn on_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        AnyStore::Sqlite(SqliteStore::open(dir.path().join("s.db"), SqliteOptions::default()).unwrap());
    assert!(loss::losses(&store, WITHIN).await.unwrap().is_empty(), "there is no file yet");
    let spec = json!({"node": "n1", "interfaceName": "eth0"});
    let endpoint = json!({"metadata": {"name": "n1-eth0"}, "spec": spec});
    super::put(&store, api::Kind::HostEndpoint, endpoint).await;
    // A pool without encapsulation alone is no loss: rackpool routes it.
    let pool = json!({"metadata": {"name": "p"}, "spec": {"cidr": "10.1.0.0/16"}});
    super::put(&store, api::Kind::IPPool, pool).await;
    let losses = loss::losses(&store, WITHIN).await.unwrap();
    assert_eq!(told(&losses), [("hostendpoint", vec!["hostendpoints.projectcalico.org n1-eth0"])]);
    assert_eq!(losses.unknown, []);
}

#[tokio::test]
async fn on_etcd_beside_calico() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let endpoints = vec![server.endpoint()];
    let store = AnyStore::Etcd(EtcdStore::open(EtcdOptions { endpoints, ..EtcdOptions::default() }).unwrap());
    let put = |rows: &[(&str, Json)]| {
        let pair = |(key, value): &(&str, Json)| {
            (format!("/calico/resources/v3/projectcalico.org/{key}"), value.to_string())
        };
        server.put_all(rows.iter().map(pair));
    };
    let named = |name: &str, spec: Json| json!({"metadata": {"name": name}, "spec": spec});
    put(&[
        ("ippools/p", named("p", json!({"cidr": "10.1.0.0/16", "ipipMode": "Never", "vxlanMode": "Never"}))),
        ("ippools/q", named("q", json!({"cidr": "10.2.0.0/16", "ipipMode": "Never", "vxlanMode": "Always"}))),
        ("profiles/net", named("net", json!({}))),
    ]);
    assert!(loss::losses(&store, WITHIN).await.unwrap().is_empty());
    // A node of Calico's, which needs to hear of routes; and one whose Felix is gone.
    server.put_all([
        ("/calico/felix/v2/no-region/host/n7/status".to_string(), "{}".to_string()),
        ("/calico/felix/v2/no-region/host/n8/last_reported_status".to_string(), "{}".to_string()),
    ]);
    let policy = json!({"metadata": {"name": "default.deny", "namespace": "prod"}, "spec": {}});
    put(&[
        ("networkpolicies/prod/default.deny", policy),
        ("globalnetworkpolicies/default.all", json!("no object")),
        (
            "felixconfigurations/default",
            named("default", json!({"wireguardEnabled": true, "bpfEnabled": true})),
        ),
        ("felixconfigurations/node.n1", named("node.n1", json!({"wireguardEnabled": false}))),
        ("bgppeers/tor", named("tor", json!({"peerIP": "192.0.2.1", "asNumber": 64512}))),
    ]);
    let losses = loss::losses(&store, WITHIN).await.unwrap();
    let wanted = [
        (
            "policy",
            vec![
                "globalnetworkpolicies.projectcalico.org default.all",
                "networkpolicies.projectcalico.org prod/default.deny",
            ],
        ),
        ("wireguard", vec!["felixconfigurations.projectcalico.org default (wireguardEnabled)"]),
        ("ebpf", vec!["felixconfigurations.projectcalico.org default (bpfEnabled)"]),
        (
            "bgp",
            vec!["bgppeers.projectcalico.org tor", "the mesh between Calico's nodes (host n7) for pool p"],
        ),
    ];
    assert_eq!(told(&losses), wanted);
    put(&[("bgpconfigurations/default", named("default", json!({"nodeToNodeMeshEnabled": false})))]);
    let losses = loss::losses(&store, WITHIN).await.unwrap();
    assert_eq!(told(&losses)[3], ("bgp", vec!["bgppeers.projectcalico.org tor"]));
}

fn kubectl(server: &KubeServer, arguments: &[&str], input: &Json) -> Output {
    let mut command = server.kubectl(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn apply(server: &KubeServer, object: &Json) {
    let out = kubectl(server, &["apply", "-f", "-"], object);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The definition of a kind that Calico's manifests install and ours do not.
fn definition(kind: &str, plural: &str) -> Json {
    definition_in("crd.projectcalico.org", kind, plural)
}

fn definition_in(group: &str, kind: &str, plural: &str) -> Json {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {"group": group, "scope": "Cluster", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

#[tokio::test]
async fn on_kubernetes() {
    if kube_server::is_left_out() {
        return;
    }
    let server = KubeServer::start(
        KubeServerOptions::new().user("reader", &[]).user("stranger", &[]).user(AGENT, &[]),
    );
    let deploy = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
    server.apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")]);
    apply(
        &server,
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "calicoctl-reader"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}]}),
    );
    let open = |user: &str| {
        let kubeconfig = Some(Kubeconfig::Files(vec![server.kubeconfig_of(user)]));
        AnyStore::Kubernetes(KubeStore::open(KubeOptions { kubeconfig, ..KubeOptions::default() }).unwrap())
    };
    // Kinds that the server does not have are not used; the reader's rights are enough.
    let reader = open("reader");
    let nothing = loss::losses(&reader, WITHIN).await.unwrap();
    assert!(nothing.is_empty(), "{nothing}");

    apply(&server, &definition("FelixConfiguration", "felixconfigurations"));
    let crd = |kind: &str, name: &str, spec: Json| json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "default"}, "spec": {"podSelector": {}}});
    let pod =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let agent = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "calico-node", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}});
    apply(&server, &policy);
    apply(&server, &agent);
    apply(&server, &crd("IPPool", "p", json!({"cidr": "10.1.0.0/16", "ipipMode": "Always"})));
    // The server may take a moment to serve what was just defined.
    let felix = crd("FelixConfiguration", "default", json!({"bpfEnabled": true}));
    while !kubectl(&server, &["apply", "-f", "-"], &felix).status.success() {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let losses = loss::losses(&reader, WITHIN).await.unwrap();
    let wanted = [
        ("policy", vec!["networkpolicies.networking.k8s.io default/deny"]),
        ("ebpf", vec!["felixconfigurations.projectcalico.org default (bpfEnabled)"]),
        ("bgp", vec!["the mesh between Calico's nodes (DaemonSet kube-system/calico-node) for pool p"]),
    ];
    assert_eq!((told(&losses), losses.unknown.len()), (wanted.to_vec(), 0));

    // The agent may look, too, and at kinds of policies that come with other networks.
    let of_policies = "policy.networking.k8s.io";
    for (kind, plural) in [
        ("AdminNetworkPolicy", "adminnetworkpolicies"),
        ("BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies"),
        ("ClusterNetworkPolicy", "clusternetworkpolicies"),
    ] {
        apply(&server, &definition_in(of_policies, kind, plural));
        let policy =
            json!({"apiVersion": format!("{of_policies}/v1"), "kind": kind, "metadata": {"name": "p"}});
        while !kubectl(&server, &["apply", "-f", "-"], &policy).status.success() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    let losses = loss::losses(&open(AGENT), WITHIN).await.unwrap();
    let wanted = [
        "adminnetworkpolicies.policy.networking.k8s.io p",
        "baselineadminnetworkpolicies.policy.networking.k8s.io p",
        "clusternetworkpolicies.policy.networking.k8s.io p",
        "networkpolicies.networking.k8s.io default/deny",
    ];
    let policies = told(&losses).into_iter().find(|(feature, _)| *feature == "policy").unwrap().1;
    assert_eq!((policies, losses.unknown.len()), (wanted.to_vec(), 0));

    // Who may not look does not know, and nothing is taken for granted.
    let losses = loss::losses(&open("stranger"), WITHIN).await.unwrap();
    assert_eq!(losses.words(), "policy,hostendpoint,wireguard,ebpf,bgp");
    let text = losses.to_string();
    for part in [
        "policy: nobody knows, for networkpolicies.networking.k8s.io cannot be listed",
        "Give stranger a role",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
