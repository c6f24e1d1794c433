//! What a control plane consists of.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use super::{ADMIN, API_SERVER, CONTROLLERS, SCHEDULER};

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The scheduler.
    pub scheduler: bool,
    /// The controllers. Without them pods need no service account, as nobody would make one.
    pub controllers: bool,
    pub(super) nodes_are_taken_for_ready: bool,
    pub(super) is_not_audited: bool,
    pub(super) address: Option<SocketAddrV4>,
    pub(super) folder: Option<PathBuf>,
    pub(super) arguments: Vec<String>,
    users: Vec<(String, Vec<String>)>,
}

impl Options {
    /// The API server alone, on a free port of the loopback, its files in a folder of its own.
    pub fn new() -> Options {
        Options::default()
    }

    /// With the scheduler and the controllers.
    pub fn whole(self) -> Options {
        Options { scheduler: true, controllers: true, ..self }
    }

    /// With one more argument of the API server.
    pub fn argument(mut self, argument: &str) -> Options {
        self.arguments.push(argument.to_string());
        self
    }

    /// With one more user, who may do what RBAC gives to the user or the groups.
    pub fn user(mut self, name: &str, groups: &[&str]) -> Options {
        self.users.push((name.to_string(), groups.iter().map(ToString::to_string).collect()));
        self
    }

    /// With the API server at this address and port.
    pub fn at(self, address: SocketAddrV4) -> Options {
        Options { address: Some(address), ..self }
    }

    /// With all files in this folder, which stays when the control plane ends.
    pub fn in_folder(self, folder: &Path) -> Options {
        Options { folder: Some(folder.to_path_buf()), ..self }
    }

    /// Without an audit log: requests cannot be counted, and cost less.
    pub fn without_audit(self) -> Options {
        Options { is_not_audited: true, ..self }
    }

    /// With nodes that are ready for pods because they are there: nobody asks whether their kubelets are alive.
    pub fn with_nodes_taken_for_ready(self) -> Options {
        let options = self.argument("--disable-admission-plugins=TaintNodesByCondition");
        Options { nodes_are_taken_for_ready: true, ..options }
    }

    /// All users and their groups.
    pub(super) fn users(&self) -> impl Iterator<Item = (&str, String)> {
        let others = self.users.iter().map(|(name, groups)| (name.as_str(), groups.join(",")));
        [(ADMIN, "system:masters".to_string())].into_iter().chain(others)
    }

    /// The programs of Kubernetes that it takes.
    pub fn programs(&self) -> Vec<&'static str> {
        let mut names = vec![API_SERVER];
        names.extend(self.scheduler.then_some(SCHEDULER));
        names.extend(self.controllers.then_some(CONTROLLERS));
        names
    }
}
