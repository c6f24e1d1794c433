//! From Calico to rackpool and back, on the objects that Calico has left on an API server: what its records
//! say stays, and everything fits together at each step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;
use store::testing::program_beside;

use crate::fixture::{Cluster, STRANGER, User, cluster, kubectl};

/// The recorded state: the guide's racks, with ten pods.
const RECORDED: &str = "kdd-v1/001-rack-guide/objects-after.json";

/// The kinds in the recorded state that are custom resources, in the order in which they are written.
const KINDS: [&str; 6] = [
    "clusterinformations",
    "kubecontrollersconfigurations",
    "ippools",
    "ipamblocks",
    "blockaffinities",
    "ipamhandles",
];

/// What Calico's manifests run, and a policy of a tenant's.
const CALICO: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "calico-node", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "calico-node", "image": "quay.io/calico/node:v3.33.0"}]}}}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "calico-kube-controllers", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}},
        "spec": {"containers": [{"name": "c", "image": "quay.io/calico/kube-controllers:v3.33.0"}]}}}},
    {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "default"},
        "spec": {"podSelector": {}}}]}"#;

#[allow(clippy::disallowed_methods, reason = "whoever runs the tests says here where the recordings are")]
fn recorded() -> Option<Json> {
    let Some(root) = std::env::var_os("RACKPOOL_RECORDINGS").map(PathBuf::from) else {
        println!("skipped: 1 recordings: RACKPOOL_RECORDINGS names none");
        return None;
    };
    Some(serde_json::from_str(&std::fs::read_to_string(root.join(RECORDED)).unwrap()).unwrap())
}

/// An object as it can be created: without what the server adds, and with values for the recording's marks.
fn creatable(object: &Json) -> Json {
    let mut object = filled(object);
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object
}

fn filled(json: &Json) -> Json {
    match json {
        Json::String(text) if text.starts_with("<seq-") => {
            let (number, more) =
                text[5..text.len() - 1].split_once('+').unwrap_or((&text[5..text.len() - 1], "0"));
            (number.parse::<u64>().unwrap() * 1_000_000_000 + more.parse::<u64>().unwrap()).into()
        }
        Json::String(text) if text.starts_with("<time-") => "2026-08-01T10:00:03Z".into(),
        Json::String(text) if text.starts_with("<guid-") => "0123456789abcdef0123456789abcdef".into(),
        Json::String(text) => text.replace("<gotime-", "2026-08-01 10:00:03.1 +0000 UTC").into(),
        Json::Array(items) => items.iter().map(filled).collect(),
        Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
        other => other.clone(),
    }
}

/// Writes the recorded state.
fn plant(cluster: &Cluster, user: &User, recorded: &Json) {
    let list = |kind: &str| recorded[kind].as_array().unwrap().clone();
    let mut items: Vec<Json> =
        KINDS.iter().flat_map(|kind| list(kind)).map(|object| creatable(&object)).collect();
    items.extend(list("nodes").iter().map(|node| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node["name"], "labels": node["labels"]}})
    }));
    items.extend(list("pods").iter().map(|pod| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod["name"], "namespace": pod["namespace"], "annotations": pod["annotations"]},
            "spec": {"nodeName": pod["nodeName"], "containers": [{"name": "c", "image": "i"}]}})
    }));
    let text = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    // kubectl's own validation takes no null, which blocks are full of.
    cluster.kubectl(&["create", "--validate=false", "-f", &user.file("recorded.json", &text)]);
    for pod in list("pods") {
        let (namespace, name) = (pod["namespace"].as_str().unwrap(), pod["name"].as_str().unwrap());
        says_address(cluster.server, namespace, name, pod["podIPs"][0].as_str().unwrap());
    }
    cluster.kubectl(&["create", "-f", &user.file("calico.json", CALICO)]);
}

/// Does what a kubelet does when the pod runs.
fn says_address(server: &KubeServer, namespace: &str, name: &str, address: &str) {
    let status =
        json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}).to_string();
    let arguments =
        ["patch", "pod", name, "--namespace", namespace, "--subresource=status", "--patch", &status];
    kubectl(server, &arguments);
}

