//! A node, inside of its namespaces: mounts the node's disk, and then keeps containerd, the kubelet and
//! kube-proxy running.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::system::sethostname;
use serde_json::json;

use super::control_plane::REGISTRY;
use super::image;
use super::site::{Cni, Folders, Node, tail};
use super::{cgroups, cni, proxy};

const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// Kernel settings that the kubelet insists on, and that hold for the whole machine. On the node, files with
/// these values are mounted over the settings, so that the machine's own stay as they are.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// How often containerd is asked whether it is ready, and how long to wait in between. The machine may be
/// busy with a build.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the node until its power is cut.
pub fn run(node: Node<'_>) -> Result<()> {
    sethostname(node.name.as_bytes())?;
    mount_disk(node)?;
    cni::configure(node)?;
    let certs = Path::new("/etc/containerd/certs.d/docker.io");
    fs::create_dir_all(certs)?;
    let hosts = format!(
        "server = \"https://docker.io\"\n[host.\"http://{REGISTRY}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::write(certs.join("hosts.toml"), hosts)?;
    fs::write(node.path("containerd.toml"), containerd_configuration(node))?;
    fs::write(node.path("kubelet.yaml"), kubelet_configuration().to_string())?;
    std::thread::scope(|scope| {
        scope.spawn(|| keep_running(node, "containerd", || containerd(node)));
        if node.site.options.cni == Cni::Calico {
            scope.spawn(|| keep_running(node, "kube-proxy", || proxy::command(node)));
        }
        wait_for_containerd(node)?;
        keep_running(node, "kubelet", || kubelet(node));
        Ok(())
    })
}

/// Mounts the node's own disk over the folders to which a node writes.
fn mount_disk(node: Node<'_>) -> Result<()> {
    cgroups::mount_own(&node.site.hierarchies)?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=755")).context("mounting /run")?;
    for folder in ["/run/lock", "/run/netns"] {
        fs::create_dir(folder)?;
    }
    for name in ["etc", "opt", "var"] {
        let place = format!("/{name}");
        let (common, upper, work) =
            (node.site.common(name), node.disk(name), node.disk(&format!("{name}.work")));
        for folder in [&common, &upper, &work] {
            fs::create_dir_all(folder)?;
        }
        let (common, upper, work) = (common.display(), upper.display(), work.display());
        let options = CString::new(format!("lowerdir={common}:{place},upperdir={upper},workdir={work}"))?;
        mount("overlay", &place, "overlay", MountFlags::empty(), Some(options.as_c_str())).with_context(
            || {
                format!(
                    "mounting an overlay on {place}; its upper part {upper} must not be on an overlay itself"
                )
            },
        )?;
    }
    let sysctls = node.path("sysctls");
    fs::create_dir_all(&sysctls)?;
    for (key, value) in SYSCTLS {
        let file = sysctls.join(key.replace('/', "."));
        fs::write(&file, format!("{value}\n"))?;
        mount_bind(&file, format!("/proc/sys/{key}")).with_context(|| key.to_string())?;
    }
    // What is mounted for one pod must be visible to all processes of the node.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .context("sharing mounts")?;
    Ok(())
}

/// Runs a daemon, and starts it again whenever it has ended.
fn keep_running(node: Node<'_>, name: &str, command: impl Fn() -> Command) {
    loop {
        let ended =
            OpenOptions::new().create(true).append(true).open(node.path(&format!("{name}.log"))).and_then(
                |log| command().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?.wait(),
            );
        eprintln!("{name} has ended: {ended:?}");
        std::thread::sleep(PAUSE);
    }
}

fn wait_for_containerd(node: Node<'_>) -> Result<()> {
    for _ in 0..QUESTIONS {
        if UnixStream::connect(CONTAINERD).is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    // The scope would wait for ever for the thread that keeps containerd running. So the error is printed
    // here, and the process ends.
    eprintln!("containerd does not start:\n{}", tail(&node.path("containerd.log")));
    std::process::exit(1)
}

fn containerd(node: Node<'_>) -> Command {
    let mut command = Command::new("containerd");
    command.arg("--config").arg(node.path("containerd.toml"));
    command
}

fn kubelet(node: Node<'_>) -> Command {
    let mut command = Command::new(node.site.kubernetes.join("kubelet"));
    let file = |flag: &str, name: &str| format!("--{flag}={}", node.path(name).display());
    command.args([
        file("config", "kubelet.yaml"),
        file("kubeconfig", "kubelet.kubeconfig"),
        file("root-dir", "kubelet"),
        file("cert-dir", "certificates"),
        format!("--hostname-override={}", node.name),
        format!("--node-ip={}", node.address()),
        "--v=2".to_string(),
    ]);
    command
}

/// The configuration of containerd. `restrict_oom_score_adj` is for machines where root may not lower a
/// process's OOM score: without it, no sandbox starts there.
fn containerd_configuration(node: Node<'_>) -> String {
    let root = node.path("containerd");
    let (root, sandbox) = (root.display(), image::PAUSE);
    let Folders { plugins, networks } = node.site.folders();
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
"#
    )
}

fn kubelet_configuration() -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // Only processes in the lab can reach the kubelet, so it needs no authentication.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        // The disk is the machine's, and its filling is no reason for the kubelet to remove images or pods.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
    })
}
