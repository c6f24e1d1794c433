//! What kubectl does with a control plane.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{KubeServer, programs};
use crate::ServerError;

/// The kubectl in PATH, else one that is built, which takes a while.
///
/// # Errors
/// When it cannot be built.
pub fn kubectl() -> Result<PathBuf, programs::ProgramsError> {
    let name = "kubectl";
    let in_path = Command::new(name).args(["version", "--client"]).output();
    if in_path.is_ok_and(|out| out.status.success()) {
        return Ok(name.into());
    }
    Ok(programs::programs(&[name])?.join(name))
}

impl KubeServer {
    /// kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).env("HOME", self.directory());
        command
    }

    /// Installs the custom resources and whatever else is in these files, or folders of files, and waits until the API server serves them.
    ///
    /// # Panics
    /// Where [`KubeServer::try_apply`] fails.
    pub fn apply(&self, manifests: &[&Path]) {
        self.try_apply(manifests).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Installs the custom resources and whatever else is in these files, or folders of files, and waits until the API server serves them.
    ///
    /// # Errors
    /// When it refuses one of them.
    pub fn try_apply(&self, manifests: &[&Path]) -> Result<(), ServerError> {
        let mut command = self.kubectl(&["apply", "--server-side"]);
        for path in manifests {
            command.arg("-f").arg(path);
        }
        said(&mut command)?;
        let resources = ["get", "customresourcedefinitions", "-o", "jsonpath={.items[*].metadata.name}"];
        let names = said(&mut self.kubectl(&resources))?;
        let names: Vec<_> =
            names.split_whitespace().map(|name| format!("customresourcedefinition/{name}")).collect();
        if !names.is_empty() {
            said(self.kubectl(&["wait", "--for=condition=Established"]).args(names))?;
        }
        Ok(())
    }
}

/// What kubectl says.
fn said(kubectl: &mut Command) -> Result<String, ServerError> {
    let command = format!("{kubectl:?}");
    let out =
        kubectl.output().map_err(|source| ServerError::Start { name: "kubectl".to_string(), source })?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(ServerError::Kubectl { command, said });
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
