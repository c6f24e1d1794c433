//! Emptying an API server: by the rights of the role for it alone, with agents that run, with pools that
//! finalizers keep, and with objects that nobody can read.

use std::collections::BTreeMap;
use std::time::Duration;

use api::{HandleId, Use};
use ipam::AutoAssign;
use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;
use setup::{ConnectOptions, Datastore, Settings};

use crate::fixture::{ADMINISTRATOR, Cluster, PURGER, READER, User, cluster, kubectl};

const POOL: &str =
    "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: a}\nspec: {cidr: 10.0.0.0/24}\n";
const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}"#;
/// An object whose deletion a crash has interrupted, and one that is no affinity by its name or content.
const ODD: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock", "metadata": {"name": "10-9-9-0-32"}, "spec": {
        "cidr": "10.9.9.0/32", "allocations": [null], "unallocated": [0], "attributes": [], "strictAffinity": false,
        "sequenceNumber": 1, "deleted": true}},
    {"apiVersion": "crd.projectcalico.org/v1", "kind": "BlockAffinity", "metadata": {"name": "odd"}, "spec": {
        "cidr": "nonsense", "deleted": "false", "node": "n1", "state": "confirmed"}}]}"#;

/// A cluster with a pool, a node, a reservation and an address of a pod.
pub fn filled(cluster: &Cluster, user: &User) {
    user.good("datastore init --ipv4-cidr none");
    assert_eq!(user.create(POOL).code, Some(0));
    cluster.kubectl(&["create", "-f", &user.file("node.yaml", NODE)]);
    assign(user, "net.web-0", &[("node", "n1"), ("namespace", "shop"), ("pod", "web-0")]);
    assign(user, "vxlan-tunnel-addr-n1", &[("node", "n1"), ("type", "vxlanTunnelAddress")]);
}

fn assign(user: &User, handle: &str, owner: &[(&str, &str)]) {
    let mut request = AutoAssign::new("n1", Use::Workload);
    request.handle = HandleId::new(handle);
    request.v4 = 1;
    request.attributes =
        owner.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>();
    let environment = user.environment();
    let datastore =
        Datastore::choose(&Settings::from_environment(&environment).unwrap(), &environment).unwrap();
    setup::runtime(&datastore).unwrap().block_on(async {
        let store = setup::connect(&datastore, ConnectOptions::default()).unwrap();
        let clock = setup::Clock::start();
        let answer = ipam::run(&store, &clock, request.planner(), Duration::from_secs(30)).await.unwrap();
        assert!(answer.is_whole(), "{answer:?}");
    });
}

/// Every object of Calico's kinds, as kubectl names it.
fn objects(cluster: &Cluster) -> Vec<String> {
    let kinds = cluster.kubectl(&["api-resources", "--api-group=crd.projectcalico.org", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().collect();
    match kinds.is_empty() {
        true => Vec::new(),
        false => {
            cluster.kubectl(&["get", &kinds.join(","), "-o", "name"]).lines().map(str::to_string).collect()
        }
    }
}

fn document(user: &User, line: &str) -> Json {
    let ran = user.run(line);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

#[test]
fn everything_goes_by_the_rights_of_its_role() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    filled(&cluster, &root);
    root.good("ipam configure --strictaffinity=true");
    cluster.kubectl(&["create", "--validate=false", "-f", &root.file("odd.json", ODD)]);
    let finalizers = r#"{"metadata": {"finalizers": ["projectcalico.org/ippool-finalizer"]}}"#;
    cluster.kubectl(&["patch", "ippools.crd.projectcalico.org", "a", "--type=merge", "--patch", finalizers]);
    let before = objects(&cluster);
    let user = cluster.user(PURGER);

    let refused = user.run("datastore purge --definitions");
    refused.says(&["nothing was removed", "datastore purge --confirm --in-use --definitions"]);
    for part in ["2 addresses in use", "IPPool a 10.0.0.0/24: 2 addresses", "shop/web-0 10.0.0."] {
        assert!(refused.stdout.contains(part), "{part:?} is not in {refused:?}");
    }
    assert_eq!(objects(&cluster), before);
    // Others see what is in use, and may not remove it.
    cluster.user(READER).run("datastore purge --confirm --in-use").says(&["bob"]);
    assert_eq!(objects(&cluster), before);

    let told = document(&user, "datastore purge --confirm --in-use --definitions -o json");
    assert_eq!(told["left"], json!([]), "{told:#}");
    assert_eq!(told["removed"]["IPPool"], 1, "{told:#}");
    assert_eq!(told["removedDefinitions"].as_array().unwrap().len(), 12, "{told:#}");
    assert_eq!(objects(&cluster), [] as [&str; 0]);
    let left = cluster.kubectl(&["get", "customresourcedefinitions", "-o", "name"]);
    assert!(!left.contains("projectcalico.org"), "{left}");
    assert!(
        cluster.kubectl(&["get", "nodes", "-o", "name"]).contains("node/n1"),
        "nodes are Kubernetes' own"
    );
    // A Job that was killed at its end begins anew, and has nothing to do.
    assert!(user.good("datastore purge --confirm --definitions").contains("There are no records"));
    root.good("datastore init");
}

#[test]
fn objects_that_nobody_can_read_go_too() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    root.good("datastore init --ipv4-cidr none");
    cluster.kubectl(&["create", "--validate=false", "-f", &root.file("odd.json", ODD)]);
    root.good("datastore purge --confirm");
    assert_eq!(objects(&cluster), [] as [&str; 0]);
}

#[test]
fn a_pool_that_another_keeps_is_named_and_the_lock_stays() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    filled(&cluster, &root);
    let patch = |finalizers: Json| {
        let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
        cluster.kubectl(&["patch", "ippools.crd.projectcalico.org", "a", "--type=merge", "--patch", &patch]);
    };
    patch(json!(["example.org/mine", "projectcalico.org/ippool-finalizer"]));
    let ran = root.run("datastore purge --confirm --in-use --definitions");
    ran.says(&["not everything was removed", "stays locked", "migrate unlock"]);
    assert!(ran.stdout.contains("IPPool(a): it is kept by its finalizers example.org/mine"), "{ran:?}");
    let left = objects(&cluster);
    assert_eq!(
        left,
        ["clusterinformation.crd.projectcalico.org/default", "ippool.crd.projectcalico.org/a"],
        "everything else is gone, and no definition"
    );
    patch(Json::Null);
    root.good("datastore purge --confirm --in-use");
    assert_eq!(objects(&cluster), [] as [&str; 0]);
}

