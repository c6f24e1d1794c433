//! Runs kubectl against a control plane.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{KubeServer, programs};
use crate::ServerError;

/// The path of kubectl: the one in PATH, else one that is built from source first, which takes minutes.
///
/// # Errors
/// When kubectl is not in PATH and cannot be built.
pub fn kubectl() -> Result<PathBuf, programs::ProgramsError> {
    let name = "kubectl";
    let in_path = Command::new(name).args(["version", "--client"]).output();
    if in_path.is_ok_and(|out| out.status.success()) {
        return Ok(name.into());
    }
    Ok(programs::programs(&[name])?.join(name))
}

impl KubeServer {
    /// A command of kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).env("HOME", self.directory());
        command
    }

    /// Applies these files, or folders of files, and waits until the API server serves the custom resources
    /// in them.
    ///
    /// # Panics
    /// Where [`KubeServer::try_apply`] fails.
    pub fn apply(&self, manifests: &[&Path]) {
        self.try_apply(manifests).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Applies these files, or folders of files, and waits until the API server serves the custom resources
    /// in them. Takes away the right that [`WITHOUT_RIGHT`](super::WITHOUT_RIGHT) names.
    ///
    /// # Errors
    /// When the API server refuses one of the objects.
    pub fn try_apply(&self, manifests: &[&Path]) -> Result<(), ServerError> {
        let mut command = self.kubectl(&["apply", "--server-side"]);
        for path in manifests {
            command.arg("-f").arg(path);
        }
        output_of(&mut command)?;
        let resources = ["get", "customresourcedefinitions", "-o", "jsonpath={.items[*].metadata.name}"];
        let names = output_of(&mut self.kubectl(&resources))?;
        let names: Vec<_> =
            names.split_whitespace().map(|name| format!("customresourcedefinition/{name}")).collect();
        if !names.is_empty() {
            output_of(self.kubectl(&["wait", "--for=condition=Established"]).args(names))?;
        }
        self.take_right_away()
    }
}

/// Runs kubectl. Gives its standard output.
pub(super) fn output_of(kubectl: &mut Command) -> Result<String, ServerError> {
    let command = format!("{kubectl:?}");
    let out =
        kubectl.output().map_err(|source| ServerError::Start { name: "kubectl".to_string(), source })?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(ServerError::Kubectl { command, said });
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
