//! The rack guide on each kind of store, and on real and pretended clusters.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use servers::etcd_server;
use xtask::cargo::{build_embedded_programs, build_programs};
use xtask::guide;
use xtask::guide::stage::{Stage, in_scratch};

use crate::lab::Platform;
use crate::needs;
use crate::older::Older;

mod administrator;
mod api_server;
mod kubelets;
mod kubernetes;
mod lifecycle;
mod netns;
mod pings;
mod reach;
mod rights;
mod services;

pub use api_server::{can_be_had as can_be_on_an_api_server, prepare as prepare_api_server};
pub use netns::can_be_had as can_be_in_namespaces;

/// Arguments of `cargo xtask demo`.
#[derive(Args)]
pub struct Demo {
    /// The folder of the programs to show. Without this argument they are built from this tree.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Uses an etcd that the demo starts, instead of the embedded store.
    #[arg(long, group = "place")]
    etcd: bool,
    /// Uses a Kubernetes control plane that the demo starts: kubectl, the real scheduler, and a stand-in for
    /// the kubelets. The first time this builds Kubernetes, which needs Go and takes minutes.
    #[arg(long, group = "place")]
    api_server: bool,
    /// Uses a cluster of eight real kubelets on this machine (see `cargo xtask lab`): runs the guide's own
    /// commands, and then checks their effect on the cluster.
    #[arg(long, groups = ["place", "cluster"])]
    kubernetes: bool,
    /// Uses such a cluster for the life of an installation instead of the guide: helm installs rackpool,
    /// upgrades it and rolls it back under load, removes it, and installs it again.
    #[arg(long, groups = ["place", "cluster"])]
    lifecycle: bool,
    /// Has that life begin with an older release, a tag or a commit, by default as `cargo xtask skew`: this
    /// tree's takes its place, gives it back, and takes it again.
    #[arg(long, value_name = "REVISION", requires = "lifecycle")]
    from: Option<Option<String>>,
    /// Gives that cluster's nodes the folders in which this distribution looks for plugins and networks.
    #[arg(long, value_enum, requires = "cluster")]
    platform: Option<Platform>,
    /// Uses the embedded store, with network namespaces as nodes and replicas: the main plugin attaches the
    /// replicas, and they ping each other. Needs root.
    #[arg(long, group = "place")]
    netns: bool,
}

impl Demo {
    /// The demo on the embedded store, with the programs in this folder.
    pub fn with_programs(dir: PathBuf) -> Demo {
        Demo {
            programs: Some(dir),
            etcd: false,
            api_server: false,
            kubernetes: false,
            lifecycle: false,
            from: None,
            platform: None,
            netns: false,
        }
    }

    /// This demo, but on etcd.
    pub fn on_etcd(self) -> Demo {
        Demo { etcd: true, ..self }
    }

    /// This demo, but on a Kubernetes API server.
    pub fn on_api_server(self) -> Demo {
        Demo { api_server: true, ..self }
    }

    /// This demo, but on a cluster of real kubelets.
    pub fn on_kubernetes(self) -> Demo {
        Demo { kubernetes: true, ..self }
    }

    /// This demo, but with a platform's folders of plugins and networks.
    pub fn with_folders_of(self, platform: Platform) -> Demo {
        Demo { platform: Some(platform), ..self }
    }

    /// This demo, but the life of an installation on such a cluster, from the release before this one.
    pub fn of_a_life(self) -> Demo {
        Demo { lifecycle: true, from: Some(None), ..self }
    }

    /// This demo, but with network namespaces as nodes and replicas.
    pub fn in_namespaces(self) -> Demo {
        Demo { netns: true, ..self }
    }

    /// Performs the guide, and removes everything that it has made.
    pub fn run(self) -> Result<()> {
        let is_embedded = !(self.etcd || self.api_server || self.kubernetes || self.lifecycle || self.netns);
        let programs = match self.programs {
            Some(dir) => std::fs::canonicalize(&dir).with_context(|| dir.display().to_string())?,
            None if is_embedded => build_embedded_programs()?,
            None => build_programs()?,
        };
        if self.api_server {
            api_server::perform(&programs)
        } else if self.kubernetes {
            kubernetes::perform(&programs, self.platform)
        } else if self.lifecycle {
            let older = self.from.map(|revision| Older::build(revision.as_deref())).transpose()?;
            lifecycle::perform(&programs, self.platform, older.as_ref())
        } else if self.netns {
            netns::perform(&programs)
        } else if self.etcd {
            perform_on_etcd(&programs)
        } else {
            guide::perform(&programs)
        }
    }
}

fn perform_on_etcd(programs: &Path) -> Result<()> {
    needs::program("etcd", "etcd-server", "the datastore of this demo")?;
    let etcd = etcd_server::Setup::new().try_start()?;
    let url = etcd.endpoint();
    in_scratch(|scratch| {
        Stage::new(programs, scratch, ("ETCD_ENDPOINTS", &url), ("etcd_endpoints", &url)).perform()
    })
}