#[test]
fn definitions_of_others_stay() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    root.good("datastore init");
    let one = "customresourcedefinition/ippools.crd.projectcalico.org";
    cluster.kubectl(&["label", one, "app.kubernetes.io/part-of-"]);
    let told = document(&root, "datastore purge --confirm --definitions -o json");
    assert_eq!(told["foreignDefinitions"], json!(["ippools.crd.projectcalico.org"]), "{told:#}");
    assert_eq!(told["removedDefinitions"].as_array().unwrap().len(), 11);
    assert!(cluster.kubectl(&["get", one, "-o", "name"]).contains("ippools"));
}

/// The kind and the name of what the chart makes.
pub const OURS: [(&str, &str); 2] =
    [("DaemonSet", "rackpoold-node"), ("Deployment", "rackpoold-controllers")];

/// One of them, without pods.
pub fn workload(kind: &str, name: &str) -> Json {
    let label = json!({"app": name});
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": label}, "template": {"metadata": {"labels": label},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

/// Does what the garbage collector does with an object that waits for the end of its pods. Gives how many
/// pools there were at that moment.
fn collect(server: &KubeServer, kind: &str, name: &str) -> usize {
    let is_waiting = || {
        let found = kubectl(server, &["get", kind, name, "-o", "jsonpath={.metadata.finalizers[*]}"]);
        found.contains("foregroundDeletion")
    };
    for _ in 0..600 {
        if is_waiting() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is_waiting(), "{kind} {name} is not deleted");
    let pools = kubectl(server, &["get", "ippools.crd.projectcalico.org", "-o", "name"]).lines().count();
    let none = r#"{"metadata": {"finalizers": null}}"#;
    kubectl(server, &["patch", kind, name, "--type=merge", "--patch", none]);
    pools
}

/// Does some work while rackpool's workloads are collected. Gives also how many pools there were then.
pub fn collected<T>(cluster: &Cluster, work: impl FnOnce() -> T) -> (T, [usize; 2]) {
    let server = cluster.server;
    std::thread::scope(|scope| {
        let collected = scope.spawn(|| OURS.map(|(kind, name)| collect(server, kind, name)));
        (work(), collected.join().unwrap())
    })
}

/// The agents and controllers end before the first record goes.
#[test]
fn whoever_would_write_it_anew_ends_first() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    filled(&cluster, &root);
    for (kind, name) in OURS {
        cluster.kubectl(&["create", "-f", &root.file("workload.json", &workload(kind, name).to_string())]);
    }
    let user = cluster.user(PURGER);
    let before = objects(&cluster);
    user.run("datastore purge --confirm --in-use").says(&[
        "nothing was removed",
        "agents or controllers of rackpool run",
        "datastore purge --confirm --in-use --stop",
    ]);
    assert_eq!(objects(&cluster), before);
    let (ran, pools) = collected(&cluster, || user.run("datastore purge --confirm --in-use --stop"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(pools, [1, 1], "nothing goes before they have ended");
    assert!(ran.stderr.contains("Stopped daemonsets default/rackpoold-node"), "{ran:?}");
    assert_eq!(objects(&cluster), [] as [&str; 0]);
    let left = cluster.kubectl(&["get", "daemonsets,deployments", "-o", "name"]);
    assert_eq!(left, "");
}

/// Calico's own are not ours to stop. Who may not see whether anybody runs removes nothing.
#[test]
fn nothing_goes_while_calico_runs() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    filled(&cluster, &root);
    let calico = workload("DaemonSet", "calico-node").to_string();
    cluster.kubectl(&["create", "-f", &root.file("calico.json", &calico)]);
    let before = objects(&cluster);
    for user in [cluster.user(PURGER), cluster.user(ADMINISTRATOR)] {
        user.run("datastore purge --confirm --in-use --stop").says(&[
            "nothing was removed",
            "DaemonSet default/calico-node runs",
            "stop it first",
        ]);
        assert_eq!(objects(&cluster), before);
    }
    cluster.kubectl(&["delete", "daemonset", "calico-node"]);
    // The administrator of Calico's kinds may empty them.
    cluster.user(ADMINISTRATOR).good("datastore purge --confirm --in-use");
    assert_eq!(objects(&cluster), [] as [&str; 0]);
}
