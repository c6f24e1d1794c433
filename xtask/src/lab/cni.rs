//! The nodes' network plugins: what a node has of them before rackpool is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::mount_bind;
use serde_json::json;

use super::site::{Cni, Node, Site};

/// The folder of Debian's plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// Gives every node Debian's plugins.
pub fn prepare_cluster(site: &Site) -> Result<()> {
    // This folder is below every node's own disk, so that all nodes see it.
    let debians = fs::read_dir(PLUGINS).context(PLUGINS)?;
    let debians = debians.map(|plugin| plugin.map(|plugin| plugin.path())).collect::<Result<Vec<_>, _>>()?;
    copy(&debians, &site.common(site.folders().plugins.trim_start_matches('/')))
}

fn copy(programs: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(program, to.join(name)).with_context(|| program.display().to_string())?;
    }
    Ok(())
}

/// Gives a node that boots its folder of networks, without those of the machine; and its network, except
/// for rackpool's: its agent writes that.
pub fn configure(node: Node<'_>) -> Result<()> {
    let (networks, own) = (Path::new(node.site.folders().networks), node.disk("networks"));
    for folder in [networks, &own] {
        fs::create_dir_all(folder)?;
    }
    mount_bind(&own, networks).context("the node's folder of networks")?;
    if node.site.options.cni == Cni::Calico {
        return Ok(());
    }
    let plugin = json!({
        "type": "ptp",
        "ipMasq": false,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": subnet(node)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    });
    let list = json!({"cniVersion": "1.0.0", "name": "k8s-pod-network", "plugins": [plugin]});
    fs::write(networks.join("10-lab.conflist"), serde_json::to_string_pretty(&list)?)?;
    for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{forwarding}");
        if Path::new(&path).exists() {
            fs::write(&path, "1").context(path)?;
        }
    }
    Ok(())
}

/// The networks of pods that nodes keep for good, each with its node: those of the plugin `ptp`.
pub fn fixed_subnets(site: &Site) -> impl Iterator<Item = (String, Node<'_>)> {
    let nodes = site.nodes().filter(|node| node.site.options.cni == Cni::Ptp);
    nodes.map(|node| (subnet(node), node))
}

/// The network of a node's pods with the plugin `ptp`.
fn subnet(node: Node<'_>) -> String {
    format!("10.244.{}.0/24", node.number)
}
