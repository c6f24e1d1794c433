//! Rights on a cluster of real kubelets: what rackpool's accounts may do, against what they have done.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use servers::kube_server::{self, Differences};

use super::kubernetes::Stage;

/// The accounts of rackpool's programs: namespace and name.
const ACCOUNTS: [(&str, &str); 5] = [
    ("rackpool", "rackpoold-node"),
    ("rackpool", "rackpoold-controllers"),
    ("rackpool", "calico"),
    ("rackpool", "rackpool-pools"),
    ("rackpool", "rackpool-purge"),
];
/// Calico's API group in the lab.
const GROUP: &str = "crd.projectcalico.org";

impl Stage<'_> {
    /// All roles and bindings of the cluster.
    pub(super) fn granted(&self) -> Result<Json> {
        self.administrator.ask(&[
            "get",
            "clusterroles,roles,clusterrolebindings,rolebindings",
            "--all-namespaces",
        ])
    }

    /// Checks that each account has used all rights that it had, and was refused nothing.
    pub(super) fn prove_rights(&self, granted: &Json) -> Result<()> {
        let path = self.lab.folder().join("audit.log");
        let log = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut differing = Vec::new();
        for (namespace, name) in ACCOUNTS {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let (rights, accesses) =
                (kube_server::rights(granted, &user), kube_server::accesses(&log, &user));
            ensure!(!rights.is_empty() && !accesses.is_empty(), "{user} has no rights, or made no request");
            let Differences { unused, refused } = Differences::of(&rights, &accesses, GROUP);
            println!("{user}: {} rights, {} of them not used", rights.len(), unused.len());
            differing.extend(unused.iter().map(|right| format!("never used: {name}: {right}")));
            differing.extend(refused.iter().map(|access| format!("refused: {name}: {access}")));
        }
        ensure!(differing.is_empty(), "rights differ from what was used:\n{}", differing.join("\n"));
        Ok(())
    }
}
