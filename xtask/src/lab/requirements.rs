//! What a lab needs of the machine. It is checked before anything is started.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use servers::kube_server;

use super::{KUBERNETES, cgroups, image};
use crate::needs::{self, Package};

/// The programs that a lab needs besides those of Kubernetes.
const PACKAGES: [Package; 15] = [
    Package { program: "ip", package: "iproute2", what: "networks" },
    Package { program: "unshare", package: "util-linux", what: "namespaces" },
    Package { program: "nsenter", package: "util-linux", what: "ways into namespaces" },
    Package { program: "tar", package: "tar", what: "the containers' image" },
    Package { program: "etcd", package: "etcd-server", what: "Kubernetes' database" },
    Package { program: "containerd", package: "containerd", what: "containers" },
    Package { program: "runc", package: "runc", what: "containers" },
    Package { program: "/usr/lib/cni/ptp", package: "containernetworking-plugins", what: "network plugins" },
    Package { program: "nft", package: "nftables", what: "rackpool's agent" },
    Package { program: "iptables", package: "iptables", what: "the kubelets" },
    Package { program: image::BUSYBOX, package: "busybox-static", what: "the containers' image" },
    Package { program: "ping", package: "iputils-ping", what: "a load on the network" },
    Package { program: "strip", package: "binutils", what: "rackpool's images" },
    Package { program: "docker-registry", package: "docker-registry", what: "serves the image" },
    Package { program: "skopeo", package: "skopeo", what: "hands the image to the registry" },
];
/// Folders that are mounted over on every node, or are different there. A lab's own folder cannot be below
/// one of them.
const NODES_OWN: [&str; 6] = ["/etc", "/opt", "/proc", "/run", "/sys", "/var"];

/// Whether a lab can run here, as far as can be seen without installing anything; prints what is missing.
pub fn can_be_had() -> bool {
    let missing = if kube_server::is_left_out() {
        return false;
    } else if !needs::is_root() {
        Some("the lab takes root".to_string())
    } else {
        cgroups::hierarchies("lab").err().map(|error| error.to_string())
    };
    if let Some(missing) = &missing {
        println!("left out: {missing}");
    }
    missing.is_none()
}

/// Installs and builds what a lab needs. An error says what is still missing, and how to get it.
pub fn provide() -> Result<()> {
    if !needs::is_root() {
        bail!(
            "the lab makes namespaces, networks and mounts: it takes root. Become root: sudo --preserve-env su"
        );
    }
    cgroups::hierarchies("lab")?;
    let place = std::env::temp_dir();
    let place = place.canonicalize().with_context(|| place.display().to_string())?;
    check_place(&place)?;
    needs::kubernetes_can_be_had(&KUBERNETES)?;
    needs::packages(&PACKAGES)?;
    let namespaces = ["--net", "--mount", "--pid", "--uts", "--cgroup", "--fork", "--mount-proc", "true"];
    let out = Command::new("unshare").args(namespaces).output().context("unshare")?;
    if !out.status.success() {
        bail!(
            "root may not make namespaces here ({}). In a container, that takes --privileged",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    needs::kubernetes(&KUBERNETES)?;
    kube_server::programs::helm()?;
    Ok(())
}

fn check_place(place: &Path) -> Result<()> {
    match NODES_OWN.iter().find(|own| place.starts_with(own)) {
        Some(own) => bail!(
            "the lab's files would be in {}, and each node has a {own} of its own. Set TMPDIR to a folder elsewhere, on a disk",
            place.display()
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_that_nodes_see() {
        for (place, is_good) in [
            ("/tmp", true),
            ("/home/me/tmp", true),
            ("/var/tmp", false),
            ("/run/user/0", false),
            ("/variable", true),
        ] {
            assert_eq!(check_place(Path::new(place)).is_ok(), is_good, "{place}");
        }
    }
}
