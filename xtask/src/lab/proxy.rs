//! kube-proxy on a node, as clusters with Calico run it: it knows packets of pods by the pools' network.

use std::fs;
use std::process::Command;

use super::site::Node;

/// Its user. Kubernetes itself gives this name the rights.
pub const USER: &str = "system:kube-proxy";
/// Its kubeconfig on a node's disk.
pub const KUBECONFIG: &str = "kube-proxy.kubeconfig";
/// The file on a node's disk that names the network of pods, where it is another one.
pub const CLUSTER_CIDR: &str = "kube-proxy.cluster-cidr";
/// The network of Calico's first pool, and of the guide's pools.
const PODS: &str = "192.168.0.0/16";

/// The command that becomes kube-proxy.
pub fn command(node: Node<'_>) -> Command {
    let mut command = Command::new(node.site.kubernetes.join("kube-proxy"));
    let pods = fs::read_to_string(node.path(CLUSTER_CIDR)).unwrap_or_else(|_| PODS.to_string());
    command.args([
        format!("--kubeconfig={}", node.path(KUBECONFIG).display()),
        format!("--hostname-override={}", node.name),
        format!("--cluster-cidr={pods}"),
        "--proxy-mode=nftables".to_string(),
        // The size of the kernel's table of connections is the whole machine's.
        "--conntrack-max-per-core=0".to_string(),
    ]);
    command
}
