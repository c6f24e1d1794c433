//! The guide on the embedded store or on etcd: its replicas are placed here. They are network namespaces that the main plugin attaches, or they are recorded
//! as it records them.

use anyhow::{Result, ensure};

use super::guide::{self, NODES, RACKS, Replica};
use super::netns::{Network, Running};
use super::plugin::{NO_NETNS, Plugin, Sandbox};
use super::proof;
use super::terminal::{Terminal, heading};

/// Where the demo takes place.
pub struct Stage {
    /// Where the administrator works.
    pub terminal: Terminal,
    /// What the nodes call.
    pub plugin: Plugin,
    /// The nodes, where they are network namespaces; the plugin is the main one then.
    pub network: Option<Network>,
}

impl Stage {
    /// Performs the guide.
    pub fn perform(&self) -> Result<()> {
        let terminal = &self.terminal;
        heading("A fresh cluster: the default pool is there");
        terminal.calicoctl(&["datastore", "init"], None)?;
        terminal.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("Eight nodes join (where there is Kubernetes, they are there already)");
        terminal.calicoctl(&["create", "-f", "-"], Some(&guide::nodes()))?;

        heading("1. Delete the default IP pool");
        terminal.calicoctl(&["delete", "ippools", "default-ipv4-ippool"], None)?;

        heading("2. Label the nodes");
        for (number, node) in NODES.iter().enumerate() {
            let label = format!("rack={}", guide::rack_of(number));
            terminal.calicoctl(&["label", "nodes", node, &label], None)?;
        }

        heading("3. Create an IP pool for each rack");
        for rack in RACKS {
            terminal.calicoctl(&["create", "-f", "-"], Some(&guide::pool(rack)))?;
        }
        terminal.calicoctl(&["get", "ippool", "-o", "wide"], None)?;

        heading("4. Ten replicas of nginx; the plugin is called as a kubelet calls it");
        let (mut placed, mut running) = (Vec::new(), Vec::new());
        for replica in guide::replicas() {
            if let Some(network) = &self.network {
                let replica = network.run(replica, &self.plugin, terminal)?;
                placed.push(replica.placed());
                running.push(replica);
            } else {
                let address = self.add(&replica)?;
                self.record(&replica, &address)?;
                placed.push((replica, address));
            }
        }
        terminal.calicoctl(&["get", "wep", "-o", "wide"], None)?;
        terminal.calicoctl(&["ipam", "show", "--show-blocks"], None)?;

        heading("The proof: each address against the pool of its rack, as the datastore has them");
        let endpoints = terminal.ask(&["get", "wep", "-o", "json"])?;
        let pools = terminal.ask(&["get", "ippool", "-o", "json"])?;
        for line in proof::check(&placed, &endpoints, &pools)? {
            println!("{line}");
        }
        match &self.network {
            Some(network) => self.prove_network(network, &running),
            None => Ok(()),
        }
    }

    /// Proves that the replicas reach each other, and that nothing is left of them in the end.
    fn prove_network(&self, network: &Network, running: &[Running]) -> Result<()> {
        heading("The proof: every replica pings every other, across nodes by host routes");
        network.install_routes(running)?;
        for line in network.check_reach(running)? {
            println!("{line}");
        }
        println!("{}", network.take_down(running, &self.plugin, &self.terminal)?);
        Ok(())
    }

    /// Calls the plugin for a replica; the address with the prefix of its block.
    fn add(&self, replica: &Replica) -> Result<String> {
        println!("$ CNI_COMMAND=ADD K8S_POD_NAME={} calico-ipam    # on {}", replica.pod, replica.node);
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
        let document = guide::endpoint(replica, address)?;
        let out = self.terminal.output(&["create", "-f", "-"], &document)?;
        ensure!(out.starts_with("Successfully created 1"), "{out}");
        Ok(())
    }
}
