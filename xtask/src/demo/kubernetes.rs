//! The guide on a cluster of real kubelets: its own commands, then proof by looking at the cluster and not at ourselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::Ipv4Net;
use serde_json::Value as Json;

use xtask::guide::terminal::{heading, output, print_output, show};
use xtask::guide::{self, NODES, RACKS, Replica, proof};

use crate::lab::{Cni, Lab, Options};

/// How often it is asked whether all is as it should be, and how long to wait in between.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(250);
/// How often all must have been as it should, one time after the other, before the cluster counts as settled.
const SETTLED: u32 = 8;
/// In the replicas, and on the nodes.
const BUSYBOX: &str = "/bin/busybox";

/// Performs the guide with these programs.
pub fn perform(programs: &Path) -> Result<()> {
    let nodes = NODES.map(str::to_string).to_vec();
    let options = Options { nodes, cni: Cni::Calico, programs: Some(programs.to_path_buf()) };
    let lab = Lab::up(&options, |text| println!("{text}"))?;
    Stage { lab: &lab }.perform()?;
    lab.down()
}

/// Where the demo takes place.
struct Stage<'a> {
    lab: &'a Lab,
}

/// A replica that runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pod {
    name: String,
    node: String,
    address: Ipv4Addr,
}

/// What busybox is to do to ask over HTTP. Its wget, linked statically, crashes on names.
fn question(address: Ipv4Addr) -> [String; 3] {
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | {BUSYBOX} nc -w 10 {address} 80");
    ["sh".to_string(), "-c".to_string(), script]
}

/// The body of a good answer.
fn body(answer: &str) -> Result<&str> {
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("no answer over HTTP: {answer:?}"))?;
    ensure!(head.contains(" 200 "), "{head}");
    Ok(body.trim())
}

