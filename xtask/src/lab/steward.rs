//! The steward, a process inside of the cluster's namespaces. It starts the control plane and the nodes, and
//! on request cuts a node's power.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};

use super::control_plane::ControlPlane;
use super::said::{Said, progress, say};
use super::site::{Cni, Node, Site, run, tail};
use super::supervisor::pid_of_child;
use super::{cgroups, cni, install, network, proxy};

/// The name of the steward's socket. A client writes a node's name there; the steward cuts the node's power,
/// boots it again, and answers [`OK`] or an error.
pub const SOCKET: &str = "steward";
/// The steward's answer when the node is back.
pub const OK: &str = "ok";
/// The file on a node's disk that holds the id of the node's first process, in the cluster's namespace.
pub const FIRST_PROCESS: &str = "pid";
/// The file that holds how many bytes of memory the whole lab took when the nodes were ready.
pub const MEMORY: &str = "memory";
/// The port on which a kubelet answers.
const KUBELET: u16 = 10250;
/// How often the nodes are asked whether they are ready, and how long to wait in between. The machine may be
/// busy with a build.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(400);

/// Runs the steward until the supervisor ends.
pub fn run_cluster(site: &Site) -> Result<()> {
    std::thread::spawn(|| {
        // The supervisor closes this input when it ends, in whatever way. This process ends then, and with it
        // the whole namespace.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let done = Steward::start(site).and_then(Steward::serve);
    if let Err(error) = &done {
        say(&Said::Failed(format!("{error:#}")));
    }
    done
}

struct Steward<'a> {
    site: &'a Site,
    control_plane: ControlPlane<'a>,
    /// The process of each running node, by the node's name. The node's namespaces end with it.
    machines: BTreeMap<&'a str, Child>,
}

impl<'a> Steward<'a> {
    /// Starts the control plane and the nodes, and waits until the nodes are ready.
    fn start(site: &'a Site) -> Result<Steward<'a>> {
        mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=755")).context("mounting /run")?;
        fs::create_dir_all("/run/netns")?;
        network::create_bridge(site)?;
        let control_plane = ControlPlane::start(site)?;
        cni::prepare_cluster(site)?;
        install::push_images(site)?;
        let mut steward = Steward { site, control_plane, machines: BTreeMap::new() };
        progress(format!("booting {} nodes", site.options.nodes.len()));
        for node in site.nodes() {
            steward.boot(node).with_context(|| format!("booting {}", node.name))?;
        }
        steward.wait_for_nodes()?;
        Ok(steward)
    }

    /// Boots a node on the disk that it has.
    fn boot(&mut self, node: Node<'a>) -> Result<()> {
        let site = self.site;
        fs::create_dir_all(node.folder())?;
        fs::write(node.path("kubelet.kubeconfig"), self.control_plane.kubeconfig_of(node)?)?;
        fs::write(node.path(proxy::KUBECONFIG), self.control_plane.kubeconfig_of_proxies()?)?;
        cgroups::create(&site.hierarchies, node.name)?;
        network::plug_in(node)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(node.path("node.log"))?;
        let mut command = Command::new(site.program());
        command.args(["lab", "inside", "enter"]).arg(&site.folder).args(["--group", node.name, "--"]);
        // `ip netns exec` also mounts the `/sys` that belongs to that network namespace.
        command.args(["ip", "netns", "exec", node.name]);
        command.args([
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--uts",
            "--cgroup",
            "--kill-child",
            "--mount-proc",
        ]);
        command.arg(site.program()).args(["lab", "inside", "first", "--"]);
        command.arg(site.program()).args(["lab", "inside", "node"]).arg(&site.folder).arg(node.name);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let machine = command.spawn()?;
        let first = pid_of_child(machine.id());
        self.machines.insert(node.name, machine);
        fs::write(node.path(FIRST_PROCESS), first?.to_string())?;
        Ok(())
    }

    fn wait_for_nodes(&mut self) -> Result<()> {
        let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
        let status = format!("jsonpath={{range .items[*]}}{{.metadata.name}} {ready}{{\"\\n\"}}{{end}}");
        // Rackpool brings the network later.
        let wanted = match self.site.options.cni {
            Cni::Calico => " False",
            Cni::Ptp => " True",
        };
        let (all, mut told) = (self.site.options.nodes.len(), 0);
        for _ in 0..QUESTIONS {
            let out = run(&mut self.site.kubectl(&["get", "nodes", "-o", &status]))?;
            let ready = out.lines().filter(|line| line.ends_with(wanted)).count();
            if ready > told {
                let wanting = if self.site.options.cni == Cni::Calico { ", but for a network" } else { "" };
                progress(format!("{ready} of {all} nodes are ready{wanting}"));
                told = ready;
            }
            if ready == all {
                return Ok(());
            }
            for node in self.site.nodes() {
                self.check(node)?;
            }
            self.control_plane.check()?;
            std::thread::sleep(PAUSE);
        }
        bail!("{told} of {all} nodes are ready after {} s", (PAUSE * QUESTIONS).as_secs())
    }

    /// Checks that a node still runs.
    fn check(&mut self, node: Node<'a>) -> Result<()> {
        match self.machines.get_mut(node.name).map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            _ => bail!("{} does not run:\n{}", node.name, tail(&node.path("node.log"))),
        }
    }

    /// Reports that the lab is ready, and then serves requests on the socket.
    fn serve(mut self) -> Result<()> {
        let listener = UnixListener::bind(self.site.path(SOCKET))?;
        self.site.put(MEMORY, &memory()?.to_string())?;
        say(&Said::Ready);
        for connection in listener.incoming() {
            let mut connection = connection?;
            let mut name = String::new();
            BufReader::new(&connection).read_line(&mut name)?;
            let answer = match self.restart(name.trim_end()) {
                Ok(()) => OK.to_string(),
                Err(error) => format!("{error:#}"),
            };
            // The client may have gone.
            let _ = connection.write_all(answer.as_bytes());
        }
        Ok(())
    }

    /// Cuts the power of a node, boots it again on the same disk, and waits until its kubelet answers.
    fn restart(&mut self, name: &str) -> Result<()> {
        let node = self.site.node(name)?;
        if let Some(mut machine) = self.machines.remove(node.name) {
            // All of the node's processes end with its first one, which may have crashed before.
            if machine.try_wait()?.is_none() {
                let first = i32::try_from(pid_of_child(machine.id())?)?;
                kill_process(Pid::from_raw(first).context("a process")?, Signal::KILL)?;
            }
            machine.wait()?;
        }
        // The kubelet would otherwise spend seconds on each old group of a pod.
        cgroups::remove(&self.site.hierarchies, node.name)?;
        network::unplug(node)?;
        self.boot(node)?;
        let kubelet = SocketAddr::from((node.address(), KUBELET));
        for _ in 0..QUESTIONS {
            if TcpStream::connect_timeout(&kubelet, PAUSE).is_ok() {
                return Ok(());
            }
            self.check(node)?;
            std::thread::sleep(PAUSE);
        }
        bail!("the kubelet of {name} does not answer:\n{}", tail(&node.path("kubelet.log")))
    }
}

/// The memory of all processes in this namespace, in bytes. Memory that processes share is counted once.
fn memory() -> Result<u64> {
    let mut kibibytes = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        // Most entries are no processes; others have ended meanwhile.
        let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
        kibibytes += pss.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(kibibytes * 1024)
}
