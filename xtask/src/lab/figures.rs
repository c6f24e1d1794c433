//! Measures how fast a lab with the programs of this tree is; and on one of its nodes how fast rackpool's
//! plugins are, beside Debian's `ptp` with `host-local`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::handle::Lab;
use super::site::{Cni, LabOptions, run};
use crate::namespace::Namespace;
use xtask::cargo::this_program;
use xtask::guide::terminal::output;

/// The pod that the measured calls are for. It is bound to a node that has no kubelet, so that no kubelet
/// runs it.
const POD: &str = "measured";
const NODE: &str = "nowhere";
/// How often it is asked whether all addresses are given back, and how long to wait in between.
const QUESTIONS: u32 = 3000;
const PAUSE: Duration = Duration::from_millis(100);

/// The seconds of each call of a plugin, round by round.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Calls {
    add: Vec<f64>,
    del: Vec<f64>,
}

/// Measures a lab with these programs, and prints the figures.
pub fn measure(programs: &Path, rounds: usize) -> Result<()> {
    ensure!(rounds > 0, "--rounds 0 measures nothing; give 1 or more");
    let nodes = (0..8).map(|number| format!("kube-node-{number}")).collect();
    let programs = Some(programs.to_path_buf());
    let options = LabOptions { nodes, cni: Cni::Calico, platform: None, programs, is_audited: false };
    let (lab, ready) = timed(|| {
        let lab = Lab::up(&options, |_| ())?;
        lab.install(&["--set", "defaultPool.enabled=false"])?;
        Ok(lab)
    })?;
    line("a lab of 8 nodes, ready", ready);
    println!("{:<58}{:>8.2} GB", "its memory", lab.memory()? as f64 / 1e9);
    // Without encapsulation the nodes need no addresses for tunnels, so that the blocks hold only pods'.
    run(lab.command("calicoctl")?.args(["datastore", "init", "--ipv4-ipip", "Never"]))?;
    let kubectl = |words: &str| run(&mut lab.kubectl(&words.split(' ').collect::<Vec<_>>())?);
    let scale = |replicas: usize| {
        kubectl(&format!("scale deployment nginx --replicas {replicas}"))?;
        kubectl("rollout status deployment/nginx --timeout=600s")
    };
    let rollout = || {
        kubectl("create deployment nginx --image nginx --replicas 10")?;
        kubectl("rollout status deployment/nginx --timeout=600s")
    };
    line("rollout of 10 replicas", timed(rollout)?.1);
    line("scaled from 10 to 100 replicas", timed(|| scale(100))?.1);
    let ask = |question| Ok::<Json, anyhow::Error>(serde_json::from_str(&kubectl(question)?)?);
    let held = || Ok::<usize, anyhow::Error>(held(&ask("get ipamblocks -o json")?));
    ensure!(held()? == 100, "100 replicas run, and the blocks hold {} addresses", held()?);
    let down = || {
        scale(0)?;
        for _ in 0..QUESTIONS {
            let pods = ask("get pods -o json")?;
            if held()? == 0 && pods["items"].as_array().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("after {} s not every address is back", (PAUSE * QUESTIONS).as_secs())
    };
    line("scaled to 0, every pod gone and every address back", timed(down)?.1);
    print_plugins(&lab, rounds)?;
    lab.down()
}

/// How many addresses the blocks hold.
fn held(blocks: &Json) -> usize {
    let blocks = blocks["items"].as_array().into_iter().flatten();
    let ordinals = blocks.filter_map(|block| block["spec"]["allocations"].as_array()).flatten();
    ordinals.filter(|attribute| !attribute.is_null()).count()
}

fn print_plugins(lab: &Lab, rounds: usize) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": "default"},
        "spec": {"nodeName": NODE, "containers": [{"name": POD, "image": "nginx"}]},
    });
    output(&mut lab.kubectl(&["create", "-f", "-"])?, &format!("{node}\n{pod}"))?;
    let node = lab.nodes().first().context("a lab has nodes")?;
    let mut measure = lab.on_node(node, this_program()?)?;
    let said = run(measure.args(["lab", "inside", "measure", &rounds.to_string()]))?;
    let [ours, debians]: [Calls; 2] = serde_json::from_str(&said)?;
    println!("\non {node}, {rounds} rounds, whole processes, median{:>15}{:>12}", "ADD", "DEL");
    for (name, calls) in [("calico with calico-ipam", ours), ("ptp with host-local", debians)] {
        println!("{name:<50}{:>9.1} ms{:>9.1} ms", median(calls.add), median(calls.del));
    }
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).map_or(f64::NAN, |median| median * 1e3)
}

/// Calls both plugins in turn on the node where this process runs, and prints how long each call took.
pub fn measure_here(rounds: usize) -> Result<()> {
    let list: Json = serde_json::from_str(&fs::read_to_string("/etc/cni/net.d/10-calico.conflist")?)?;
    let mut ours = list["plugins"][0].clone();
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.245.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]});
    let mut debians = json!({"type": "ptp", "ipMasq": false, "ipam": ipam});
    let mut measured = [Calls::default(), Calls::default()];
    // Round 0 warms up, and is not counted.
    for round in 0..=rounds {
        for (configuration, calls) in [&mut ours, &mut debians].into_iter().zip(&mut measured) {
            configuration["cniVersion"] = "1.0.0".into();
            configuration["name"] = "figures".into();
            let namespace = Namespace::new()?;
            let add = call("ADD", configuration, round, &namespace)?;
            let del = call("DEL", configuration, round, &namespace)?;
            if round > 0 {
                calls.add.push(add);
                calls.del.push(del);
            }
        }
    }
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Calls a plugin. Gives how long that took, in seconds.
fn call(verb: &str, configuration: &Json, round: usize, namespace: &Namespace) -> Result<f64> {
    let program = configuration["type"].as_str().context("a configuration has a type")?;
    let mut command = Command::new(Path::new("/opt/cni/bin").join(program));
    command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", format!("{round:064x}"));
    command.env("CNI_NETNS", namespace.path()).env("CNI_IFNAME", "eth0").env("CNI_PATH", "/opt/cni/bin");
    command.env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={POD}"));
    let input = configuration.to_string();
    let (said, took) =
        timed(|| output(&mut command, &input)).with_context(|| format!("{verb} of {program}"))?;
    ensure!(verb == "DEL" || said.contains("\"address\""), "{verb} of {program}: {said}");
    Ok(took.as_secs_f64())
}

#[allow(clippy::disallowed_methods, reason = "figures are what this is for")]
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed()))
}

fn line(what: &str, took: Duration) {
    println!("{what:<58}{:>8.1} s", took.as_secs_f64());
}
