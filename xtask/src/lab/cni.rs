//! The nodes' network plugins: the objects that the cluster needs for them, and where the nodes find them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::mount::mount_bind;
use serde_json::json;
use servers::kube_server::KubeServer;

use super::said::progress;
use super::site::{Cni, Node, Site};
use xtask::cargo::root;

/// The folder of Debian's plugins.
const PLUGINS: &str = "/usr/lib/cni";
/// The programs of rackpool that a node needs.
const PROGRAMS: [&str; 3] = ["calico", "calico-ipam", "rackpoold"];

/// Checks that the programs of the wanted plugins are installed.
pub fn check(cni: Cni, programs: Option<&Path>) -> Result<()> {
    if cni == Cni::Ptp {
        return Ok(());
    }
    let folder = programs.context("--cni calico takes a folder with rackpool's programs: --programs DIR")?;
    for name in PROGRAMS {
        if !folder.join(name).is_file() {
            bail!(
                "--cni calico takes the programs {}, and there is no {name} in {}; build it, or name another folder: --programs DIR",
                PROGRAMS.join(" and "),
                folder.display()
            );
        }
    }
    Ok(())
}

/// Installs what the plugins need: their programs; for rackpool's, the custom resources and the rights of the
/// agent and of both plugins, too.
pub fn prepare_cluster(site: &Site, server: &KubeServer) -> Result<()> {
    // This folder is below every node's own disk, so that all nodes see it.
    let debians = fs::read_dir(PLUGINS).context(PLUGINS)?;
    let debians = debians.map(|plugin| plugin.map(|plugin| plugin.path())).collect::<Result<Vec<_>, _>>()?;
    copy(&debians, &site.common("opt").join("cni/bin"))?;
    let (Cni::Calico, Some(programs)) = (site.options.cni, &site.options.programs) else { return Ok(()) };
    // The programs may be built anew while the lab runs, so the lab keeps the present ones.
    copy(&PROGRAMS.map(|name| programs.join(name)), &site.programs())?;
    let deploy = root().join("deploy");
    server.try_apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")])?;
    progress("rackpool's custom resources and rights are there");
    Ok(())
}

fn copy(programs: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(program, to.join(name)).with_context(|| program.display().to_string())?;
    }
    Ok(())
}

/// Gives a node that boots its folder of networks, without those of the machine; and its network, where
/// nobody else does: rackpool's agent does it for its own plugins.
pub fn configure(node: Node<'_>) -> Result<()> {
    let (etc, own) = (Path::new("/etc/cni/net.d"), node.disk("networks"));
    for folder in [etc, &own] {
        fs::create_dir_all(folder)?;
    }
    mount_bind(&own, etc).context("the node's folder of networks")?;
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
    fs::write(etc.join("10-lab.conflist"), serde_json::to_string_pretty(&list)?)?;
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
