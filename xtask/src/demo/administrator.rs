//! The rack guide's administrator on a Kubernetes cluster of any kind: runs the guide's kubectl and calicoctl
//! commands, and shows each as it would be typed.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use xtask::guide::terminal::{heading, output, print_output, show};
use xtask::guide::{NODES, RACKS, Replica, pool, proof, rack_of};

/// Makes a command with these arguments.
type Program<'a> = Box<dyn Fn(&[&str]) -> Result<Command> + 'a>;

/// The administrator, with the programs that work on the cluster.
pub struct Administrator<'a> {
    /// Makes a kubectl command.
    pub kubectl: Program<'a>,
    /// Makes a calicoctl command.
    pub calicoctl: Program<'a>,
}

impl Administrator<'_> {
    /// Performs the guide up to the deployment of ten replicas. `next`, the end of that step's heading, tells
    /// what happens to the replicas.
    pub fn prepare(&self, next: &str) -> Result<()> {
        heading("A fresh cluster of eight nodes: the default pool is there");
        self.kubectl(&["get", "nodes"])?;
        self.calicoctl(&["get", "ippool", "-o", "wide"], "")?;

        heading("1. Delete the default IP pool");
        self.calicoctl(&["delete", "ippools", "default-ipv4-ippool"], "")?;

        heading("2. Label the nodes");
        for (number, node) in NODES.iter().enumerate() {
            self.kubectl(&["label", "nodes", node, &format!("rack={}", rack_of(number))])?;
        }

        heading("3. Create an IP pool for each rack");
        for rack in RACKS {
            self.calicoctl(&["create", "-f", "-"], &pool(rack))?;
        }
        self.calicoctl(&["get", "ippool", "-o", "wide"], "")?;

        heading(&format!("4. Ten replicas of nginx: the scheduler places them, and {next}"));
        self.kubectl(&["create", "deployment", "nginx", "--image", "nginx"])?;
        self.kubectl(&["scale", "deployment", "nginx", "--replicas", "10"])
    }

    /// Checks that each address is in the pool of its node's rack. A replica is a pod's name, its node, and
    /// its address with the prefix length of its block.
    pub fn prove_racks(&self, replicas: Vec<(String, String, String)>) -> Result<()> {
        let placed = replicas.into_iter().map(|(pod, name, address)| {
            let number = NODES.iter().position(|node| *node == name);
            let number = number.with_context(|| format!("{name} is none of the nodes"))?;
            let (node, rack, container) = (NODES[number], rack_of(number), String::new());
            Ok((Replica { pod, node, rack, container }, address))
        });
        let placed = placed.collect::<Result<Vec<_>>>()?;
        let ask = |what| {
            let said = output(&mut (self.calicoctl)(&["get", what, "-o", "json"])?, "")?;
            serde_json::from_str(&said).context(what)
        };
        for line in proof::check(&placed, &ask("wep")?, &ask("ippool")?)? {
            println!("{line}");
        }
        Ok(())
    }

    /// Runs kubectl and reads its output as JSON, without showing either.
    pub fn ask(&self, arguments: &[&str]) -> Result<Json> {
        let out = output((self.kubectl)(arguments)?.args(["-o", "json"]), "")?;
        serde_json::from_str(&out).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs kubectl, and shows the command and its output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        show("kubectl", arguments, None);
        print_output(&output(&mut (self.kubectl)(arguments)?, "")?);
        Ok(())
    }

    /// Runs calicoctl, and shows the command and its output.
    pub fn calicoctl(&self, arguments: &[&str], input: &str) -> Result<()> {
        show("calicoctl", arguments, Some(input).filter(|input| !input.is_empty()));
        print_output(&output(&mut (self.calicoctl)(arguments)?, input)?);
        Ok(())
    }
}
