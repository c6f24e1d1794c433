//! A lab for its users: starting it, finding a running one, running commands in it, and ending it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::said::Said;
use super::site::{Folders, LabOptions, MOST_NODES, Site, run};
use super::{image, install, proxy, requirements, steward, supervisor};
use xtask::cargo::this_program;

/// How long a lab may take to end, and a node to boot.
const WITHIN: Duration = Duration::from_secs(600);

/// A cluster of real kubelets on this machine. The cluster ends when this value is dropped, and when this
/// process ends, unless [`Lab::leave_running`] was called.
pub struct Lab {
    pub(super) site: Site,
    /// The supervisor and its standard input, on which the lab depends. `None` in a lab that was found, and
    /// in one that was left running.
    supervisor: Option<(Child, ChildStdin)>,
}

impl Lab {
    /// Starts a lab, and waits until all nodes are ready; with [`Cni::Calico`](super::Cni::Calico) until they
    /// lack nothing but their network, which [`Lab::install`] brings. `tell` gets lines about the progress.
    /// What the machine lacks is installed first, where that can be done.
    pub fn up(options: &LabOptions, mut tell: impl FnMut(&str)) -> Result<Lab> {
        let count = options.nodes.len();
        ensure!((1..=MOST_NODES.into()).contains(&count), "a lab has 1 to {MOST_NODES} nodes, not {count}");
        install::check(options.cni, options.programs.as_deref())?;
        requirements::provide()?;
        let mut child = Command::new(this_program()?)
            .args(["lab", "inside", "supervise"])
            .arg(serde_json::to_string(options)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The supervisor outlives this process. Whoever reads this process's standard error to its end
            // must not wait for the supervisor.
            .stderr(Stdio::null())
            .spawn()
            .context("the lab's supervisor")?;
        let input = child.stdin.take().context("it was piped")?;
        let output = child.stdout.take().context("it was piped")?;
        let (mut folder, mut failure) = (None, None);
        for line in BufReader::new(output).lines() {
            match serde_json::from_str(&line?)? {
                Said::Folder(path) => folder = Some(path),
                Said::Progress(text) => tell(&text),
                // The supervisor's error comes after the steward's, and says less.
                Said::Failed(text) => failure = failure.or(Some(text)),
                Said::Ready => {
                    let folder = folder.context("the supervisor tells the folder first")?;
                    let site = Site::read(&folder)?;
                    return Ok(Lab { site, supervisor: Some((child, input)) });
                }
            }
        }
        child.wait()?;
        bail!("the lab does not start: {}", failure.as_deref().unwrap_or("its supervisor has ended"))
    }

    /// The running lab whose files are in this folder.
    pub fn find(folder: &Path) -> Result<Lab> {
        let site = Site::read(folder)?;
        UnixStream::connect(site.path(supervisor::SOCKET)).context("its supervisor is no more")?;
        Ok(Lab { site, supervisor: None })
    }

    /// The folder with the lab's files.
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// The memory that the whole lab took when the nodes were ready, in bytes. Memory that processes share is
    /// counted once.
    pub fn memory(&self) -> Result<u64> {
        let file = self.site.path(steward::MEMORY);
        fs::read_to_string(&file)?.parse().with_context(|| file.display().to_string())
    }

    /// The nodes' names.
    pub fn nodes(&self) -> &[String] {
        &self.site.options.nodes
    }

    /// The folders in which the nodes' containerd looks.
    pub fn folders(&self) -> Folders {
        self.site.folders()
    }

    /// Lets the lab run on when this process ends.
    pub fn leave_running(mut self) -> Result<()> {
        if let Some((_, mut input)) = self.supervisor.take() {
            writeln!(input, "{}", supervisor::STAY)?;
        }
        Ok(())
    }

    /// Ends the lab. When this returns, nothing of the lab is left.
    pub fn down(mut self) -> Result<()> {
        match self.supervisor.take() {
            Some((child, input)) => end(child, input),
            None => {
                let mut connection = UnixStream::connect(self.site.path(supervisor::SOCKET))?;
                writeln!(connection, "{}", supervisor::END)?;
                connection.set_read_timeout(Some(WITHIN))?;
                connection.read_to_end(&mut Vec::new()).context("the lab does not end")?;
                ensure!(!self.folder().exists(), "{} could not be removed", self.folder().display());
                Ok(())
            }
        }
    }

    /// A command inside of the cluster, in this process's current folder, with the API server and rackpool's
    /// programs at hand.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first_process()?, "--net", "--mount", "--pid", "--"]);
        self.in_folder(&mut command);
        command.arg(program);
        Ok(command)
    }

