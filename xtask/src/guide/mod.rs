//! Performs the rack guide: with a fresh store, and with the real `calicoctl` and `calico-ipam` as separate
//! processes; then checks the result. This file holds the documents that the guide's administrator types, and
//! where the scheduler would place the replicas.

use std::path::Path;

use anyhow::{Context, Result};
use api::wep_name::{Identifiers, interface_name};

pub mod plugin;
pub mod proof;
pub mod stage;
pub mod terminal;

use self::stage::Stage;

/// Performs the guide on an embedded store, with the programs in this folder. Removes everything that it has
/// made.
///
/// # Errors
/// When a program fails, or the result is not as the guide promises.
pub fn perform(programs: &Path) -> Result<()> {
    stage::in_scratch(|scratch| {
        let file = scratch.join("rackpool.db").display().to_string();
        let stage = Stage::new(programs, scratch, ("RACKPOOL_DB", &file), ("rackpool_db", &file));
        stage.perform()
    })
}

/// The names of the guide's nodes; there are two in a rack.
pub const NODES: [&str; 8] = [
    "kube-node-0",
    "kube-node-1",
    "kube-node-2",
    "kube-node-3",
    "kube-node-4",
    "kube-node-5",
    "kube-node-6",
    "kube-node-7",
];

/// The numbers of the guide's racks.
pub const RACKS: [usize; 4] = [0, 1, 2, 3];

/// The ten replicas of the guide's table, each with the index of its node and its name: one on each node,
/// then a second one on nodes 3 and 5.
const PLACED: [(usize, &str); 10] = [
    (0, "4g2b9"),
    (1, "sl2wq"),
    (2, "2bcgv"),
    (3, "dj66l"),
    (4, "lzrhk"),
    (5, "8f7s3"),
    (6, "9buw3"),
    (7, "a9b93"),
    (3, "g88s3"),
    (5, "29t93"),
];

/// A replica, and the node where it runs.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The name of the replica's pod.
    pub pod: String,
    /// The name of the replica's node.
    pub node: &'static str,
    /// The rack of the replica's node.
    pub rack: usize,
    /// The ID of the replica's sandbox container.
    pub container: String,
}

/// The rack of the node with that index in [`NODES`].
pub fn rack_of(node: usize) -> usize {
    node / 2
}

/// All replicas of the guide.
pub fn replicas() -> impl Iterator<Item = Replica> {
    PLACED.iter().enumerate().map(|(number, (node, suffix))| Replica {
        pod: format!("nginx-5c7588df-{suffix}"),
        node: NODES[*node],
        rack: rack_of(*node),
        container: format!("{:064x}", 0xc0ffee_u64 * 0x1_0000_0001 + number as u64),
    })
}

/// The manifest of all nodes.
pub fn nodes() -> String {
    let node = |name: &&str| {
        format!("apiVersion: projectcalico.org/v3\nkind: Node\nmetadata:\n  name: {name}\nspec: {{}}\n")
    };
    NODES.iter().map(node).collect::<Vec<_>>().join("---\n")
}

/// The manifest of a rack's IP pool.
pub fn pool(rack: usize) -> String {
    let third = rack * 64;
    format!(
        r#"apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: rack-{rack}-ippool
spec:
  cidr: 192.168.{third}.0/18
  ipipMode: Always
  natOutgoing: true
  nodeSelector: rack == "{rack}"
"#
    )
}

/// The manifest of a replica's WorkloadEndpoint.
pub fn endpoint(replica: &Replica, address: &str) -> Result<String> {
    let identifiers = Identifiers {
        node: replica.node.to_string(),
        orchestrator: "k8s".to_string(),
        endpoint: "eth0".to_string(),
        pod: replica.pod.clone(),
        ..Identifiers::default()
    };
    let name = identifiers.name().context("the endpoint's name")?;
    let addr = address.split('/').next().unwrap_or(address);
    let interface = interface_name("cali", "default", &replica.pod);
    Ok(format!(
        r#"apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata:
  name: {name}
  namespace: default
  labels:
    app: nginx
spec:
  orchestrator: k8s
  node: {node}
  pod: {pod}
  endpoint: eth0
  containerID: {container}
  interfaceName: {interface}
  ipNetworks:
  - {addr}/32
  profiles:
  - kns.default
  - ksa.default.default
"#,
        node = replica.node,
        pod = replica.pod,
        container = replica.container,
    ))
}
