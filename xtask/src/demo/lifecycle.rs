//! The life of an installation on real kubelets: installed with a pool for each rack; upgraded and rolled
//! back while pods come, go and ping each other, from an older release and back, too; removed, and installed
//! again; at last removed with all that it has stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};

use xtask::guide::terminal::{heading, output, print_output, show};
use xtask::guide::{NODES, RACKS, rack_of};

use super::kubernetes::{Pod, Stage, on_lab, wait_until};
use super::pings::Pings;
use super::reach::Outside;
use crate::lab::{CHART, PRESENT, Platform};
use crate::older::Older;

/// The tag of the images to which rackpool is upgraded, and that of an older release's.
const NEXT: &str = "next";
const OLDER: &str = "older";
/// The node that has no plugin `portmap`, and the one that has no `loopback`.
const WITHOUT_PORTMAP: &str = NODES[6];
const WITHOUT_LOOPBACK: &str = NODES[7];
/// How many replicas come and go.
const CROWD: &str = "40";
/// Kinds of objects that stay when rackpool is removed.
const KEPT: [&str; 5] = ["ippools", "ipamblocks", "blockaffinities", "ipamhandles", "clusterinformations"];

/// Performs it with these programs, after an older release's if there is one.
pub fn perform(programs: &Path, platform: Option<Platform>, older: Option<&Older>) -> Result<()> {
    on_lab(programs, platform, true, |stage| stage.live(older))
}

