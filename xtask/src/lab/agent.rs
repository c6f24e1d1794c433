//! rackpool's agent on a node, with the rights that it has in a cluster and no others.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;

use super::site::{Cni, Node, run};

/// The agent's service account, as `deploy/rbac` makes it.
pub const ACCOUNT: &str = "rackpoold-node";
/// The file on a node's disk with the agent's token.
pub const TOKEN: &str = "agent.token";
/// The agent's kubeconfig on a node's disk.
const KUBECONFIG: &str = "agent.kubeconfig";
/// How long to wait between looks for the kubeconfig.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives a node's agent its kubeconfig, unless it has one. The token in it is bound to the node, which has to
/// be known to the API server.
pub fn admit(node: Node<'_>, server: &KubeServer) -> Result<()> {
    let file = node.path(KUBECONFIG);
    if node.site.options.cni != Cni::Calico || file.exists() {
        return Ok(());
    }
    let mut create = node.site.kubectl(&["create", "token", ACCOUNT, "--namespace", "kube-system"]);
    create.args(["--duration", "8760h", "--bound-object-kind", "Node", "--bound-object-name", node.name]);
    let token = run(&mut create)?;
    fs::write(node.path(TOKEN), token.trim())?;
    let mut kubeconfig: Json = serde_json::from_str(&server.kubeconfig_with(ACCOUNT, "")?)?;
    kubeconfig["users"][0]["user"] = json!({"tokenFile": node.path(TOKEN)});
    // The node takes the file as soon as it is there, so it must be whole by then.
    let beside = node.path("agent.kubeconfig.new");
    fs::write(&beside, kubeconfig.to_string())?;
    fs::rename(&beside, &file).with_context(|| file.display().to_string())
}

/// Waits on a node until its agent has its kubeconfig.
pub fn wait_until_admitted(node: Node<'_>) {
    while !node.path(KUBECONFIG).exists() {
        std::thread::sleep(PAUSE);
    }
}

/// The command that sets what the agent needs of the kernel, and then becomes the agent.
pub fn command(node: Node<'_>) -> Command {
    let programs = node.site.programs();
    let mut command = Command::new("sh");
    command.args(["-c", r#""$0" node sysctl && exec "$0" node "$@""#]).arg(programs.join("rackpoold"));
    command.arg("--install-from").arg(&programs);
    // The guide's pools are those of a cluster whose nodes learn from each other by BGP.
    command.arg("--accept-loss=bgp");
    command.env("DATASTORE_TYPE", "kubernetes").env("KUBECONFIG", node.path(KUBECONFIG));
    command.env("NODENAME", node.name);
    command
}
