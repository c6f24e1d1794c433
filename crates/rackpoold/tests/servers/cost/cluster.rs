//! A cluster on a real API server: Nodes as kubelets and agents leave them, racks of 40 with a pool each.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use api::{HandleId, IpamConfig, Key, Use, Value};
use ipam::AutoAssign;
use serde_json::{Value as Json, json};
use servers::kube_server::{ADMIN, KubeServer, KubeServerOptions};
use setup::Clock;
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig, ObjectName, ObjectPatch, PatchKind, Pem};
use store::{AnyStore, Batch, Expect, ReadSet, Store};

use crate::WITHIN;

const NODES_OF_A_RACK: usize = 40;
/// How many images the kubelet reports of a node: its default is at most 50.
const IMAGES: usize = 50;

pub struct Cluster {
    pub server: KubeServer,
    pub store: KubeStore,
    clock: Clock,
}

pub fn name(nth: usize) -> String {
    format!("node-{nth}")
}

impl Cluster {
    pub fn start(nodes: usize) -> Cluster {
        let server = KubeServer::start(KubeServerOptions::new().without_audit());
        let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
        server.apply(&[&deploy.join("crds/v1")]);
        let kubeconfig = Some(Kubeconfig::Files(vec![server.kubeconfig()]));
        let store = KubeStore::open(KubeOptions { kubeconfig, ..KubeOptions::default() }).unwrap();
        let cluster = Cluster { server, store, clock: Clock::start() };
        let racks = nodes.div_ceil(NODES_OF_A_RACK);
        cluster.create((0..nodes).map(node).chain((0..racks).map(pool)).collect());
        cluster
    }

    fn create(&self, objects: Vec<Json>) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let mut command = self.server.kubectl(&["create", "-f", "-"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// The store of an agent that reaches the server at that address.
    pub fn open_at(&self, address: &str) -> AnyStore {
        let options = KubeOptions {
            endpoint: Some(format!("https://{address}")),
            ca: Some(Pem::File(self.server.ca())),
            token: Some(self.server.token(ADMIN).to_string()),
            ..KubeOptions::default()
        };
        AnyStore::Kubernetes(KubeStore::open(options).unwrap())
    }

    pub fn address(&self) -> &str {
        self.server.endpoint().trim_start_matches("https://")
    }

    pub async fn set_strict(&self, strict_affinity: bool) {
        let view = self.store.read(&ReadSet::new().key(Key::IpamConfig), WITHIN).await.unwrap();
        let before = view.full(&Key::IpamConfig).unwrap();
        let expect = before.map_or(Expect::Absent, |record| Expect::Revision(record.revision.clone()));
        let config = IpamConfig { strict_affinity, auto_allocate_blocks: true, ..IpamConfig::default() };
        let mut batch = Batch::new();
        batch.put(Key::IpamConfig, expect, Value::IpamConfig(config));
        assert!(self.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }

    /// What an ADD on a node does to the store: an address from the node's blocks, or from one that it
    /// claims.
    pub async fn add(&self, nth: usize, pod: &str) {
        let attributes = [("node", name(nth).as_str()), ("namespace", "default"), ("pod", pod)]
            .map(|(field, value)| (field.to_string(), value.to_string()));
        let request = AutoAssign {
            v4: 1,
            handle: HandleId::new(&format!("k8s-pod-network.{pod}")),
            attributes: attributes.into(),
            ..AutoAssign::new(name(nth), Use::Workload)
        };
        let assigned = ipam::run(&self.store, &self.clock, request.planner(), WITHIN).await.unwrap();
        assert!(assigned.is_whole(), "{assigned:?}");
    }

    /// The size of a Node, as the server sends it.
    pub async fn size_of_node(&self, nth: usize) -> usize {
        self.store.object(ObjectName::node(&name(nth)), WITHIN).await.unwrap().unwrap().to_string().len()
    }

    /// What a kubelet writes at least every five minutes: the times of its conditions. Each report of a row
    /// must have a number of its own, below 60.
    pub async fn report(&self, node: usize, nth: usize) {
        let time = format!("2026-01-01T01:{nth:02}:00Z");
        let patch = json!({"status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": time}]}});
        let name = name(node);
        let (name, kind) = (ObjectName::node(&name), PatchKind::Strategic);
        let change = ObjectPatch { name, status: true, kind, patch: &patch };
        self.store.patch_object(change, WITHIN).await.unwrap().unwrap();
    }

    /// How long the API server has had a processor so far.
    pub fn processor_time(&self) -> Duration {
        let ticks: u64 = self.server.process_ids().iter().map(|id| ticks_of(*id)).sum();
        Duration::from_millis(ticks * 10)
    }
}

/// User and system time of a process, in the kernel's ticks of 10 ms.
fn ticks_of(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

fn pool(rack: usize) -> Json {
    let spec = json!({"cidr": format!("10.{rack}.0.0/16"), "vxlanMode": "Always", "ipipMode": "Never",
        "natOutgoing": true, "nodeSelector": format!("rack == '{rack}'")});
    let name = format!("rack-{rack}");
    json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name}, "spec": spec})
}

/// A Node with all that a kubelet and an agent write into it.
fn node(nth: usize) -> Json {
    let (rack, at) = (nth / NODES_OF_A_RACK, nth % NODES_OF_A_RACK + 1);
    let address = format!("172.16.{rack}.{at}");
    let calico = |field: &str| format!("projectcalico.org/{field}");
    let interfaces = json!([{"name": "eth0", "addresses": [format!("{address}/24")]}]).to_string();
    let condition = |kind: &str| {
        json!({"type": kind, "status": "False", "reason": format!("KubeletHas{kind}"), "message": "kubelet is fine",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions =
        ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready", "NetworkUnavailable"].map(condition);
    let image = |image: usize| {
        let repository = format!("registry.example.org/team-{image}/service");
        json!({"names": [format!("{repository}@sha256:{image:064x}"), format!("{repository}:v1.{image}")],
            "sizeBytes": 123_456_789 + image})
    };
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name(nth),
            "labels": {"rack": rack.to_string(), "kubernetes.io/hostname": name(nth), "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64"},
            "annotations": {
                calico("IPv4Address"): format!("{address}/24"),
                calico("IPv4VXLANTunnelAddr"): format!("10.{rack}.255.{at}"),
                calico("Interfaces"): interfaces,
                "node.alpha.kubernetes.io/ttl": "0",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name(nth)}],
            "conditions": conditions,
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"},
            "allocatable": {"cpu": "8", "memory": "31Gi", "pods": "110", "ephemeral-storage": "90Gi"},
            "images": (0..IMAGES).map(image).collect::<Vec<_>>(),
            "nodeInfo": {"machineID": format!("{nth:032x}"), "systemUUID": "", "bootID": "", "kernelVersion": "6.1",
                "osImage": "Debian", "containerRuntimeVersion": "containerd://2.0", "kubeletVersion": "v1.34.0",
                "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"}}})
}