impl Stage<'_> {
    fn perform(&self) -> Result<()> {
        heading("A fresh cluster of eight nodes: the default pool is there");
        self.kubectl(&["get", "nodes"])?;
        self.calicoctl(&["datastore", "init"], None)?;
        self.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("1. Delete the default IP pool");
        self.calicoctl(&["delete", "ippools", "default-ipv4-ippool"], None)?;

        heading("2. Label the nodes");
        for (number, node) in NODES.iter().enumerate() {
            self.kubectl(&["label", "nodes", node, &format!("rack={}", guide::rack_of(number))])?;
        }

        heading("3. Create an IP pool for each rack");
        for rack in RACKS {
            self.calicoctl(&["create", "-f", "-"], Some(&guide::pool(rack)))?;
        }
        self.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("4. Ten replicas of nginx: the scheduler places them, and the kubelets call the plugins");
        self.kubectl(&["create", "deployment", "nginx", "--image", "nginx"])?;
        self.kubectl(&["scale", "deployment", "nginx", "--replicas", "10"])?;
        self.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=300s"])?;
        self.calicoctl(&["get", "wep", "-o", "wide"], None)?;

        heading("The proof: what the cluster says and does");
        let pods = self.settle(10)?;
        self.prove_racks(&pods)?;
        self.prove_answers(&pods)?;
        self.prove_reach(&pods)?;

        heading("5. A node loses its power, and boots");
        self.power_cut(&pods)?;

        heading("6. Two replicas are enough: the addresses of the others come back");
        let before: BTreeSet<Pod> = self.settle(10)?.into_iter().collect();
        self.kubectl(&["scale", "deployment", "nginx", "--replicas", "2"])?;
        let after = self.settle(2)?;
        ensure!(after.iter().all(|pod| before.contains(pod)), "{after:?} are not among {before:?}");
        self.calicoctl(&["ipam", "show", "--show-blocks"], None)?;
        println!("ok: {} addresses are back", before.len() - after.len());
        Ok(())
    }

    /// Proves each address against the pool of its rack.
    fn prove_racks(&self, pods: &[Pod]) -> Result<()> {
        let blocks = self.blocks()?;
        let placed = pods.iter().map(|pod| {
            let number = NODES.iter().position(|node| *node == pod.node);
            let number = number.with_context(|| format!("{} is none of the nodes", pod.node))?;
            let (block, owner) = blocks
                .iter()
                .find(|(block, _)| block.contains(&pod.address))
                .with_context(|| format!("no block holds {}", pod.address))?;
            ensure!(*owner == pod.node, "{} on {} is of {owner}'s block {block}", pod.address, pod.node);
            let replica = Replica {
                pod: pod.name.clone(),
                node: NODES[number],
                rack: guide::rack_of(number),
                container: String::new(),
            };
            Ok((replica, format!("{}/{}", pod.address, block.prefix_len())))
        });
        let placed = placed.collect::<Result<Vec<_>>>()?;
        let ask = |what| {
            serde_json::from_str(&self.calicoctl_output(&["get", what, "-o", "json"], "")?).context(what)
        };
        for line in proof::check(&placed, &ask("wep")?, &ask("ippool")?)? {
            println!("{line}");
        }
        Ok(())
    }

    /// Proves that every pod answers its node over HTTP, with its own name.
    fn prove_answers(&self, pods: &[Pod]) -> Result<()> {
        for pod in pods {
            let answer = output(self.lab.on_node(&pod.node, BUSYBOX)?.args(question(pod.address)), "")?;
            let heard = body(&answer)?;
            ensure!(heard == pod.name, "{} answers {heard:?}, and should be {}", pod.address, pod.name);
        }
        println!("ok: {} pods answer over HTTP, each its own node and with its own name", pods.len());
        Ok(())
    }

    /// Proves that pods of different racks reach each other, by the routes that the lab installs, one for each block.
    fn prove_reach(&self, pods: &[Pod]) -> Result<()> {
        let count = self.lab.install_routes()?;
        let mut asked = 0;
        for (from, to) in pods.iter().zip(pods.iter().cycle().skip(pods.len() / 2)) {
            if from.node == to.node {
                continue;
            }
            let answer = self.in_pod(from, &question(to.address))?;
            let heard = body(&answer)?;
            ensure!(heard == to.name, "{} asks {} and hears {heard:?}", from.name, to.name);
            asked += 1;
        }
        ensure!(asked > 0, "all pods are on one node");
        println!(
            "ok: with a route to each of the {count} blocks, {asked} pods asked one of another node, and heard it"
        );
        Ok(())
    }

    /// What busybox says in a pod.
    fn in_pod(&self, pod: &Pod, arguments: &[String]) -> Result<String> {
        let selector = format!(
            "labels.\"io.kubernetes.pod.name\"=={},labels.\"io.cri-containerd.kind\"==container",
            pod.name
        );
        let mut list = self.lab.on_node(&pod.node, "ctr")?;
        let containers = output(list.args(["containers", "list", "--quiet", &selector]), "")?;
        let container =
            containers.lines().next().with_context(|| format!("{} has no container", pod.name))?;
        let mut exec = self.lab.on_node(&pod.node, "ctr")?;
        exec.args(["tasks", "exec", "--exec-id", "ask", container, BUSYBOX]);
        output(exec.args(arguments), "")
    }

    /// Cuts the power of a node with replicas; once it runs again, nothing is there twice, and blocks and pods agree.
    fn power_cut(&self, pods: &[Pod]) -> Result<()> {
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
        self.prove_answers(&again)
    }

    /// Waits until so many replicas run, blocks and pods agree address by address, and it stays so; the replicas.
    fn settle(&self, count: usize) -> Result<Vec<Pod>> {
        let (mut agreed, mut reason) = (0, String::new());
        for _ in 0..QUESTIONS {
            match self.agree(count) {
                Ok(found) => {
                    agreed += 1;
                    if agreed == SETTLED {
                        println!("{}", found.1);
                        return Ok(found.0);
                    }
                }
                Err(error) => (agreed, reason) = (0, format!("{error:#}")),
            }
            std::thread::sleep(PAUSE);
        }
        bail!("after {} s: {reason}", (PAUSE * QUESTIONS).as_secs())
    }

    /// The replicas, and a line that proves that the blocks hold their addresses and no other.
    fn agree(&self, count: usize) -> Result<(Vec<Pod>, String)> {
        let list = self.ask(&["get", "pods", "-l", "app=nginx"])?;
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
        Ok((pods, proof::check_blocks(&self.ask(&["get", "ipamblocks"])?, &list)?))
    }

    /// The blocks and their owners.
    fn blocks(&self) -> Result<Vec<(Ipv4Net, String)>> {
        let list = self.ask(&["get", "ipamblocks"])?;
        let items = list["items"].as_array().context("a list of blocks")?;
        let read = |spec: &Json| {
            let owner = spec["affinity"].as_str()?.strip_prefix("host:")?;
            Some((spec["cidr"].as_str()?.parse().ok()?, owner.to_string()))
        };
        Ok(items.iter().filter_map(|item| read(&item["spec"])).collect())
    }

    /// Asks kubectl for JSON, without showing it.
    fn ask(&self, arguments: &[&str]) -> Result<Json> {
        let out = output(self.lab.kubectl(arguments)?.args(["-o", "json"]), "")?;
        serde_json::from_str(&out).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs kubectl, shows the command and what it says.
    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        show("kubectl", arguments, None);
        print_output(&output(&mut self.lab.kubectl(arguments)?, "")?);
        Ok(())
    }

    /// Runs calicoctl, shows the command and what it says.
    fn calicoctl(&self, arguments: &[&str], input: Option<&str>) -> Result<()> {
        show("calicoctl", arguments, input);
        print_output(&self.calicoctl_output(arguments, input.unwrap_or_default())?);
        Ok(())
    }

    fn calicoctl_output(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command: Command = self.lab.command("calicoctl")?;
        output(command.args(arguments).stdin(Stdio::piped()), input)
    }
}
