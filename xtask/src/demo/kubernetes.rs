//! The rack guide on a cluster of real kubelets: installs rackpool by its chart, runs the guide's own
//! commands, and then checks their effect on the cluster itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::Ipv4Net;
use serde_json::Value as Json;

use xtask::guide::terminal::{heading, output, print_output, show};
use xtask::guide::{NODES, proof};

use super::administrator::Administrator;
use super::reach::Outside;
use crate::lab::{CHART, Cni, Lab, LabOptions, Platform};

/// How often a state is looked for before the demo fails, and how long to wait in between.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(250);
/// How many looks in a row must find the wanted state before the cluster counts as settled.
const SETTLED: u32 = 8;
/// The path of busybox, in the replicas and on the nodes alike.
pub(super) const BUSYBOX: &str = "/bin/busybox";

/// Performs the guide with these programs.
pub fn perform(programs: &Path, platform: Option<Platform>) -> Result<()> {
    on_lab(programs, platform, false, |stage| {
        heading("rackpool is installed by its chart");
        // The guide's pools are those of a cluster whose nodes learn from each other by BGP.
        let install = stage.lab.installation(CHART, &["--set", "node.acceptLoss={bgp}"]);
        show("helm", &install, None);
        print_output(&output(&mut stage.lab.helm(&install)?, "")?);
        stage.lab.wait_for_network()?;
        stage.perform()
    })
}

/// The running demo: the lab, and the administrator who works on it.
pub(super) struct Stage<'a> {
    pub(super) lab: &'a Lab,
    pub(super) administrator: Administrator<'a>,
}

/// Starts a lab of the guide's nodes with these programs, performs something there, and ends the lab.
pub(super) fn on_lab(
    programs: &Path,
    platform: Option<Platform>,
    is_audited: bool,
    perform: impl FnOnce(&Stage<'_>) -> Result<()>,
) -> Result<()> {
    let nodes = NODES.map(str::to_string).to_vec();
    let programs = Some(programs.to_path_buf());
    let options = LabOptions { nodes, cni: Cni::Calico, platform, programs, is_audited };
    let lab = Lab::up(&options, |text| println!("{text}"))?;
    let calicoctl = |arguments: &[&str]| {
        let mut command = lab.command("calicoctl")?;
        command.args(arguments);
        Ok(command)
    };
    let administrator = Administrator {
        kubectl: Box::new(|arguments| lab.kubectl(arguments)),
        calicoctl: Box::new(calicoctl),
    };
    perform(&Stage { lab: &lab, administrator })?;
    lab.down()
}

/// A replica that runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) address: Ipv4Addr,
}

/// What a script in a pod writes last. `ctr` may end without having handed on what was written.
const END: &str = "----";
/// How often a script is run whose output `ctr` does not hand on.
const TRIES: u32 = 5;

/// The arguments with which busybox sends an HTTP request.
pub(super) fn question(address: Ipv4Addr) -> [String; 3] {
    ["sh".to_string(), "-c".to_string(), request("/", address, 80)]
}

/// A line for busybox's shell that sends an HTTP request. It uses `nc`: busybox's wget, linked statically,
/// crashes on host names.
pub(super) fn request(path: &str, address: Ipv4Addr, port: u16) -> String {
    format!("printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' | {BUSYBOX} nc -w 10 {address} {port}")
}

/// The body of an HTTP answer; an error if the answer's status is not 200.
pub(super) fn body(answer: &str) -> Result<&str> {
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("no answer over HTTP: {answer:?}"))?;
    ensure!(head.contains(" 200 "), "{head}");
    Ok(body.trim())
}

/// Waits until something is found this many looks in a row. Gives what the last look found.
pub(super) fn wait_until<T>(looks: u32, look: impl Fn() -> Result<T>) -> Result<T> {
    let (mut agreed, mut reason) = (0, String::new());
    for _ in 0..QUESTIONS {
        match look() {
            Ok(found) => {
                agreed += 1;
                if agreed == looks {
                    return Ok(found);
                }
            }
            Err(error) => (agreed, reason) = (0, format!("{error:#}")),
        }
        std::thread::sleep(PAUSE);
    }
    bail!("after {} s: {reason}", (PAUSE * QUESTIONS).as_secs())
}