/// Calls `calico-ipam` for a pod. Gives its answer.
fn calico_ipam(user: &User, kubeconfig: &Path, verb: &str, pod: [&str; 3], container: &str) -> String {
    let [node, namespace, name] = pod;
    let configuration = json!({
        "cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "calico", "nodename": node,
        "nodename_file_optional": true, "datastore_type": "kubernetes", "kubernetes": {"kubeconfig": kubeconfig},
        "policy": {"type": "k8s"}, "ipam_lock_file": user.path("lock"), "ipam": {"type": "calico-ipam"},
    });
    let file = user.file("net.conf", &configuration.to_string());
    let program = program_beside(Path::new(env!("CARGO_BIN_EXE_calicoctl")), "calico-ipam");
    let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}");
    let out = Command::new(program)
        .env_clear()
        .envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", "/none"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/none"),
            ("CNI_ARGS", &arguments),
        ])
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    assert!(out.status.success(), "{verb} of {name}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// `rackpoold controllers`, which end with this value.
struct Controllers(Child);

impl Controllers {
    fn start(kubeconfig: &Path) -> Controllers {
        let program = program_beside(Path::new(env!("CARGO_BIN_EXE_calicoctl")), "rackpoold");
        let mut command = Command::new(program);
        command
            .arg("controllers")
            .env_clear()
            .env("DATASTORE_TYPE", "kubernetes")
            .env("KUBECONFIG", kubeconfig);
        Controllers(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What the objects of a kind say, by name.
fn specs(cluster: &Cluster, plural: &str) -> BTreeMap<String, Json> {
    let text = cluster.kubectl(&["get", &format!("{plural}.crd.projectcalico.org"), "-o", "json"]);
    let list: Json = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| (item["metadata"]["name"].as_str().unwrap().to_string(), item["spec"].clone())).collect()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "waits for a process")]
fn there_and_back() {
    let (Some(cluster), Some(recorded)) = (cluster(), recorded()) else { return };
    let kubeconfig = cluster.server.kubeconfig();
    let user = cluster.root();
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds/v1");
    cluster.server.apply(&[definitions.as_ref()]);
    plant(&cluster, &user, &recorded);
    let before: Vec<_> = KINDS.iter().map(|kind| specs(&cluster, kind)).collect();
    let clean = |when: &str| {
        let told = user.good("ipam check --timeout=1m");
        assert!(
            told.contains("Check complete; found 0 problems.") && !told.contains("more problems"),
            "{when}: {told}"
        );
    };
    clean("as Calico left it");

    // What would become of it.
    let told = user.run("datastore preflight --timeout=1m");
    assert_eq!(told.code, Some(1), "{told:?}");
    for part in [
        "Calico v3.33.0, in Kubernetes",
        "\n  custom resources: crd.projectcalico.org/v1\n",
        "  DaemonSet kube-system/calico-node: quay.io/calico/node:v3.33.0\n",
        "  IPPool rack-0-ippool: 192.168.0.0/18, encapsulation IPIP Always, for rack == \"0\"\n",
        "  10 addresses in 8 blocks, 10 handles\n",
        "\nLost\n  policy: networkpolicies.networking.k8s.io default/deny. ",
        "\n  bgp: the mesh between Calico's nodes (DaemonSet kube-system/calico-node) for 4 pools",
        "\n  controllers: Deployment kube-system/calico-kube-controllers. ",
        "kubectl scale deployment calico-kube-controllers --namespace kube-system --replicas 0",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told:?}");
    }
    user.good("datastore preflight --timeout=1m --accept-loss=policy,bgp");
    // Who may read nothing is told so, thing by thing, and that this is no answer.
    let stranger = cluster.user(STRANGER).run("datastore preflight --timeout=1m");
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    for part in [
        "\nNot known\n",
        "daemonsets.apps calico-node cannot be read",
        "whether policy is lost",
        "how many addresses are in use",
    ] {
        assert!(stranger.stdout.contains(part), "{part}: {stranger:?}");
    }

    // Controllers off, ours on; they write the settings that are in force.
    let scale = ["scale", "deployment", "calico-kube-controllers", "--namespace=kube-system", "--replicas=0"];
    cluster.kubectl(&scale);
    let setting = json!({"spec": {"prometheusMetricsPort": 0, "healthChecks": "Disabled"}}).to_string();
    let configuration = "kubecontrollersconfigurations.crd.projectcalico.org";
    cluster.kubectl(&["patch", configuration, "default", "--type=merge", "--patch", &setting]);
    let controllers = Controllers::start(&kubeconfig);
    let status = ["get", configuration, "default", "-o", "jsonpath={.status.runningConfig.healthChecks}"];
    let mut waited = 0;
    while cluster.kubectl(&status) != "Disabled" {
        assert!(waited < 240, "the controllers do not work");
        waited += 1;
        std::thread::sleep(Duration::from_millis(250));
    }
    clean("with rackpool's controllers");

    // One of Calico's pods ends, and a new one starts, by rackpool's plugin.
    let gone = &recorded["pods"][0];
    let container = gone["annotations"]["cni.projectcalico.org/containerID"].as_str().unwrap();
    let (node, name) = (gone["nodeName"].as_str().unwrap(), gone["name"].as_str().unwrap());
    calico_ipam(&user, &kubeconfig, "DEL", [node, "default", name], container);
    cluster.kubectl(&["delete", "pod", name, "--force", "--grace-period=0"]);
    clean("after DEL of a pod of Calico's");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new"},
        "spec": {"nodeName": gone["nodeName"], "containers": [{"name": "c", "image": "i"}]}});
    cluster.kubectl(&["create", "-f", &user.file("pod.json", &pod.to_string())]);
    let answer: Json =
        serde_json::from_str(&calico_ipam(&user, &kubeconfig, "ADD", [node, "default", "new"], "new1"))
            .unwrap();
    let address = answer["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap();
    says_address(cluster.server, "default", "new", address);
    let block = |address: &str| address.rsplit_once('.').unwrap().0.to_string();
    assert_eq!(block(address), block(gone["podIPs"][0].as_str().unwrap()), "the node keeps its block");
    clean("after ADD by rackpool's plugin");

    // The way back: the new pod ends, ours stop, Calico's start again. Nothing but the one pod is different.
    calico_ipam(&user, &kubeconfig, "DEL", [node, "default", "new"], "new1");
    cluster.kubectl(&["delete", "pod", "new", "--force", "--grace-period=0"]);
    drop(controllers);
    clean("on the way back");
    let after: Vec<_> = KINDS.iter().map(|kind| specs(&cluster, kind)).collect();
    for (kind, (mut before, mut after)) in KINDS.iter().zip(before.into_iter().zip(after)) {
        match *kind {
            "kubecontrollersconfigurations" => continue,
            "ipamhandles" => {
                before
                    .remove(&format!("k8s-pod-network.{container}"))
                    .expect("the recorded pod has a handle");
            }
            "ipamblocks" => {
                let changed: Vec<String> = before
                    .iter()
                    .filter(|(name, spec)| after.get(*name) != Some(spec))
                    .map(|(name, _)| name.clone())
                    .collect();
                assert_eq!(changed.len(), 1, "{changed:?}");
                for state in [&mut before, &mut after] {
                    state.remove(&changed[0]).expect("a block stays with its node");
                }
            }
            _ => {}
        }
        assert_eq!(before, after, "{kind}");
    }
}
