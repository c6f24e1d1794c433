//! The nodes: registered, ready, and alive.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};

use super::api::Api;
use super::now;

const NODES: &str = "/api/v1/nodes";
/// Where kubelets tell that they are alive.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// How often it is asked whether the nodes take pods, and how long to wait in between.
const QUESTIONS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// Registers them, and waits until the controllers have seen that they are ready and the scheduler places pods on them.
pub(super) fn register(api: &Api, names: &[&str]) -> Result<()> {
    renew(api, names)?;
    for name in names {
        api.create(NODES, &node(name))?;
    }
    for _ in 0..QUESTIONS {
        let list = api.get(NODES)?;
        let nodes = list["items"].as_array().context("a list of nodes")?;
        // The API server taints each new node until a controller finds it ready.
        if nodes.iter().all(|node| node["spec"]["taints"].is_null()) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    bail!("the nodes are still tainted after {} s", (PAUSE * QUESTIONS).as_secs())
}

/// Tells of each that it is alive.
pub(super) fn renew(api: &Api, names: &[&str]) -> Result<()> {
    for name in names {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now() },
        });
        api.apply(&format!("{LEASES}/{name}"), &lease)?;
    }
    Ok(())
}

fn node(name: &str) -> Json {
    let now = now();
    let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
        },
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [{ "type": "Hostname", "address": name }],
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
        },
    })
}