    /// A kubectl command as the cluster's administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command(&self.site.kubectl)?;
        command.args(arguments);
        Ok(command)
    }

    /// A command on a node, as root.
    pub fn on_node(&self, node: &str, program: impl AsRef<OsStr>) -> Result<Command> {
        let node = self.site.node(node)?;
        let file = node.path(steward::FIRST_PROCESS);
        let first = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut command = Command::new("nsenter");
        // The cluster's namespaces are entered first, and then the node's: the number of the node's first
        // process is one of the cluster's namespace.
        command.args(["--target", &self.first_process()?, "--mount", "--pid", "--"]);
        command.args(["nsenter", "--target", &first, "--net", "--mount", "--pid", "--uts", "--cgroup", "--"]);
        self.in_folder(&mut command);
        command.arg(program).env("CONTAINERD_NAMESPACE", "k8s.io");
        Ok(command)
    }

    /// Cuts the power of a node, boots it again on the same disk, and waits until its kubelet answers.
    pub fn restart_node(&self, node: &str) -> Result<()> {
        let node = self.site.node(node)?;
        let mut connection =
            UnixStream::connect(self.site.path(steward::SOCKET)).context("the lab's steward")?;
        writeln!(connection, "{}", node.name)?;
        connection.set_read_timeout(Some(WITHIN))?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).with_context(|| format!("{} does not boot", node.name))?;
        ensure!(answer == steward::OK, "{} does not boot: {answer}", node.name);
        Ok(())
    }

    /// Starts a node's kube-proxy anew, with this network as that of all pods; `None`: the right one.
    pub fn restart_proxy(&self, node: &str, pods: Option<&str>) -> Result<()> {
        let file = self.site.node(node)?.path(proxy::CLUSTER_CIDR);
        match pods {
            Some(pods) => fs::write(&file, pods),
            None => fs::remove_file(&file),
        }
        .with_context(|| file.display().to_string())?;
        // Only the node's own processes are seen there.
        run(self.on_node(node, image::BUSYBOX)?.args(["killall", "kube-proxy"])).map(drop)
    }

    /// The id of the cluster's first process, in this process's namespace.
    fn first_process(&self) -> Result<String> {
        let file = self.site.path(supervisor::FIRST_PROCESS);
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    /// Makes the command run in this process's current folder, since entering a namespace leads to the root
    /// folder. Also sets the variables that lead to the API server.
    fn in_folder(&self, command: &mut Command) {
        let script = r#"cd "$1" 2>/dev/null || cd /; [ -z "$2" ] || PATH=$2:$PATH; shift 2; exec "$@""#;
        command.args(["sh", "-c", script, "sh"]);
        command.arg(std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")));
        command.arg(self.site.options.programs.clone().unwrap_or_default());
        command.env("KUBECONFIG", self.site.kubeconfig());
        command.env("KUBECACHEDIR", self.site.path("kubectl")).env("DATASTORE_TYPE", "kubernetes");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((child, input)) = self.supervisor.take() {
            // Where this is dropped because of an error, that error is reported already.
            let _ = end(child, input);
        }
    }
}

/// Makes the supervisor end, by closing its input, and waits for that.
fn end(mut supervisor: Child, input: ChildStdin) -> Result<()> {
    drop(input);
    let status = supervisor.wait()?;
    ensure!(status.success(), "the lab's supervisor failed ({status})");
    Ok(())
}
