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
const GROUP: &str = kube_server::GROUPS[0];

impl Stage<'_> {
    /// All roles and bindings of the cluster.
    pub(super) fn granted(&self) -> Result<Json> {
        self.administrator.ask(&["get", kube_server::ROLES, "--all-namespaces"])
    }

    /// Checks that no account was refused anything, and names the rights that were not needed here.
    pub(super) fn prove_rights(&self, granted: &Json) -> Result<()> {
        let path = self.lab.folder().join("audit.log");
        let log = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut all_refused = Vec::new();
        for (namespace, name) in ACCOUNTS {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let (rights, accesses) =
                (kube_server::rights(granted, &user), kube_server::accesses(&log, &user));
            ensure!(!rights.is_empty() && !accesses.is_empty(), "{user} has no rights, or made no request");
            let Differences { unused, refused } = Differences::of(&rights, &accesses, GROUP);
            println!("{name}: {} rights, {} of them not needed here", rights.len(), unused.len());
            unused.iter().for_each(|right| println!("  {right}"));
            all_refused.extend(refused.iter().map(|access| format!("{name}: {access}")));
        }
        ensure!(all_refused.is_empty(), "refused, as no role allows it:\n{}", all_refused.join("\n"));
        println!("ok: nobody was refused anything");
        Ok(())
    }
}
