//! Services, as the nodes' kube-proxies make them for pods with addresses of the guide's pools.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use xtask::guide::terminal::output;
use xtask::guide::{NODES, rack_of};

use super::kubernetes::{BUSYBOX, Pod, Stage, body, request, wait_until};

/// How often each asks. A service answers with any of its pods; so that all answers come from one rack of
/// four does not happen.
const QUESTIONS: usize = 24;
/// What stands between two answers.
const BETWEEN: &str = "====";
/// A network that no pool is in.
const ELSEWHERE: &str = "10.99.0.0/16";

impl Stage<'_> {
    /// Makes a service of the replicas, and gives its address.
    pub(super) fn expose(&self) -> Result<Ipv4Addr> {
        self.administrator.kubectl(&["expose", "deployment", "nginx", "--port", "80"])?;
        self.administrator.kubectl(&["get", "service", "nginx"])?;
        let service = self.administrator.ask(&["get", "service", "nginx"])?;
        Ok(service["spec"]["clusterIP"].as_str().context("a service without an address")?.parse()?)
    }

    /// Checks that pods and nodes of every rack reach replicas of other racks by the service's address.
    pub(super) fn prove_service(&self, pods: &[Pod], service: Ipv4Addr) -> Result<()> {
        let script = format!("{} || exit 1; echo {BETWEEN}\n", request("/", service, 80)).repeat(QUESTIONS);
        let racks: BTreeMap<&str, usize> =
            NODES.iter().enumerate().map(|(number, node)| (*node, rack_of(number))).collect();
        let rack_of = |node: &str| racks.get(node).copied().context("none of the nodes");
        let mut asking: BTreeMap<usize, &Pod> = BTreeMap::new();
        for pod in pods {
            asking.entry(rack_of(&pod.node)?).or_insert(pod);
        }
        let heard = |answers: &str| -> Result<Vec<usize>> {
            let bodies = answers.split(BETWEEN).take(QUESTIONS).map(|answer| {
                let name = body(answer)?;
                let pod = pods.iter().find(|pod| pod.name == name);
                rack_of(&pod.with_context(|| format!("{name:?} is none of the replicas"))?.node)
            });
            bodies.collect()
        };
        for (rack, pod) in &asking {
            for (who, answers) in [
                (format!("the pod {} on {}", pod.name, pod.node), self.in_pod(pod, &script)?),
                (
                    format!("the node {}", pod.node),
                    output(self.lab.on_node(&pod.node, BUSYBOX)?.args(["sh", "-c", &script]), "")?,
                ),
            ] {
                let heard = heard(&answers).with_context(|| format!("{who} asks {service}"))?;
                ensure!(heard.iter().any(|other| other != rack), "{who} of rack {rack} hears {heard:?}");
            }
        }
        println!(
            "ok: by the service's address {service} a pod and a node of each of {} racks reach replicas of other racks",
            asking.len()
        );
        Ok(())
    }

    /// Checks that the agent tells of a kube-proxy that takes pods for strangers, and that this is over when
    /// kube-proxy is told the right network.
    pub(super) fn prove_proxy_is_read(&self) -> Result<()> {
        let node = NODES[0];
        let problem = || -> Result<String> {
            let asked = self.administrator.ask(&["get", "node", node])?;
            let mut all = asked["status"]["conditions"].as_array().into_iter().flatten();
            let problem = all.find(|condition| condition["type"] == "RackpoolProblem");
            let message = problem.and_then(|problem| problem["message"].as_str());
            Ok(message.context("no condition RackpoolProblem")?.to_string())
        };
        let is_told = |problem: &str| problem.contains("kube-proxy") && problem.contains(ELSEWHERE);
        self.lab.restart_proxy(node, Some(ELSEWHERE))?;
        let told = wait_until(1, || {
            let problem = problem()?;
            ensure!(is_told(&problem), "{node} says {problem}");
            Ok(problem)
        })?;
        println!("{node}, whose kube-proxy was told --cluster-cidr={ELSEWHERE}, says: {told}");
        self.lab.restart_proxy(node, None)?;
        wait_until(1, || {
            let problem = problem()?;
            ensure!(!is_told(&problem), "{node} still says {problem}");
            Ok(())
        })?;
        println!("ok: the agent reads what kube-proxy was told, and tells what does not fit the pools");
        Ok(())
    }
}
