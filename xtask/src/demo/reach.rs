//! What the nodes' agents do for the guide's cluster: pods reach each other and the outside, and what keeps
//! them from it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};

use xtask::guide::terminal::{output, print_output, show};
use xtask::guide::{NODES, RACKS};

use super::kubernetes::{BUSYBOX, Pod, Stage, body, question, request, wait_until};
use crate::lab::Lab;

/// The address and the port of the host outside of the cluster.
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const PORT: u16 = 8080;
/// Where that host tells who asks.
const WHO: &str = "/cgi-bin/who";
/// What stands between two answers.
const BETWEEN: &str = "====";

/// A host outside of the cluster, which tells over HTTP from which address it is asked. It is the cluster's
/// router, at another address.
pub(super) struct Outside(Child);

impl Outside {
    /// Starts the host.
    pub(super) fn start(lab: &Lab) -> Result<Outside> {
        let address = format!("{OUTSIDE}/32");
        output(lab.command("ip")?.args(["address", "add", &address, "dev", "lo"]), "")?;
        let folder = lab.folder().join("outside");
        fs::create_dir_all(folder.join("cgi-bin"))?;
        let script = folder.join(&WHO[1..]);
        let text = "printf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' \"$REMOTE_ADDR\"";
        fs::write(&script, format!("#!{BUSYBOX} sh\n{text}\n"))?;
        fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        let mut server = lab.command(BUSYBOX)?;
        server.args(["httpd", "-f", "-p", &format!("{OUTSIDE}:{PORT}"), "-h"]).arg(&folder);
        server.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Outside(server.spawn().context("a server outside of the cluster")?))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It may have ended by itself, with the lab.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage<'_> {
    /// Checks what the agents say on the nodes of the guide's own pools, which are IPIP's: that the network
    /// is there; and, where the kernel has no IPIP, that it has none.
    pub(super) fn prove_agents(&self, pods: &[Pod]) -> Result<()> {
        let nodes = self.administrator.ask(&["get", "nodes"])?;
        let nodes = nodes["items"].as_array().context("a list of nodes")?;
        ensure!(nodes.len() == NODES.len(), "there are {} nodes", nodes.len());
        for node in nodes {
            let up = condition(node, "NetworkUnavailable")?;
            ensure!(up["status"] == "False" && up["reason"] == "RackpoolIsUp", "{up}");
        }
        println!("ok: each node says NetworkUnavailable=False, by its agent");
        let has_ipip = self.lab.on_node(NODES[0], "ip")?.args(["link", "show", "tunl0"]).output()?;
        if has_ipip.status.success() {
            return self.prove_pairs(pods);
        }
        wait_until(1, || {
            let nodes = self.administrator.ask(&["get", "nodes"])?;
            for node in nodes["items"].as_array().context("a list of nodes")? {
                let problem = condition(node, "RackpoolProblem")?;
                let is_told =
                    problem["message"].as_str().is_some_and(|text| text.contains("no IPIP tunnels"));
                ensure!(problem["status"] == "True" && is_told, "{}: {problem}", node["metadata"]["name"]);
            }
            let events = ["get", "events", "--field-selector", "reason=IpipMissing"];
            let events = self.administrator.ask(&events)?;
            let of: BTreeSet<&str> = events["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|event| event["involvedObject"]["name"].as_str())
                .collect();
            ensure!(of == BTreeSet::from(NODES), "only {of:?} have an event IpipMissing");
            Ok(())
        })?;
        println!(
            "ok: this kernel has no IPIP, and each node says so by the condition RackpoolProblem and the event IpipMissing"
        );
        Ok(())
    }

    /// Checks that another agent takes the place of one that is gone, and gives its node's plugins a new
    /// token.
    pub(super) fn prove_renewal(&self) -> Result<()> {
        let node = NODES[0];
        let path = format!("{}/calico-kubeconfig", self.lab.folders().networks);
        let kubeconfig = || output(self.lab.on_node(node, "cat")?.arg(&path), "");
        let before = kubeconfig()?;
        let field = format!("--field-selector=spec.nodeName={node}");
        let of_node = ["--namespace", "rackpool", "-l", "app.kubernetes.io/name=rackpoold-node", &field];
        self.administrator.kubectl(&[&["delete", "pod"], &of_node[..]].concat())?;
        wait_until(1, || {
            ensure!(kubeconfig()? != before, "the plugins of {node} have the token that they had");
            Ok(())
        })?;
        println!("ok: {node} has another agent, and its plugins have a new token");
        Ok(())
    }

    /// Changes the pools' encapsulation, and waits until every node has the routes that it is to have.
    pub(super) fn encapsulate(&self, vxlan: &str) -> Result<()> {
        let patch = json!({"spec": {"ipipMode": "Never", "vxlanMode": vxlan}}).to_string();
        for rack in RACKS {
            let pool = format!("rack-{rack}-ippool");
            self.administrator.calicoctl(&["patch", "ippool", &pool, "--patch", &patch], "")?;
        }
        // While one node is looked at, another one may get an address to which the first needs a route.
        let lines = wait_until(2, || {
            let look =
                |node: &&str| output(self.lab.on_node(node, "rackpoold")?.args(["node", "status"]), "");
            NODES.iter().map(look).collect::<Result<Vec<_>>>()
        })?;
        show("rackpoold", &["node", "status"], None);
        print_output(&lines[0]);
        Ok(())
    }

    /// Checks that every pod reaches every other by its address, and a host outside by its node's address.
    pub(super) fn prove_reach(&self, pods: &[Pod], Outside(_): &Outside) -> Result<()> {
        self.prove_pairs(pods)?;
        let nodes = self.addresses_of_nodes()?;
        for pod in pods {
            let answer = self.in_pod(pod, &format!("{} || exit 1", request(WHO, OUTSIDE, PORT)))?;
            let seen =
                body(&answer).with_context(|| format!("{} on {} asks {OUTSIDE}", pod.name, pod.node))?;
            ensure!(
                nodes.get(&pod.node).is_some_and(|node| node == seen),
                "{} on {} comes from {seen}",
                pod.name,
                pod.node
            );
        }
        println!(
            "ok: {} pods ask {OUTSIDE}, outside of the cluster, and come from their nodes' addresses",
            pods.len()
        );
        Ok(())
    }

    /// Checks that every pod reaches every other by its address.
    fn prove_pairs(&self, pods: &[Pod]) -> Result<()> {
        let mut count = 0;
        for from in pods {
            let others: Vec<&Pod> = pods.iter().filter(|other| *other != from).collect();
            let lines = others
                .iter()
                .map(|other| format!("{} || exit 1; echo {BETWEEN}\n", request("/", other.address, 80)));
            let answers = self.in_pod(from, &lines.collect::<String>())?;
            let mut answers = answers.split(BETWEEN);
            for to in others {
                let pair = || format!("{} on {} asks {} on {}", from.name, from.node, to.name, to.node);
                let heard = body(answers.next().unwrap_or_default()).with_context(pair)?;
                ensure!(heard == to.name, "{} and hears {heard:?}", pair());
                count += 1;
            }
        }
        println!(
            "ok: each of {} pods reaches each other by its address: {count} questions over HTTP",
            pods.len()
        );
        Ok(())
    }

    /// Gives the cluster's router the routes that it is to have, and checks that it has one a rack and
    /// reaches every pod.
    pub(super) fn prove_router(&self, pods: &[Pod]) -> Result<()> {
        let arguments = ["routes", "tor", "all", "--format", "ip"];
        let lines = output(&mut (self.administrator.calicoctl)(&arguments)?, "")?;
        show("calicoctl", &arguments, None);
        print_output(&lines);
        output(self.lab.command("sh")?.arg("-e"), &lines)?;
        let table =
            output(self.lab.command("ip")?.args(["-4", "route", "show", "root", "192.168.0.0/16"]), "")?;
        let networks: BTreeSet<&str> = table
            .lines()
            .filter(|line| !line.starts_with(char::is_whitespace))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let wanted: BTreeSet<String> =
            RACKS.iter().map(|rack| format!("192.168.{}.0/18", rack * 64)).collect();
        ensure!(networks == wanted.iter().map(String::as_str).collect(), "the router has\n{table}");
        self.administrator.calicoctl(&["routes", "check", "--router", "all", "--kernel"], "")?;
        for pod in pods {
            let answer = output(self.lab.command(BUSYBOX)?.args(question(pod.address)), "")?;
            let heard = body(&answer)?;
            ensure!(heard == pod.name, "{} answers {heard:?}, and should be {}", pod.address, pod.name);
        }
        println!(
            "ok: the router has {} routes to pods, one a rack, and reaches {} pods by them",
            networks.len(),
            pods.len()
        );
        Ok(())
    }

    fn addresses_of_nodes(&self) -> Result<BTreeMap<String, String>> {
        let nodes = self.administrator.ask(&["get", "nodes"])?;
        let read = |node: &Json| {
            let mut addresses = node["status"]["addresses"].as_array()?.iter();
            let internal = addresses.find(|address| address["type"] == "InternalIP")?;
            Some((node["metadata"]["name"].as_str()?.to_string(), internal["address"].as_str()?.to_string()))
        };
        Ok(nodes["items"].as_array().into_iter().flatten().filter_map(read).collect())
    }
}

fn condition<'a>(node: &'a Json, kind: &str) -> Result<&'a Json> {
    let mut all = node["status"]["conditions"].as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == kind)
        .with_context(|| format!("{} has no condition {kind}", node["metadata"]["name"]))
}
