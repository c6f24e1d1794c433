//! A stand-in for the kubelets of all nodes, for machines without root. It registers the nodes. For each pod
//! that the scheduler binds to a node it calls the plugin, and then writes into the pod what Calico's main
//! plugin and a kubelet would write. It runs no containers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;
use xtask::guide::plugin::{NO_NETNS, Plugin, Sandbox};
use xtask::guide::terminal::output;

/// The annotations in which Calico's main plugin records a pod's addresses.
const ANNOTATIONS: [&str; 2] = ["cni.projectcalico.org/podIP", "cni.projectcalico.org/podIPs"];

/// The stand-in kubelets of all nodes.
pub struct Kubelets<'a> {
    server: &'a KubeServer,
    plugin: Plugin,
    /// The pods that run, by UID; each with its address and the prefix length of its block.
    running: BTreeMap<String, (Sandbox, String)>,
}

impl<'a> Kubelets<'a> {
    /// Registers the nodes.
    pub fn register(server: &'a KubeServer, nodes: &[&str], plugin: Plugin) -> Result<Kubelets<'a>> {
        let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        let node = |name: &&str| {
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
                    "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
                },
            })
        };
        let items: Vec<Json> = nodes.iter().map(node).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        output(&mut server.kubectl(&["create", "-f", "-"]), &list.to_string())?;
        Ok(Kubelets { server, plugin, running: BTreeMap::new() })
    }

    /// The pods that run now, each with its address and the prefix length of its block.
    pub fn running(&self) -> Vec<(Sandbox, String)> {
        self.running.values().cloned().collect()
    }

    /// Looks up which pods are bound to the nodes, sets up the new ones, and takes down those that are being
    /// deleted. Gives a line for each.
    pub fn look(&mut self) -> Result<Vec<String>> {
        let bound = ["get", "pods", "--all-namespaces", "--field-selector=spec.nodeName!=", "-o", "json"];
        let list: Json = serde_json::from_str(&output(&mut self.server.kubectl(&bound), "")?)?;
        let mut news = Vec::new();
        for pod in list["items"].as_array().context("a list of pods")? {
            let uid = pod["metadata"]["uid"].as_str().context("a pod without a UID")?;
            let is_leaving = !pod["metadata"]["deletionTimestamp"].is_null();
            if is_leaving {
                news.push(self.take_down(uid, pod)?);
            } else if !self.running.contains_key(uid) {
                news.push(self.set_up(uid, pod)?);
            }
        }
        Ok(news)
    }

    fn set_up(&mut self, uid: &str, pod: &Json) -> Result<String> {
        let sandbox = sandbox(uid, pod)?;
        let address = self.plugin.add(&sandbox)?;
        let news = format!("{}: calico-ipam ADD {}: {address}", sandbox.node, sandbox.pod);
        let ip = address.split('/').next().unwrap_or(&address);
        let mut pod = pod.clone();
        annotate(&mut pod, &format!("{ip}/32"));
        pod["metadata"]["annotations"]["cni.projectcalico.org/containerID"] =
            sandbox.container.clone().into();
        let status = &mut pod["status"];
        status["phase"] = "Running".into();
        status["podIP"] = ip.into();
        status["podIPs"] = json!([{ "ip": ip }]);
        let conditions = status["conditions"].as_array_mut().context("the scheduler's condition")?;
        let kubelets = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"];
        conditions.extend(kubelets.map(|kind| json!({ "type": kind, "status": "True" })));
        self.report(&sandbox, pod)?;
        self.running.insert(uid.to_string(), (sandbox, address));
        Ok(news)
    }

    fn take_down(&mut self, uid: &str, pod: &Json) -> Result<String> {
        let sandbox = sandbox(uid, pod)?;
        let mut pod = pod.clone();
        annotate(&mut pod, "");
        self.report(&sandbox, pod)?;
        self.plugin.del(&sandbox)?;
        let at_once = ["delete", "pod", &sandbox.pod, "--force", "--grace-period=0", "--namespace"];
        output(self.server.kubectl(&at_once).arg(&sandbox.namespace), "")?;
        self.running.remove(uid);
        Ok(format!("{}: calico-ipam DEL {}", sandbox.node, sandbox.pod))
    }

    /// Writes the pod's status and annotations, even if another client has changed the pod meanwhile; but not
    /// into another pod of the same name.
    fn report(&self, sandbox: &Sandbox, mut pod: Json) -> Result<()> {
        if let Some(metadata) = pod["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", sandbox.namespace, sandbox.pod);
        output(&mut self.server.kubectl(&["replace", "--raw", &path, "-f", "-"]), &pod.to_string()).map(drop)
    }
}

/// Writes the annotations that the main plugin writes at the end of an ADD. With an empty `network`, those
/// that it writes at the start of a DEL.
fn annotate(pod: &mut Json, network: &str) {
    for annotation in ANNOTATIONS {
        pod["metadata"]["annotations"][annotation] = network.into();
    }
}

fn sandbox(uid: &str, pod: &Json) -> Result<Sandbox> {
    let text = |value: &Json| value.as_str().map(str::to_string).with_context(|| format!("a pod: {pod}"));
    Ok(Sandbox {
        namespace: text(&pod["metadata"]["namespace"])?,
        pod: text(&pod["metadata"]["name"])?,
        node: text(&pod["spec"]["nodeName"])?,
        // 64 hexadecimal digits, as container runtimes make them. A pod has only one sandbox here, so its UID
        // can serve.
        container: uid.replace('-', "").repeat(2),
        netns: NO_NETNS.to_string(),
    })
}
