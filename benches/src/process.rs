//! Starting a program and measuring it as a whole.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use wait4::Wait4;

/// What a process took.
pub struct Taken {
    /// From before its start to its end.
    pub time: Duration,
    /// Its largest resident set, in KiB.
    pub peak_kib: u64,
}

/// The programs to measure.
pub struct Programs {
    calicoctl: PathBuf,
    calico_ipam: PathBuf,
}

impl Programs {
    /// Those of a folder.
    pub fn in_folder(folder: &Path) -> Result<Programs> {
        let folder = std::fs::canonicalize(folder).with_context(|| folder.display().to_string())?;
        Ok(Programs { calicoctl: folder.join("calicoctl"), calico_ipam: folder.join("calico-ipam") })
    }

    /// Runs calicoctl on an embedded store.
    pub fn calicoctl(&self, database: &Path, arguments: &[&str]) -> Result<Taken> {
        let mut command = Command::new(&self.calicoctl);
        measure(command.args(arguments).env_clear().env("RACKPOOL_DB", database), "")
    }

    /// The same on Kubernetes.
    pub fn calicoctl_on(&self, cluster: &Cluster, arguments: &[&str]) -> Result<Taken> {
        let mut command = Command::new(&self.calicoctl);
        command.args(arguments).env_clear();
        command.env("DATASTORE_TYPE", "kubernetes").env("CALICO_API_GROUP", GROUP);
        measure(command.env("KUBECONFIG", &cluster.kubeconfig), "")
    }
}

const GROUP: &str = "crd.projectcalico.org/v1";

/// A Kubernetes API server, for a node.
pub struct Cluster {
    /// How to reach it.
    pub kubeconfig: PathBuf,
    /// The host's lock.
    pub lock: PathBuf,
}

impl Cluster {
    /// The plugin's configuration.
    pub fn configuration(&self, node: &str) -> Json {
        json!({
            "cniVersion": "1.0.0",
            "name": "net",
            "nodename": node,
            "datastore_type": "kubernetes",
            "calico_api_group": GROUP,
            "kubernetes": { "kubeconfig": self.kubeconfig },
            "ipam_lock_file": self.lock,
            "ipam": { "type": "calico-ipam" },
        })
    }
}

/// The plugin's configuration for an embedded store.
pub fn on_file(database: &Path, node: &str) -> Json {
    json!({
        "cniVersion": "1.0.0",
        "name": "net",
        "nodename": node,
        "rackpool_db": database,
        "ipam_lock_file": database.with_extension("lock"),
        "ipam": { "type": "calico-ipam" },
    })
}

/// A call of the plugin.
pub struct Plugin<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// What it reads.
    pub configuration: Json,
    /// The container.
    pub container: String,
}

impl Plugin<'_> {
    /// Runs a CNI command.
    pub fn run(&self, cni_command: &str) -> Result<Taken> {
        let mut command = Command::new(&self.programs.calico_ipam);
        command
            .env_clear()
            .env("CNI_COMMAND", cni_command)
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", "/var/run/netns/none")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            // As the kubelet says it.
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod");
        measure(&mut command, &self.configuration.to_string())
    }
}

/// Fills a store, in a process of its own.
pub fn fill(path: &Path, nodes: u32, addresses: u32) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("fill").arg(path).args([nodes.to_string(), addresses.to_string()]);
    measure(&mut command, "").map(|_| ())
}

/// The process that does nothing.
pub fn nothing() -> Result<Taken> {
    measure(&mut Command::new("/bin/true"), "")
}

/// What it takes to write 4 KiB to a new place of a file and have it on the disk.
pub fn sync_time(folder: &Path) -> Result<Duration> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("sync"))?;
    file.write_all(&[7; 4096])?;
    let start = Instant::now();
    file.sync_data()?;
    Ok(start.elapsed())
}

/// Runs a program that must succeed.
pub fn measure(command: &mut Command, input: &str) -> Result<Taken> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads nothing may be gone already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let ended = child.wait4()?;
    let time = start.elapsed();
    ensure!(
        ended.status.success(),
        "{command:?} failed: {}",
        std::io::read_to_string(child.stderr.take().context("stderr")?)?
    );
    Ok(Taken { time, peak_kib: ended.rusage.maxrss / 1024 })
}
