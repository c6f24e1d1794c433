//! The rack guide, performed: a fresh store, the real `calicoctl` and `calico-ipam` as separate processes, and the proof.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value as Json;

use crate::cargo::build_programs;

mod guide;
mod proof;
mod store;

use guide::{NODES, RACKS, Replica};
use store::{Etcd, Store};

/// Arguments of `cargo xtask demo`.
#[derive(Args)]
pub struct Demo {
    /// The folder of the programs to show; built from this tree where it is not given.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// On an etcd that the demo starts, not on the embedded store.
    #[arg(long)]
    etcd: bool,
}

impl Demo {
    /// The demo of these programs on the embedded store.
    pub fn with_programs(dir: PathBuf) -> Demo {
        Demo { programs: Some(dir), etcd: false }
    }

    /// The same on etcd.
    pub fn on_etcd(self) -> Demo {
        Demo { etcd: true, ..self }
    }

    /// Performs the guide. Leaves nothing behind.
    pub fn run(self) -> Result<()> {
        let programs = match self.programs {
            Some(dir) => std::fs::canonicalize(&dir).with_context(|| dir.display().to_string())?,
            None => build_programs()?,
        };
        let scratch = tempfile::tempdir().context("a temporary folder for the store")?;
        let store = match self.etcd {
            false => Store::Embedded(scratch.path().join("rackpool.db")),
            true => Store::Etcd(Etcd::start(scratch.path())?),
        };
        Stage { programs, store, scratch: scratch.path().to_path_buf() }.perform()
    }
}

/// Where the demo takes place.
struct Stage {
    programs: PathBuf,
    store: Store,
    scratch: PathBuf,
}

impl Stage {
    fn perform(&self) -> Result<()> {
        heading("A fresh cluster: the default pool is there");
        self.calicoctl(&["datastore", "init"], None)?;
        self.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("Eight nodes join (where there is Kubernetes, they are there already)");
        self.calicoctl(&["create", "-f", "-"], Some(&guide::nodes()))?;

        heading("1. Delete the default IP pool");
        self.calicoctl(&["delete", "ippools", "default-ipv4-ippool"], None)?;

        heading("2. Label the nodes");
        for (number, node) in NODES.iter().enumerate() {
            self.calicoctl(&["label", "nodes", node, &format!("rack={}", guide::rack_of(number))], None)?;
        }

        heading("3. Create an IP pool for each rack");
        for rack in RACKS {
            self.calicoctl(&["create", "-f", "-"], Some(&guide::pool(rack)))?;
        }
        self.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("4. Ten replicas of nginx; the plugin is called as a kubelet calls it");
        let mut placed = Vec::new();
        for replica in guide::replicas() {
            let address = self.add(&replica)?;
            self.record(&replica, &address)?;
            placed.push((replica, address));
        }
        self.calicoctl(&["get", "wep", "-o", "wide"], None)?;
        self.calicoctl(&["ipam", "show", "--show-blocks"], None)?;

        heading("The proof: each address against the pool of its rack, as the datastore has them");
        let endpoints = self.ask(&["get", "wep", "-o", "json"])?;
        let pools = self.ask(&["get", "ippool", "-o", "json"])?;
        let lines = proof::check(&placed, &endpoints, &pools)?;
        for line in lines {
            println!("{line}");
        }
        Ok(())
    }

    /// Runs calicoctl, shows the command and what it says.
    fn calicoctl(&self, arguments: &[&str], input: Option<&str>) -> Result<()> {
        let line = arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        match input {
            Some(text) => println!("$ calicoctl {line} <<EOF\n{}\nEOF", text.trim_end()),
            None => println!("$ calicoctl {line}"),
        }
        let out = self.output("calicoctl", arguments, &[], input.unwrap_or_default())?;
        for text in out.lines() {
            println!("{}", text.trim_end());
        }
        if !out.ends_with("\n\n") {
            println!();
        }
        Ok(())
    }

    /// Asks calicoctl for JSON, without showing it.
    fn ask(&self, arguments: &[&str]) -> Result<Json> {
        let out = self.output("calicoctl", arguments, &[], "")?;
        serde_json::from_str(&out).with_context(|| format!("calicoctl {}", arguments.join(" ")))
    }

    /// Calls the plugin for a replica; the address with the prefix of its block.
    fn add(&self, replica: &Replica) -> Result<String> {
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
            replica.pod, replica.container
        );
        let environment = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", replica.container.as_str()),
            ("CNI_NETNS", "/var/run/netns/none"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", arguments.as_str()),
        ];
        let mut configuration = serde_json::json!({
            "cniVersion": "1.0.0",
            "name": "k8s-pod-network",
            "type": "calico",
            "nodename": replica.node,
            "ipam_lock_file": self.scratch.join("ipam.lock"),
            "ipam": { "type": "calico-ipam" },
        });
        for (field, value) in self.store.configuration() {
            configuration[field] = value;
        }
        println!("$ CNI_COMMAND=ADD K8S_POD_NAME={} calico-ipam    # on {}", replica.pod, replica.node);
        let out = self.output("calico-ipam", &[], &environment, &configuration.to_string())?;
        let result: Json = serde_json::from_str(&out).context("the plugin's result")?;
        let address = result["ips"][0]["address"].as_str().context("the plugin's result has no address")?;
        println!("{address}");
        Ok(address.to_string())
    }

    /// Records the replica's WorkloadEndpoint, as the main plugin does on a node.
    fn record(&self, replica: &Replica, address: &str) -> Result<()> {
        let document = guide::endpoint(replica, address)?;
        let out = self.output("calicoctl", &["create", "-f", "-"], &[], &document)?;
        ensure!(out.starts_with("Successfully created 1"), "{out}");
        Ok(())
    }

    fn output(
        &self,
        program: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        input: &str,
    ) -> Result<String> {
        let path: &Path = &self.programs.join(program);
        let mut child = Command::new(path)
            .args(arguments)
            .env_clear()
            .envs(self.store.environment())
            .envs(environment.iter().copied())
            .current_dir(&self.scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let out = child.wait_with_output()?;
        let text = String::from_utf8(out.stdout)?;
        if !out.status.success() {
            bail!(
                "{program} {} failed:\n{text}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(text)
    }
}

fn heading(text: &str) {
    println!("\n# {text}");
}

/// A word as one would type it in a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,".contains(c);
    if word.chars().all(plain) { word.to_string() } else { format!("'{word}'") }
}
