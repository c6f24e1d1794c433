//! Rights: what the roles in `deploy/rbac` grant, against what the programs in all tests have asked the API
//! servers for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use servers::kube_server::{self, Differences, GROUPS, Right};

use xtask::cargo::root;

/// The accounts whose programs do all that they can in tests. The roles of `calicoctl` are compared by tests
/// of their own.
const ACCOUNTS: [&str; 4] = ["rackpoold-node", "rackpoold-controllers", "calico", "calico-ipam"];

/// What a test asks for in order to be refused.
const ASKED_IN_VAIN: &str = "calico: get secrets x";

/// The texts of all files of a folder.
fn texts_of(folder: &Path) -> Result<Vec<String>> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| read(&entry?.path())).collect()
}

/// The roles and bindings in `deploy/rbac`.
fn granted() -> Result<Json> {
    let mut items: Vec<Json> = Vec::new();
    for text in texts_of(&root().join("deploy/rbac"))? {
        items.extend(serde_saphyr::from_multiple::<Json>(&text).context("deploy/rbac")?);
    }
    Ok(json!({ "items": items }))
}

/// Checks that each right was needed by an account that has it, in one of Calico's groups, and that no
/// account was refused what its programs cannot do without. `logs` is the folder of the audit logs.
///
/// # Errors
/// When the rights differ from what was needed; the text names each difference.
pub fn prove(logs: &Path) -> Result<()> {
    let (granted, log) = (granted()?, texts_of(logs)?.concat());
    let (mut rights, mut needed, mut refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for name in ACCOUNTS {
        let user = format!("system:serviceaccount:kube-system:{name}");
        let of_user = kube_server::rights(&granted, &user);
        let accesses = kube_server::accesses(&log, &user);
        ensure!(
            !of_user.is_empty() && !accesses.is_empty(),
            "{name} has no rights, or has asked for nothing"
        );
        println!("{name}: {} rights, {} different requests", of_user.len(), accesses.len());
        let is_needed = |right: &&Right| accesses.iter().any(|access| right.allows(access));
        needed.extend(of_user.iter().filter(is_needed).map(in_one_group));
        rights.extend(of_user.iter().map(in_one_group));
        let Differences { refused: of_user, .. } = Differences::of(&of_user, &accesses, GROUPS[0]);
        refused.extend(of_user.iter().map(|access| format!("{name}: {access}")));
    }
    refused.remove(ASKED_IN_VAIN);
    let unused: Vec<&String> = rights.difference(&needed).collect();
    unused.iter().for_each(|right| println!("granted in deploy/rbac, and needed by nobody: {right}"));
    refused.iter().for_each(|access| println!("asked for, and not granted: {access}"));
    ensure!(unused.is_empty() && refused.is_empty(), "rights differ from what the tests' programs needed");
    println!("{} rights, each of them needed", rights.len());
    Ok(())
}

/// A right as text, with one name for Calico's two groups: rules are for both, and a cluster has one.
fn in_one_group(right: &Right) -> String {
    right.to_string().replace("ipamconfigurations", "ipamconfigs").replace(GROUPS[0], GROUPS[1])
}
