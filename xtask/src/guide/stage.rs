//! The rack guide on the embedded store or on etcd. There is no scheduler and no main plugin, so this module
//! places the replicas, and records their WorkloadEndpoints.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value as Json};

use super::plugin::{NO_NETNS, Plugin, Sandbox};
use super::terminal::{Terminal, heading};
use super::{NODES, RACKS, Replica, endpoint, nodes, pool, proof, rack_of, replicas};
use crate::sweep::Sweeper;

/// The administrator's terminal and the nodes' plugin, on one store.
pub struct Stage {
    /// The terminal of the administrator.
    pub terminal: Terminal,
    /// The plugin that the nodes call.
    pub plugin: Plugin,
}

/// Does `work` in a new folder, which is removed afterwards, in whatever way this process ends.
///
/// # Errors
/// The work's error, or that of removing the folder.
pub fn in_scratch(work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let scratch = tempfile::tempdir().context("a temporary folder for the store")?;
    let sweeper = Sweeper::start(scratch.path())?;
    let done = work(scratch.path());
    sweeper.sweep().and(done)
}

impl Stage {
    /// A stage with the programs in `programs`, in the folder `folder`. `variable` is the environment
    /// variable that tells `calicoctl` where the store is; `field` is the field of the network configuration
    /// that tells the plugin.
    pub fn new(programs: &Path, folder: &Path, variable: (&'static str, &str), field: (&str, &str)) -> Stage {
        let environment = vec![(variable.0, variable.1.to_string())];
        let store = Map::from_iter([(field.0.to_string(), Json::from(field.1))]);
        let folder = folder.to_path_buf();
        Stage {
            terminal: Terminal {
                programs: programs.to_path_buf(),
                folder: folder.clone(),
                environment: environment.clone(),
            },
            plugin: Plugin { program: programs.join("calico-ipam"), folder, environment, store },
        }
    }

    /// Performs the guide.
    ///
    /// # Errors
    /// When a program fails, or the result is not as the guide promises.
    pub fn perform(&self) -> Result<()> {
        self.prepare()?;
        let mut placed = Vec::new();
        for replica in replicas() {
            let address = self.add(&replica)?;
            self.record(&replica, &address)?;
            placed.push((replica, address));
        }
        self.prove(&placed)
    }

    /// Does what the administrator does before the replicas are placed.
    ///
    /// # Errors
    /// When a program fails.
    pub fn prepare(&self) -> Result<()> {
        let terminal = &self.terminal;
        heading("A fresh cluster: the default pool is there");
        terminal.calicoctl(&["datastore", "init"], None)?;
        terminal.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("Eight nodes join (where there is Kubernetes, they are there already)");
        terminal.calicoctl(&["create", "-f", "-"], Some(&nodes()))?;

        heading("1. Delete the default IP pool");
        terminal.calicoctl(&["delete", "ippools", "default-ipv4-ippool"], None)?;

        heading("2. Label the nodes");
        for (number, node) in NODES.iter().enumerate() {
            terminal.calicoctl(&["label", "nodes", node, &format!("rack={}", rack_of(number))], None)?;
        }

        heading("3. Create an IP pool for each rack");
        for rack in RACKS {
            terminal.calicoctl(&["create", "-f", "-"], Some(&pool(rack)))?;
        }
        terminal.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("4. Ten replicas of nginx; the plugin is called as a kubelet calls it (shortened)");
        Ok(())
    }

    /// Shows the replicas' addresses and checks them against the guide. `placed` holds each replica with its
    /// address and the prefix length of the address's block.
    ///
    /// # Errors
    /// When the result is not as the guide promises.
    pub fn prove(&self, placed: &[(Replica, String)]) -> Result<()> {
        let terminal = &self.terminal;
        terminal.calicoctl(&["get", "wep", "-o", "wide"], None)?;
        terminal.calicoctl(&["ipam", "show", "--show-blocks"], None)?;

        heading("The proof: each address against the pool of its rack, as the datastore has them");
        let endpoints = terminal.ask(&["get", "wep", "-o", "json"])?;
        let pools = terminal.ask(&["get", "ippool", "-o", "json"])?;
        for line in proof::check(placed, &endpoints, &pools)? {
            println!("{line}");
        }
        Ok(())
    }

    /// Calls the plugin for a replica. Gives its address with the prefix length of the block.
    fn add(&self, replica: &Replica) -> Result<String> {
        println!(
            "$ CNI_COMMAND=ADD CNI_ARGS='...;K8S_POD_NAME={}' ... calico-ipam < net.conf    # on {}",
            replica.pod, replica.node
        );
        let address = self.plugin.add(&Sandbox {
            namespace: "default".to_string(),
            pod: replica.pod.clone(),
            node: replica.node.to_string(),
            container: replica.container.clone(),
            netns: NO_NETNS.to_string(),
        })?;
        println!("{address}");
        Ok(address)
    }

    /// Records the replica's WorkloadEndpoint, as the main plugin does on a node.
    fn record(&self, replica: &Replica, address: &str) -> Result<()> {
        let document = endpoint(replica, address)?;
        let out = self.terminal.output(&["create", "-f", "-"], &document)?;
        ensure!(out.starts_with("Successfully created 1"), "{out}");
        Ok(())
    }
}