impl Stage<'_> {
    fn live(&self, older: Option<&Older>) -> Result<()> {
        for (number, node) in NODES.iter().enumerate() {
            self.administrator.kubectl(&["label", "nodes", node, &format!("rack={}", rack_of(number))])?;
        }
        self.take_plugin(WITHOUT_PORTMAP, "portmap")?;
        self.take_plugin(WITHOUT_LOOPBACK, "loopback")?;
        heading("1. helm install: a pool for each rack");
        let racks: Vec<Json> = RACKS
            .iter()
            .map(|rack| json!({"name": rack.to_string(), "cidr": format!("192.168.{}.0/18", rack * 64)}))
            .collect();
        let racks = format!("racks={}", Json::from(racks));
        let install = self.lab.installation(CHART, &["--set-json", &racks]);
        match older {
            None => self.helm(&install)?,
            Some(older) => self.install_older(older, &racks)?,
        }
        self.lab.wait_for_network()?;
        self.administrator.calicoctl(&["get", "ippool", "-o", "wide"], "")?;
        self.prove_missing_plugins()?;

        self.administrator.kubectl(&["create", "deployment", "nginx", "--image=nginx", "--replicas=10"])?;
        self.administrator.kubectl(&["create", "deployment", "crowd", "--image=nginx", "--replicas=0"])?;
        let pods = self.settle(10)?;
        self.prove_racks(&pods)?;
        let outside = Outside::start(self.lab)?;
        self.prove_reach(&pods, &outside)?;

        if let Some(older) = older {
            heading("This release takes the older one's place; back after it has written; and again");
            self.upgrade(&pods, PRESENT)?;
            self.roll_back(&pods, OLDER)?;
            self.prove_check(&older.programs.join("calicoctl"))?;
            self.upgrade(&pods, PRESENT)?;
        }
        heading("2. helm upgrade, while pods come, go and ping each other");
        self.lab.push_another(NEXT)?;
        self.upgrade(&pods, NEXT)?;

        heading("3. helm rollback, while pods come, go and ping each other");
        self.roll_back(&pods, PRESENT)?;

        heading("4. A node goes and comes back");
        self.replace_node()?;
        let pods = self.settle(10)?;

        heading("5. helm uninstall: pools, addresses and definitions stay, and pods go on");
        let before = self.kept()?;
        let pings = Pings::start(self, &pods)?;
        self.helm(&["uninstall", "rackpool", "--wait", "--timeout", "10m"])?;
        println!("{}", pings.end()?);
        ensure!(self.kept()? == before, "what is kept has changed: {before:?} and {:?}", self.kept()?);
        println!("ok: all of these are as they were: {}", KEPT.join(", "));

        heading("6. The same installation again finds the same addresses");
        self.helm(&install)?;
        self.lab.wait_for_network()?;
        ensure!(self.settle(10)? == pods, "the pods have other addresses than {pods:?}");
        self.prove_reach(&pods, &outside)?;
        self.administrator.kubectl(&["rollout", "restart", "deployment/nginx"])?;
        self.administrator.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=300s"])?;
        let pods = self.settle(10)?;
        self.prove_racks(&pods)?;
        self.prove_reach(&pods, &outside)?;

        heading("7. helm uninstall with purge: refused while pods have addresses; then nothing is left");
        let purge = ["upgrade", "rackpool", CHART, "--reuse-values", "--set", "purge=true"];
        self.helm(&[&purge[..], &["--wait", "--timeout", "20m"]].concat())?;
        let granted = self.granted()?;
        self.purge()?;

        heading("8. Nobody was refused anything");
        self.prove_rights(&granted)
    }

    /// Uninstalls a release whose value `purge` is true: first while pods have addresses, then without pods.
    fn purge(&self) -> Result<()> {
        let uninstall = ["uninstall", "rackpool", "--wait", "--timeout", "10m"];
        let before = self.kept()?;
        ensure!(self.helm(&uninstall).is_err(), "rackpool was removed, although pods have addresses");
        let log =
            output(&mut self.lab.kubectl(&["logs", "--namespace=rackpool", "job/rackpool-purge"])?, "")?;
        print_output(&log);
        ensure!(log.contains("nothing was removed") && log.contains("--in-use"), "the Job does not say why");
        ensure!(self.kept()? == before, "what is kept has changed: {before:?} and {:?}", self.kept()?);
        println!("ok: it was refused, and nothing has changed");
        self.administrator.kubectl(&["delete", "deployments", "--all", "--cascade=foreground"])?;
        self.helm(&uninstall)?;
        for (kind, part) in [("customresourcedefinitions", "projectcalico.org"), ("daemonsets", "rackpool")] {
            let list = self.administrator.ask(&["get", kind, "--all-namespaces"])?;
            let names = list["items"].as_array().into_iter().flatten().map(|item| &item["metadata"]["name"]);
            let left: Vec<_> = names.filter(|name| name.to_string().contains(part)).collect();
            ensure!(left.is_empty(), "{kind} are left: {left:?}");
        }
        println!("ok: no pool, no address and no definition is left");
        Ok(())
    }

    /// Deletes a Node, has the controllers give back what it had, and boots the machine again.
    fn replace_node(&self) -> Result<()> {
        let node = NODES[0];
        self.administrator.kubectl(&["delete", "node", node])?;
        wait_until(1, || {
            let kept = self.kept()?;
            let of_node = kept.iter().find(|(_, spec)| spec.contains(&format!("\"host:{node}\"")));
            ensure!(of_node.is_none(), "the deleted node still has {of_node:?}");
            Ok(())
        })?;
        println!("ok: the blocks of {node} are free");
        self.lab.restart_node(node)?;
        wait_until(1, || self.administrator.ask(&["get", "node", node]).map(drop))?;
        self.administrator.kubectl(&["label", "nodes", node, &format!("rack={}", rack_of(0))])?;
        self.lab.wait_for_network()
    }

    /// Runs helm, and shows the command and its output without the notes.
    fn helm(&self, words: &[&str]) -> Result<()> {
        show("helm", words, None);
        let said = output(&mut self.lab.helm(words)?, "")?;
        print_output(said.split("NOTES:").next().unwrap_or_default());
        Ok(())
    }

    fn take_plugin(&self, node: &str, plugin: &str) -> Result<()> {
        output(self.lab.on_node(node, "rm")?.arg(format!("{}/{plugin}", self.lab.folders().plugins)), "")
            .map(drop)
    }

    /// Checks that nodes without a plugin say which one is missing. Then gives back the one without which no
    /// pod starts.
    fn prove_missing_plugins(&self) -> Result<()> {
        let problem = |node: &str| -> Result<String> {
            let asked = self.administrator.ask(&["get", "node", node])?;
            let mut all = asked["status"]["conditions"].as_array().into_iter().flatten();
            let problem = all.find(|condition| condition["type"] == "RackpoolProblem");
            let message = problem.and_then(|problem| problem["message"].as_str());
            Ok(message.context("no condition RackpoolProblem")?.to_string())
        };
        for (node, plugin) in [(WITHOUT_PORTMAP, "portmap"), (WITHOUT_LOOPBACK, "loopback")] {
            let told = wait_until(1, || {
                let problem = problem(node)?;
                ensure!(problem.contains(&format!("the plugin {plugin} is")), "{node} says {problem}");
                Ok(problem)
            })?;
            println!("ok: {node}, which has no plugin {plugin}, says: {told}");
        }
        let mut copy = self.lab.on_node(WITHOUT_LOOPBACK, "cp")?;
        output(copy.arg("/usr/lib/cni/loopback").arg(self.lab.folders().plugins), "").map(drop)
    }

    /// Runs helm while replicas come and go and pods ping each other. Checks that no packet and no container
    /// was lost by it, and that the addresses agree afterwards.
    fn under_load(&self, pods: &[Pod], words: &[&str]) -> Result<()> {
        let failed_before = self.failed()?;
        let pings = Pings::start(self, pods)?;
        show("helm", words, None);
        let mut helm = self.lab.helm(words)?;
        let mut helm = helm.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut rounds = 0;
        while helm.try_wait()?.is_none() {
            self.crowd()?;
            rounds += 1;
        }
        let out = helm.wait_with_output()?;
        ensure!(out.status.success(), "helm: {}", String::from_utf8_lossy(&out.stderr));
        println!("{}", pings.end()?);
        let failed = self.failed()?;
        ensure!(failed == failed_before, "sandboxes failed meanwhile: {failed:?}, before {failed_before:?}");
        println!("ok: {rounds} times {CROWD} pods came and went meanwhile, and no sandbox failed");
        ensure!(self.settle(10)? == pods, "the pods have other addresses than {pods:?}");
        self.prove_check(Path::new("calicoctl"))
    }

    /// Checks that a release's calicoctl finds no problem.
    fn prove_check(&self, calicoctl: &Path) -> Result<()> {
        let said = wait_until(1, || {
            let said = output(self.lab.command(calicoctl)?.args(["ipam", "check"]), "")?;
            ensure!(said.contains("Check complete; found 0 problems"), "{said}");
            Ok(said)
        })?;
        println!(
            "ok: {} ipam check: {}",
            calicoctl.display(),
            said.trim_end().lines().last().unwrap_or_default()
        );
        Ok(())
    }

    /// Installs an older release by its own chart.
    fn install_older(&self, older: &Older, racks: &str) -> Result<()> {
        ensure!(older.chart.exists(), "the older release has no chart; name a later one: --from REVISION");
        self.lab.push(&older.programs, OLDER)?;
        let (chart, tag) = (older.chart.display().to_string(), format!("image.tag={OLDER}"));
        self.helm(&self.lab.installation(&chart, &["--set-json", racks, "--set", &tag]))?;
        self.prove_tag(OLDER)
    }

    /// Upgrades to the chart of this tree, with the images of this tag, while pods come, go and ping.
    fn upgrade(&self, pods: &[Pod], tag: &str) -> Result<()> {
        let set = format!("image.tag={tag}");
        let upgrade = ["upgrade", "rackpool", CHART, "--reset-then-reuse-values", "--set", &set];
        self.under_load(pods, &[&upgrade[..], &["--wait", "--timeout", "20m"]].concat())?;
        self.prove_tag(tag)
    }

    /// Goes back to the release before, which has the images of this tag, while pods come, go and ping.
    fn roll_back(&self, pods: &[Pod], tag: &str) -> Result<()> {
        self.under_load(pods, &["rollback", "rackpool", "--wait", "--timeout", "20m"])?;
        self.prove_tag(tag)
    }

    /// Has a crowd of pods come and go.
    fn crowd(&self) -> Result<()> {
        let kubectl = |words: &[&str]| output(&mut self.lab.kubectl(words)?, "");
        kubectl(&["scale", "deployment", "crowd", "--replicas", CROWD])?;
        kubectl(&["rollout", "status", "deployment/crowd", "--timeout=600s"])?;
        kubectl(&["scale", "deployment", "crowd", "--replicas", "0"])?;
        wait_until(1, || {
            let pods = self.administrator.ask(&["get", "pods", "-l", "app=crowd"])?;
            let left = pods["items"].as_array().map_or(0, Vec::len);
            ensure!(left == 0, "{left} of the crowd are left");
            Ok(())
        })
    }

    /// How often sandboxes of pods were not made or not removed, by pod and message.
    fn failed(&self) -> Result<BTreeMap<String, u64>> {
        let mut failed = BTreeMap::new();
        for reason in ["FailedCreatePodSandBox", "FailedKillPod"] {
            let field = format!("--field-selector=reason={reason}");
            let events = self.administrator.ask(&["get", "events", "--all-namespaces", &field])?;
            for event in events["items"].as_array().into_iter().flatten() {
                let about = format!("{}: {}", event["involvedObject"]["name"], event["message"]);
                failed.insert(about, event["count"].as_u64().unwrap_or(1));
            }
        }
        Ok(failed)
    }

    fn prove_tag(&self, tag: &str) -> Result<()> {
        let image = json!(format!("rackpool/rackpoold:{tag}"));
        // Former ones may still be ending.
        wait_until(1, || {
            let pods = self.administrator.ask(&["get", "pods", "--namespace", "rackpool"])?;
            let pods = pods["items"].as_array().context("a list of pods")?;
            let all = pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == image);
            ensure!(
                all && pods.len() == NODES.len() + 2,
                "not all of {} pods have the image {image}",
                pods.len()
            );
            Ok(())
        })?;
        println!("ok: {} agents and 2 controllers have the image {image}", NODES.len());
        Ok(())
    }

    /// What stays when rackpool is removed: kinds, and names with their specs.
    fn kept(&self) -> Result<BTreeMap<String, String>> {
        let mut kept = BTreeMap::new();
        for kind in KEPT {
            let list = self.administrator.ask(&["get", &format!("{kind}.crd.projectcalico.org")])?;
            for item in list["items"].as_array().with_context(|| format!("a list of {kind}"))? {
                kept.insert(format!("{kind} {}", item["metadata"]["name"]), item["spec"].to_string());
            }
        }
        ensure!(!kept.is_empty(), "there are no objects of {}", KEPT.join(", "));
        Ok(kept)
    }
}
