//! The rack guide, performed: a fresh store, the real `calicoctl` and `calico-ipam` as separate processes, and the proof.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::build_programs;
use crate::lab::Sweeper;

mod api_server;
mod guide;
mod kubelet;
mod kubernetes;
mod netns;
mod plugin;
mod proof;
mod stage;
mod store;
mod terminal;

pub use api_server::{can_be_had as can_be_on_an_api_server, prepare as prepare_api_server};

pub use netns::can_be_had as can_be_in_namespaces;

use netns::Network;
use plugin::Plugin;
use stage::Stage;
use store::{Store, start_etcd};
use terminal::Terminal;
pub use terminal::output;

/// Arguments of `cargo xtask demo`.
#[derive(Args)]
pub struct Demo {
    /// The folder of the programs to show; built from this tree where it is not given.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// On an etcd that the demo starts, not on the embedded store.
    #[arg(long, group = "place")]
    etcd: bool,
    /// On a Kubernetes control plane that the demo starts: kubectl, the real scheduler, and a stand-in for the kubelets. The first time this builds
    /// Kubernetes, which takes Go and minutes.
    #[arg(long, group = "place")]
    api_server: bool,
    /// On a cluster of eight real kubelets on this machine (see `cargo xtask lab`): the guide's own commands, and proof by what the cluster does.
    #[arg(long, group = "place")]
    kubernetes: bool,
    /// On the embedded store, with nodes and replicas that are network namespaces: the main plugin attaches the replicas, and they ping each other. Takes root.
    #[arg(long, group = "place")]
    netns: bool,
}

impl Demo {
    /// The demo of these programs on the embedded store.
    pub fn with_programs(dir: PathBuf) -> Demo {
        Demo { programs: Some(dir), etcd: false, api_server: false, kubernetes: false, netns: false }
    }

    /// The same on etcd.
    pub fn on_etcd(self) -> Demo {
        Demo { etcd: true, ..self }
    }

    /// The same on a Kubernetes API server.
    pub fn on_api_server(self) -> Demo {
        Demo { api_server: true, ..self }
    }

    /// The same on a cluster of real kubelets.
    pub fn on_kubernetes(self) -> Demo {
        Demo { kubernetes: true, ..self }
    }

    /// The same in network namespaces.
    pub fn in_namespaces(self) -> Demo {
        Demo { netns: true, ..self }
    }

    /// Performs the guide. Leaves nothing behind.
    pub fn run(self) -> Result<()> {
        let programs = match self.programs {
            Some(dir) => std::fs::canonicalize(&dir).with_context(|| dir.display().to_string())?,
            None => build_programs()?,
        };
        if self.api_server {
            return api_server::perform(&programs);
        }
        if self.kubernetes {
            return kubernetes::perform(&programs);
        }
        // First of all, since it asks for what may be missing.
        let network = self.netns.then(Network::build).transpose()?;
        let scratch = tempfile::tempdir().context("a temporary folder for the store")?;
        let store = match self.etcd {
            false => Store::Embedded(scratch.path().join("rackpool.db")),
            true => Store::Etcd(Box::new(start_etcd()?)),
        };
        let sweeper = Sweeper::start(scratch.path())?;
        let done = stage(&programs, scratch.path(), &store, network).perform();
        drop(store);
        sweeper.sweep().and(done)
    }
}

fn stage(programs: &Path, scratch: &Path, store: &Store, network: Option<Network>) -> Stage {
    let program = if network.is_some() { "calico" } else { "calico-ipam" };
    let terminal = Terminal {
        programs: programs.to_path_buf(),
        folder: scratch.to_path_buf(),
        environment: store.environment(),
    };
    let plugin = Plugin {
        program: programs.join(program),
        folder: scratch.to_path_buf(),
        environment: store.environment(),
        store: store.configuration(),
    };
    Stage { terminal, plugin, network }
}
