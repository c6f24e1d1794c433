//! Measures the programs on a Kubernetes API server, beside a program that only sends one request.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use servers::kube_server::{ADMIN, KubeServer, KubeServerOptions};

use crate::process::{self, Cluster, Plugin, Programs};
use crate::table::Table;

const NODE: &str = "node-0";
const PLUGIN: &str = "system:serviceaccount:kube-system:calico-ipam";
/// How many requests one node makes at the same time.
const CROWD: usize = 40;
const CROWDS: usize = 5;

/// How to reach the server.
#[derive(Deserialize, Serialize)]
struct Reached {
    kubeconfig: PathBuf,
    endpoint: String,
    authority: PathBuf,
    token: String,
}

/// Runs a server with pools and a node until standard input is closed. It runs in a process of its own, for
/// the reason given at [`process::fill`].
pub fn serve() -> Result<()> {
    let server = KubeServer::start(KubeServerOptions::new().user(PLUGIN, &[]));
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy"));
    server.apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")]);
    let metadata = |name: &str| json!({ "name": name });
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Node", "metadata": metadata(NODE)},
        {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": metadata("pool"),
            "spec": {"cidr": "10.0.0.0/16", "ipipMode": "Always", "natOutgoing": true, "nodeSelector": "all()"}},
    ]});
    let mut create = server.kubectl(&["create", "-f", "-"]);
    let mut child = create.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().context("it was piped")?.write_all(objects.to_string().as_bytes())?;
    ensure!(child.wait()?.success(), "the objects are refused");
    let reached = Reached {
        kubeconfig: server.kubeconfig_of(PLUGIN),
        endpoint: server.endpoint().to_string(),
        authority: server.ca(),
        token: server.token(ADMIN).to_string(),
    };
    println!("{}", serde_json::to_string(&reached)?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The process that runs the server. The server ends when this value is dropped.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Server {
    fn start() -> Result<(Server, Reached)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("it was piped")?);
        let server = Server { child, stdin };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok((server, serde_json::from_str(&line).context("the API server did not start")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// Measures the programs and prints the figures.
pub fn measure(folder: &Path, rounds: usize) -> Result<()> {
    let programs = Programs::in_folder(folder)?;
    let bare = std::env::current_exe()?.with_file_name("bare-get");
    let (_server, reached) = Server::start()?;
    let scratch = tempfile::tempdir()?;
    let cluster = Cluster { kubeconfig: reached.kubeconfig.clone(), lock: scratch.path().join("lock") };
    let plugin = |container: String| Plugin {
        programs: &programs,
        configuration: cluster.configuration(NODE),
        container,
    };
    // The first request claims a block. All later requests find free addresses in it.
    plugin("first".to_string()).run("ADD")?;

    let mut table = Table::default();
    for round in 0..rounds {
        table.start_round();
        table.base(process::nothing()?.time);
        let mut ready = Command::new("kubectl");
        ready.arg("--kubeconfig").arg(&reached.kubeconfig).args(["get", "--raw", "/readyz"]);
        let ready = process::measure(&mut ready, "")?;
        table.note("kubectl get --raw /readyz", ready.time, ready.peak_kib);
        let url = format!("{}/apis/crd.projectcalico.org/v1/ippools/pool", reached.endpoint);
        let got =
            process::measure(Command::new(&bare).arg(url).arg(&reached.authority).arg(&reached.token), "")?;
        table.note("a bare GET", got.time, got.peak_kib);
        let plugin = plugin(format!("bench-{round}"));
        let add = plugin.run("ADD")?;
        table.note("calico-ipam ADD", add.time, add.peak_kib);
        let del = plugin.run("DEL")?;
        table.note("calico-ipam DEL", del.time, del.peak_kib);
        let get = programs.calicoctl_on(&cluster, &["get", "ippool"])?;
        table.note("calicoctl get ippool", get.time, get.peak_kib);
    }
    for crowd in 0..CROWDS {
        crowd_of(&mut table, "ADD", |member| plugin(format!("crowd-{crowd}-{member}")))?;
        crowd_of(&mut table, "DEL", |member| plugin(format!("crowd-{crowd}-{member}")))?;
    }
    print!("{table}");
    for (a, b) in [
        ("calico-ipam ADD", "kubectl get --raw /readyz"),
        ("calico-ipam ADD", "a bare GET"),
        ("calico-ipam DEL", "a bare GET"),
        ("40 at once, all of them: ADD", "calico-ipam ADD"),
    ] {
        println!("{}", table.ratio(a, b));
    }
    Ok(())
}

/// Starts as many requests at the same time as a restarted node has pods. Notes the time until the last one
/// is answered, and the time of each.
fn crowd_of<'a>(table: &mut Table, command: &str, plugin: impl Fn(usize) -> Plugin<'a>) -> Result<()> {
    table.start_round();
    let plugins: Vec<_> = (0..CROWD).map(plugin).collect();
    let start = Instant::now();
    let taken: Result<Vec<_>> = thread::scope(|scope| {
        let running: Vec<_> = plugins.iter().map(|plugin| scope.spawn(|| plugin.run(command))).collect();
        let joined =
            running.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a thread failed"))?);
        joined.collect()
    });
    let all = start.elapsed();
    for one in taken? {
        table.note(&format!("40 at once, each: {command}"), one.time, one.peak_kib);
    }
    table.note(&format!("40 at once, all of them: {command}"), all, 0);
    Ok(())
}