impl Stage<'_> {
    fn perform(&self) -> Result<()> {
        let administrator = &self.administrator;
        administrator.prepare("the kubelets call the plugins")?;
        administrator.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=300s"])?;
        administrator.calicoctl(&["get", "wep", "-o", "wide"], "")?;

        heading("The proof: what the cluster says and does");
        let pods = self.settle(10)?;
        self.prove_racks(&pods)?;
        self.prove_answers(&pods)?;
        self.prove_agents(&pods)?;

        heading("5. A node loses its power, and boots");
        let pods = self.power_cut(&pods)?;

        self.prove_renewal()?;
        let outside = Outside::start(self.lab)?;
        heading("6. The same pools with VXLAN: every pod reaches every other, and the outside");
        self.encapsulate("Always")?;
        self.prove_reach(&pods, &outside)?;
        let service = self.expose()?;
        self.prove_service(&pods, service)?;

        heading("7. The same pools without encapsulation: the router has one route a rack");
        self.encapsulate("Never")?;
        self.prove_reach(&pods, &outside)?;
        self.prove_service(&pods, service)?;
        self.prove_proxy_is_read()?;
        self.prove_router(&pods)?;

        heading("8. Two replicas are enough: the addresses of the others come back");
        let before: BTreeSet<Pod> = self.settle(10)?.into_iter().collect();
        administrator.kubectl(&["scale", "deployment", "nginx", "--replicas", "2"])?;
        let after = self.settle(2)?;
        ensure!(after.iter().all(|pod| before.contains(pod)), "{after:?} are not among {before:?}");
        administrator.calicoctl(&["ipam", "show", "--show-blocks"], "")?;
        println!("ok: {} addresses are back", before.len() - after.len());
        Ok(())
    }

    /// Checks that each address is in the pool of its node's rack.
    pub(super) fn prove_racks(&self, pods: &[Pod]) -> Result<()> {
        let blocks = self.blocks()?;
        let placed = pods.iter().map(|pod| {
            let (block, owner) = blocks
                .iter()
                .find(|(block, _)| block.contains(&pod.address))
                .with_context(|| format!("no block holds {}", pod.address))?;
            ensure!(*owner == pod.node, "{} on {} is of {owner}'s block {block}", pod.address, pod.node);
            Ok((pod.name.clone(), pod.node.clone(), format!("{}/{}", pod.address, block.prefix_len())))
        });
        self.administrator.prove_racks(placed.collect::<Result<_>>()?)
    }

    /// Checks that every pod answers its node over HTTP, with the pod's own name.
    fn prove_answers(&self, pods: &[Pod]) -> Result<()> {
        for pod in pods {
            let answer = output(self.lab.on_node(&pod.node, BUSYBOX)?.args(question(pod.address)), "")?;
            let heard = body(&answer)?;
            ensure!(heard == pod.name, "{} answers {heard:?}, and should be {}", pod.address, pod.name);
        }
        println!("ok: {} pods answer over HTTP, each its own node and with its own name", pods.len());
        Ok(())
    }

    /// The container of a pod that runs, and the line that `ctr` says about it.
    fn container_of(&self, pod: &Pod) -> Result<(String, String)> {
        let selector = format!(
            "labels.\"io.kubernetes.pod.name\"=={},labels.\"io.cri-containerd.kind\"==container",
            pod.name
        );
        let ctr = |arguments: &[&str]| output(self.lab.on_node(&pod.node, "ctr")?.args(arguments), "");
        let containers = ctr(&["containers", "list", "--quiet", &selector])?;
        // After a power cut the pod's old container is there, too, and does not run.
        let tasks = ctr(&["tasks", "list"])?;
        let running = containers.lines().find_map(|container| {
            let mut tasks = tasks.lines();
            let task = tasks.find(|task| task.starts_with(container) && task.contains("RUNNING"))?;
            Some((container.to_string(), task.to_string()))
        });
        running.with_context(|| format!("{} has no container", pod.name))
    }

    /// The number that the first process of a pod's container has on its node.
    pub(super) fn first_process(&self, pod: &Pod) -> Result<u32> {
        let (_, task) = self.container_of(pod)?;
        let number = task.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        number.with_context(|| format!("no number of a process: {task}"))
    }

    /// The output of a script of busybox's shell, run in a pod.
    pub(super) fn in_pod(&self, pod: &Pod, script: &str) -> Result<String> {
        let (container, _) = self.container_of(pod)?;
        let ctr = |arguments: &[&str]| output(self.lab.on_node(&pod.node, "ctr")?.args(arguments), "");
        let script = format!("{script}\necho {END}");
        for _ in 0..TRIES {
            let said = ctr(&["tasks", "exec", "--exec-id", "ask", &container, BUSYBOX, "sh", "-c", &script])?;
            if let Some(said) = said.trim_end().strip_suffix(END) {
                return Ok(said.to_string());
            }
        }
        bail!("ctr gives no output of {}", pod.name)
    }

    /// Cuts the power of a node with replicas, and boots it again. Then checks that no pod and no address is
    /// there twice, and that blocks and pods agree. Gives the replicas.
    fn power_cut(&self, pods: &[Pod]) -> Result<Vec<Pod>> {
        let mut of_node: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in pods {
            *of_node.entry(&pod.node).or_default() += 1;
        }
        let (node, count) = of_node.into_iter().max_by_key(|(_, count)| *count).context("no pod runs")?;
        println!("cutting the power of {node}, where {count} replicas run");
        self.lab.restart_node(node)?;
        println!("its kubelet answers");
        let again = self.settle(pods.len())?;
        self.prove_racks(&again)?;
        self.prove_answers(&again)?;
        Ok(again)
    }

    /// Waits until `count` replicas run and the blocks hold exactly their addresses, several looks in a row.
    /// Gives the replicas.
    pub(super) fn settle(&self, count: usize) -> Result<Vec<Pod>> {
        let (pods, line) = wait_until(SETTLED, || self.agree(count))?;
        println!("{line}");
        Ok(pods)
    }

    /// The replicas, and a line that says that the blocks hold their addresses and no others.
    fn agree(&self, count: usize) -> Result<(Vec<Pod>, String)> {
        let list = self.administrator.ask(&["get", "pods", "-l", "app=nginx"])?;
        let items = list["items"].as_array().context("a list of pods")?;
        ensure!(items.len() == count, "there are {} pods, not {count}", items.len());
        let mut pods = Vec::new();
        for item in items {
            let text = |path: &str| item.pointer(path).and_then(Json::as_str);
            let name = text("/metadata/name").context("a pod without a name")?;
            let ready = item["status"]["conditions"].as_array().into_iter().flatten();
            let ready =
                ready.filter(|condition| condition["type"] == "Ready").any(|ready| ready["status"] == "True");
            ensure!(ready, "{name} is not ready");
            pods.push(Pod {
                name: name.to_string(),
                node: text("/spec/nodeName").context("a pod without a node")?.to_string(),
                address: text("/status/podIP").context("a pod without an address")?.parse()?,
            });
        }
        let ask = |what| self.administrator.ask(&["get", what]);
        Ok((pods, proof::check_blocks(&ask("ipamblocks")?, &list, &ask("nodes")?)?))
    }

    /// The networks of the blocks, each with the name of its owner.
    fn blocks(&self) -> Result<Vec<(Ipv4Net, String)>> {
        let list = self.administrator.ask(&["get", "ipamblocks"])?;
        let items = list["items"].as_array().context("a list of blocks")?;
        let read = |spec: &Json| {
            let owner = spec["affinity"].as_str()?.strip_prefix("host:")?;
            Some((spec["cidr"].as_str()?.parse().ok()?, owner.to_string()))
        };
        Ok(items.iter().filter_map(|item| read(&item["spec"])).collect())
    }
}
