//! The rack guide, performed: a fresh store, the real `calicoctl` and `calico-ipam` as separate processes, and the proof.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::build_programs;

mod api_server;
mod guide;
mod kubelet;
mod kubernetes;
mod plugin;
mod proof;
mod stage;
mod store;
mod terminal;

pub use api_server::{can_be_had as can_be_on_an_api_server, prepare as prepare_api_server};

use plugin::Plugin;
use stage::Stage;
use store::{Etcd, Store};
use terminal::Terminal;

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
}

impl Demo {
    /// The demo of these programs on the embedded store.
    pub fn with_programs(dir: PathBuf) -> Demo {
        Demo { programs: Some(dir), etcd: false, api_server: false, kubernetes: false }
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
        let scratch = tempfile::tempdir().context("a temporary folder for the store")?;
        let store = match self.etcd {
            false => Store::Embedded(scratch.path().join("rackpool.db")),
            true => Store::Etcd(Etcd::start(scratch.path())?),
        };
        stage(&programs, scratch.path(), &store).perform()
    }
}

fn stage(programs: &Path, scratch: &Path, store: &Store) -> Stage {
    let terminal = Terminal {
        programs: programs.to_path_buf(),
        folder: scratch.to_path_buf(),
        environment: store.environment(),
    };
    let plugin = Plugin {
        program: programs.join("calico-ipam"),
        folder: scratch.to_path_buf(),
        environment: store.environment(),
        store: store.configuration(),
    };
    Stage { terminal, plugin }
}
