//! Calls `calico-ipam`, or the main plugin `calico`, in the way a kubelet's runtime does.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Map, Value as Json, json};

use super::terminal::output;

/// A CNI plugin and its configuration.
pub struct Plugin {
    /// The path of the plugin's program.
    pub program: PathBuf,
    /// The plugin's working folder. It also holds the host lock of each node.
    pub folder: PathBuf,
    /// The plugin's environment variables, besides those of CNI; it sees no others.
    pub environment: Vec<(&'static str, String)>,
    /// The fields of the network configuration that tell the plugin where the store is.
    pub store: Map<String, Json>,
}

/// The path of a network namespace that does not exist, for plugins that need none.
pub const NO_NETNS: &str = "/var/run/netns/none";

/// A pod's sandbox: what its containers share, and what gets an address.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The name of the pod's node.
    pub node: String,
    /// The ID of the sandbox's container.
    pub container: String,
    /// The path of the sandbox's network namespace.
    pub netns: String,
}

impl Plugin {
    /// Calls ADD. Gives the pod's address with the prefix length of its block.
    pub fn add(&self, sandbox: &Sandbox) -> Result<String> {
        let out = self.call("ADD", sandbox)?;
        let result: Json = serde_json::from_str(&out).context("the plugin's result")?;
        let address = result["ips"][0]["address"].as_str().context("the plugin's result has no address")?;
        Ok(address.to_string())
    }

    /// Calls DEL, which gives the pod's address back.
    pub fn del(&self, sandbox: &Sandbox) -> Result<()> {
        self.call("DEL", sandbox).map(drop)
    }

    fn call(&self, verb: &str, sandbox: &Sandbox) -> Result<String> {
        let Sandbox { namespace, pod, node, container, netns } = sandbox;
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={container}"
        );
        let mut configuration = json!({
            "cniVersion": "1.0.0",
            "name": "k8s-pod-network",
            "type": "calico",
            "nodename": node,
            "nodename_file_optional": true,
            "ipam_lock_file": self.folder.join(format!("{node}.lock")),
            "ipam": { "type": "calico-ipam" },
        });
        for (field, value) in &self.store {
            configuration[field] = value.clone();
        }
        let programs = self.program.parent().context("the plugin is in a folder")?;
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder).envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", &programs.to_string_lossy()),
            ("CNI_ARGS", &arguments),
        ]);
        output(&mut command, &configuration.to_string()).with_context(|| format!("{verb} of {pod} on {node}"))
    }
}
