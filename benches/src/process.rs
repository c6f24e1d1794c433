//! Starts programs, and measures them as a whole.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use wait4::Wait4;

/// The measurements of a process.
pub struct Taken {
    /// The time from before the start of the process to its end.
    pub time: Duration,
    /// The largest resident set of the process, in KiB.
    pub peak_kib: u64,
}

/// The programs to measure.
pub struct Programs {
    calicoctl: PathBuf,
    calico_ipam: PathBuf,
}

impl Programs {
    /// The programs in a folder.
    pub fn in_folder(folder: &Path) -> Result<Programs> {
        let folder = std::fs::canonicalize(folder).with_context(|| folder.display().to_string())?;
        Ok(Programs { calicoctl: folder.join("calicoctl"), calico_ipam: folder.join("calico-ipam") })
    }

    /// Runs calicoctl on an embedded store.
    pub fn calicoctl(&self, database: &Path, arguments: &[&str]) -> Result<Taken> {
        let mut command = Command::new(&self.calicoctl);
        measure(command.args(arguments).env_clear().env("RACKPOOL_DB", database), "")
    }

    /// Runs calicoctl on Kubernetes.
    pub fn calicoctl_on(&self, cluster: &Cluster, arguments: &[&str]) -> Result<Taken> {
        let mut command = Command::new(&self.calicoctl);
        command.args(arguments).env_clear();
        command.env("DATASTORE_TYPE", "kubernetes").env("CALICO_API_GROUP", GROUP);
        measure(command.env("KUBECONFIG", &cluster.kubeconfig), "")
    }
}

const GROUP: &str = "crd.projectcalico.org/v1";

/// A Kubernetes API server, as a node's programs use it.
pub struct Cluster {
    /// The path of the kubeconfig.
    pub kubeconfig: PathBuf,
    /// The path of the host's lock.
    pub lock: PathBuf,
}

impl Cluster {
    /// The plugin's configuration for this server.
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
    /// The folder of the programs.
    pub programs: &'a Programs,
    /// The plugin's network configuration.
    pub configuration: Json,
    /// The container's ID.
    pub container: String,
}

impl Plugin<'_> {
    /// Runs the plugin with this CNI command.
    pub fn run(&self, cni_command: &str) -> Result<Taken> {
        let mut command = Command::new(&self.programs.calico_ipam);
        command
            .env_clear()
            .env("CNI_COMMAND", cni_command)
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", "/var/run/netns/none")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            // The kubelet sets these arguments.
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod");
        measure(&mut command, &self.configuration.to_string())
    }
}

/// Fills a store in another process, so that this process stays small: Linux counts the memory of the parent
/// into a new program's peak.
pub fn fill(path: &Path, nodes: u32, addresses: u32) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("fill").arg(path).args([nodes.to_string(), addresses.to_string()]);
    measure(&mut command, "").map(|_| ())
}

/// Measures a program that does nothing.
pub fn nothing() -> Result<Taken> {
    measure(&mut Command::new("/bin/true"), "")
}

/// The time to write 4 KiB to a new place in a file and to sync them to the disk.
pub fn sync_time(folder: &Path) -> Result<Duration> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("sync"))?;
    file.write_all(&[7; 4096])?;
    let start = Instant::now();
    file.sync_data()?;
    Ok(start.elapsed())
}

/// Runs a program, which must succeed, and measures it.
pub fn measure(command: &mut Command, input: &str) -> Result<Taken> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads no input may have ended already.
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
