//! The nodes' network plugins: the objects that the cluster needs for them, and their configuration on each
//! node.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;

use super::network::Block;
use super::said::progress;
use super::site::{Cni, Node, Site, run};
use xtask::cargo::root;

/// The folder of Debian's plugins.
const PLUGINS: &str = "/usr/lib/cni";
/// The service account of rackpool's plugins; `deploy/rbac` names the same one.
const ACCOUNT: [&str; 3] = ["calico", "--namespace", "kube-system"];
/// Rackpool's plugins.
const PROGRAMS: [&str; 2] = ["calico", "calico-ipam"];
/// The plugins' kubeconfig file, in the lab's folder and on a node's disk.
const KUBECONFIG: &str = "calico.kubeconfig";
const KUBECONFIG_ON_NODE: &str = "/etc/cni/net.d/calico-kubeconfig";

/// Checks that the programs of the wanted plugins are installed.
pub fn check(cni: Cni, programs: Option<&Path>) -> Result<()> {
    if cni == Cni::Ptp {
        return Ok(());
    }
    let folder = programs.context("--cni calico takes a folder with rackpool's programs: --programs DIR")?;
    for name in PROGRAMS {
        if !folder.join(name).is_file() {
            bail!(
                "--cni calico takes the plugins {}, and there is no {name} in {}; build it, or name another folder: --programs DIR",
                PROGRAMS.join(" and "),
                folder.display()
            );
        }
    }
    Ok(())
}

/// Installs what the plugins need: their programs, the custom resources, and a service account with the
/// rights of both of rackpool's plugins.
pub fn prepare_cluster(site: &Site, server: &KubeServer) -> Result<()> {
    install_plugins(site)?;
    if site.options.cni == Cni::Ptp {
        return Ok(());
    }
    let deploy = root().join("deploy");
    server.try_apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")])?;
    let token = run(site.kubectl(&["create", "token", "--duration", "8760h"]).args(ACCOUNT))?;
    site.put(KUBECONFIG, &server.kubeconfig_with(ACCOUNT[0], token.trim())?)?;
    progress("the plugins' custom resources and rights are there");
    Ok(())
}

/// Puts the plugins into the folder that is below every node's own disk, so that all nodes see them.
fn install_plugins(site: &Site) -> Result<()> {
    let bin = site.common("opt").join("cni/bin");
    fs::create_dir_all(&bin)?;
    let mut from = Vec::new();
    for plugin in fs::read_dir(PLUGINS).context(PLUGINS)? {
        from.push(plugin?.path());
    }
    if let (Cni::Calico, Some(programs)) = (site.options.cni, &site.options.programs) {
        from.extend(PROGRAMS.map(|name| programs.join(name)));
    }
    for program in from {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(&program, bin.join(name)).with_context(|| program.display().to_string())?;
    }
    Ok(())
}

/// Writes the plugins' configuration on a node that boots, as an installer would.
pub fn configure(node: Node<'_>) -> Result<()> {
    let etc = Path::new("/etc/cni/net.d");
    fs::create_dir_all(etc)?;
    let plugin = match node.site.options.cni {
        Cni::Calico => {
            fs::create_dir_all("/var/lib/calico")?;
            fs::write("/var/lib/calico/nodename", format!("{}\n", node.name))?;
            fs::copy(node.site.path(KUBECONFIG), KUBECONFIG_ON_NODE)?;
            json!({
                "type": "calico",
                "log_level": "info",
                "log_file_path": "/var/log/calico/cni/cni.log",
                "datastore_type": "kubernetes",
                "nodename": node.name,
                "ipam": {"type": "calico-ipam"},
                "policy": {"type": "k8s"},
                "kubernetes": {"kubeconfig": KUBECONFIG_ON_NODE},
            })
        }
        Cni::Ptp => json!({
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": subnet(node)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }),
    };
    let list = json!({"cniVersion": "1.0.0", "name": "k8s-pod-network", "plugins": [plugin]});
    fs::write(etc.join("10-lab.conflist"), serde_json::to_string_pretty(&list)?)?;
    Ok(())
}

/// The network of a node's pods with the plugin `ptp`.
fn subnet(node: Node<'_>) -> String {
    format!("10.244.{}.0/24", node.number)
}

/// The blocks of pods' addresses, each with the node that has it. With the allocator, these are the blocks in
/// kubectl's answer that belong to a node.
pub fn blocks(site: &Site, ask: impl FnOnce(&[&str]) -> Result<String>) -> Result<Vec<Block>> {
    if site.options.cni == Cni::Ptp {
        let all = site.nodes();
        return all
            .map(|node| Ok(Block { cidr: subnet(node).parse()?, node: node.name.to_string() }))
            .collect();
    }
    let list: Json = serde_json::from_str(&ask(&["get", "ipamblocks", "-o", "json"])?)?;
    let mut blocks = Vec::new();
    for spec in list["items"].as_array().into_iter().flatten().map(|item| &item["spec"]) {
        // Other blocks belong to no owner, or to a load balancer.
        let Some(node) = spec["affinity"].as_str().and_then(|affinity| affinity.strip_prefix("host:")) else {
            continue;
        };
        let cidr = spec["cidr"].as_str().context("a block without a CIDR")?;
        let cidr = cidr.parse().with_context(|| format!("the block's CIDR {cidr}"))?;
        blocks.push(Block { cidr, node: node.to_string() });
    }
    Ok(blocks)
}
