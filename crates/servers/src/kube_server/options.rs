//! The options of a control plane.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use super::{ADMIN, API_SERVER, CONTROLLERS, SCHEDULER};

/// Which servers to start, and how.
#[derive(Clone, Debug, Default)]
pub struct KubeServerOptions {
    /// Whether to start the scheduler.
    pub scheduler: bool,
    /// Whether to start the controllers. Without them, pods need no service account, as no controller would
    /// create one.
    pub controllers: bool,
    pub(super) nodes_are_taken_for_ready: bool,
    pub(super) is_not_audited: bool,
    pub(super) address: Option<SocketAddrV4>,
    pub(super) folder: Option<PathBuf>,
    pub(super) arguments: Vec<String>,
    users: Vec<(String, Vec<String>)>,
}

impl KubeServerOptions {
    /// Options for the API server alone, on a free port of the loopback, with its files in a temporary
    /// folder.
    pub fn new() -> KubeServerOptions {
        KubeServerOptions::default()
    }

    /// Adds the scheduler and the controllers to the servers that are started.
    pub fn whole(self) -> KubeServerOptions {
        KubeServerOptions { scheduler: true, controllers: true, ..self }
    }

    /// Adds an argument to the API server's command line.
    pub fn argument(mut self, argument: &str) -> KubeServerOptions {
        self.arguments.push(argument.to_string());
        self
    }

    /// Adds a user, with the rights that RBAC gives to the user's name or groups.
    pub fn user(mut self, name: &str, groups: &[&str]) -> KubeServerOptions {
        self.users.push((name.to_string(), groups.iter().map(ToString::to_string).collect()));
        self
    }

    /// Sets the API server's address and port.
    pub fn at(self, address: SocketAddrV4) -> KubeServerOptions {
        KubeServerOptions { address: Some(address), ..self }
    }

    /// Keeps all files in this folder, which stays when the control plane ends.
    pub fn in_folder(self, folder: &Path) -> KubeServerOptions {
        KubeServerOptions { folder: Some(folder.to_path_buf()), ..self }
    }

    /// Turns the audit log off. Requests then cost less, and cannot be counted.
    pub fn without_audit(self) -> KubeServerOptions {
        KubeServerOptions { is_not_audited: true, ..self }
    }

    /// Treats every node that exists as ready for pods, without asking whether its kubelet is alive.
    pub fn with_nodes_taken_for_ready(self) -> KubeServerOptions {
        let options = self.argument("--disable-admission-plugins=TaintNodesByCondition");
        KubeServerOptions { nodes_are_taken_for_ready: true, ..options }
    }

    /// All users, each with its groups.
    pub(super) fn users(&self) -> impl Iterator<Item = (&str, String)> {
        let others = self.users.iter().map(|(name, groups)| (name.as_str(), groups.join(",")));
        [(ADMIN, "system:masters".to_string())].into_iter().chain(others)
    }

    /// The programs of Kubernetes that these options need.
    pub fn programs(&self) -> Vec<&'static str> {
        let mut names = vec![API_SERVER];
        names.extend(self.scheduler.then_some(SCHEDULER));
        names.extend(self.controllers.then_some(CONTROLLERS));
        names
    }
}
