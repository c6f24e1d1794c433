//! `calico-ipam`, or the main plugin `calico`, called as a kubelet has it called.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Map, Value as Json, json};

use super::terminal::output;

/// The plugin and its configuration.
pub struct Plugin {
    /// The program.
    pub program: PathBuf,
    /// The folder to be in, where it keeps each node's lock.
    pub folder: PathBuf,
    /// All that it sees of the environment, besides what CNI says.
    pub environment: Vec<(&'static str, String)>,
    /// The fields of the network configuration that lead it to the store.
    pub store: Map<String, Json>,
}

/// A network namespace for whom does without: the path of none.
pub const NO_NETNS: &str = "/var/run/netns/none";

/// What a pod's containers share, and an address is for.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// The ID of the sandbox's own container.
    pub container: String,
    /// The path of its network namespace.
    pub netns: String,
}

impl Plugin {
    /// Asks for an address; it comes with the prefix of its block.
    pub fn add(&self, sandbox: &Sandbox) -> Result<String> {
        let out = self.call("ADD", sandbox)?;
        let result: Json = serde_json::from_str(&out).context("the plugin's result")?;
        let address = result["ips"][0]["address"].as_str().context("the plugin's result has no address")?;
        Ok(address.to_string())
    }

    /// Gives it back.
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
