//! The rack guide on a Kubernetes control plane without nodes, with the guide's own kubectl and calicoctl
//! commands. The real scheduler places the pods.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value as Json, json};
use servers::kube_server::{self, KubeServer, KubeServerOptions};

use xtask::guide::plugin::Plugin;
use xtask::guide::terminal::{Terminal, heading, output, show};
use xtask::guide::{NODES, proof};

use super::administrator::Administrator;
use super::kubelets::Kubelets;
use crate::needs;

/// The programs of Kubernetes that this demo needs.
const PROGRAMS: [&str; 3] = ["kube-apiserver", "kube-scheduler", "kube-controller-manager"];
/// How often a state is looked for before the demo fails, and how long to wait in between.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// Whether this demo can run on this machine; prints what is missing.
pub fn can_be_had() -> bool {
    if kube_server::is_left_out() {
        return false;
    }
    let needed = needs::kubernetes_can_be_had(&PROGRAMS);
    if let Err(error) = &needed {
        println!("left out: {error}");
    }
    needed.is_ok()
}

/// Builds the programs that this demo needs; an error says what is missing.
pub fn prepare() -> Result<()> {
    if can_be_had() { needs::kubernetes(&PROGRAMS) } else { Ok(()) }
}

/// Performs the guide with these programs.
pub fn perform(programs: &Path) -> Result<()> {
    needs::kubernetes(&PROGRAMS)?;
    println!("starting etcd, {}", PROGRAMS.join(", "));
    let server = KubeServer::try_start(KubeServerOptions::new().whole().with_nodes_taken_for_ready())?;
    let kubeconfig = server.kubeconfig();
    // The folder is removed with the server's, in whatever way this demo ends.
    let folder = server.directory().join("demo");
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    println!("registering {} nodes", NODES.len());
    let plugin = Plugin {
        program: programs.join("calico-ipam"),
        folder: folder.clone(),
        environment: Vec::new(),
        store: Map::from_iter([
            ("datastore_type".to_string(), json!("kubernetes")),
            ("policy".to_string(), json!({ "type": "k8s" })),
            ("kubernetes".to_string(), json!({ "kubeconfig": kubeconfig })),
        ]),
    };
    let kubelets = Kubelets::register(&server, &NODES, plugin)?;
    let terminal = Terminal {
        programs: programs.to_path_buf(),
        folder,
        environment: vec![
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("DATASTORE_TYPE", "kubernetes".to_string()),
        ],
    };
    let administrator = Administrator {
        kubectl: Box::new(|arguments| Ok(server.kubectl(arguments))),
        calicoctl: Box::new(move |arguments| Ok(terminal.command(arguments))),
    };
    Stage { server: &server, administrator, kubelets }.perform()
}

/// The parts of the running demo.
struct Stage<'a> {
    server: &'a KubeServer,
    administrator: Administrator<'a>,
    kubelets: Kubelets<'a>,
}

impl Stage<'_> {
    fn perform(mut self) -> Result<()> {
        self.administrator.calicoctl(&["datastore", "init"], "")?;
        self.administrator.prepare("the nodes call the plugin")?;
        self.roll_out()?;
        self.administrator.calicoctl(&["get", "wep", "-owide"], "")?;
        let before = self.prove(10)?;

        heading("5. Two replicas are enough: the addresses of the others come back");
        self.administrator.kubectl(&["scale", "deployment", "nginx", "--replicas", "2"])?;
        self.wait_for_pods(2)?;
        self.administrator.calicoctl(&["get", "wep", "-owide"], "")?;
        self.administrator.calicoctl(&["ipam", "show", "--show-blocks"], "")?;
        let after = self.prove_blocks()?;
        ensure!(after.iter().all(|pod| before.contains(pod)), "{after:?} are not among {before:?}");
        println!("ok: {} addresses are back", before.len() - after.len());
        Ok(())
    }

    /// Checks that each address is in the pool of its node's rack. Gives the names of the pods.
    fn prove(&self, replicas: usize) -> Result<Vec<String>> {
        heading("The proof: each address against the pool of its rack, as the API server has them");
        let running = self.kubelets.running().into_iter();
        let placed: Vec<_> = running.map(|(pod, address)| (pod.pod, pod.node, address)).collect();
        ensure!(placed.len() == replicas, "{} replicas run, not {replicas}", placed.len());
        self.administrator.prove_racks(placed)?;
        self.prove_blocks()
    }

    /// Checks that the blocks hold the pods' addresses and no others. Gives the names of the pods.
    fn prove_blocks(&self) -> Result<Vec<String>> {
        let pods = self.pods()?;
        let blocks = self.administrator.ask(&["get", "ipamblocks"])?;
        let nodes = self.administrator.ask(&["get", "nodes"])?;
        println!("{}", proof::check_blocks(&blocks, &pods, &nodes)?);
        let names = pods["items"].as_array().into_iter().flatten();
        Ok(names.map(|pod| pod["metadata"]["name"].to_string()).collect())
    }

    /// Waits until all replicas run, while kubectl shows the progress.
    fn roll_out(&mut self) -> Result<()> {
        let arguments = ["rollout", "status", "deployment/nginx", "--timeout=300s"];
        show("kubectl", &arguments, None);
        let mut kubectl = self.server.kubectl(&arguments).stdin(Stdio::null()).spawn()?;
        let status = loop {
            if let Some(status) = kubectl.try_wait()? {
                break status;
            }
            if let Err(error) = self.tell_news() {
                kubectl.kill()?;
                kubectl.wait()?;
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        };
        self.tell_news()?;
        println!();
        if !status.success() {
            let pods = output(&mut self.server.kubectl(&["describe", "pods"]), "")?;
            bail!("the replicas do not all run:\n{pods}");
        }
        Ok(())
    }

    /// Waits until there are exactly `count` pods, counting those that are being deleted.
    fn wait_for_pods(&mut self, count: usize) -> Result<()> {
        let mut there = 0;
        for _ in 0..QUESTIONS {
            there = self.pods()?["items"].as_array().map_or(0, Vec::len);
            self.tell_news()?;
            if there == count {
                println!();
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("there are {there} pods, not {count}, after {} s", (PAUSE * QUESTIONS).as_secs())
    }

    fn tell_news(&mut self) -> Result<()> {
        for line in self.kubelets.look()? {
            println!("{line}");
        }
        Ok(())
    }

    fn pods(&self) -> Result<Json> {
        self.administrator.ask(&["get", "pods", "-l", "app=nginx"])
    }
}
