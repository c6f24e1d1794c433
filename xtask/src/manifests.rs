//! `deploy/rackpool.yaml`: the chart with its own values, as plain YAML.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use servers::kube_server::programs;

use xtask::cargo::root;

/// Where it is.
const FILE: &str = "deploy/rackpool.yaml";
const HEAD: &str = "\
# rackpool as plain YAML, for clusters without Helm: kubectl apply --server-side -f deploy/rackpool.yaml
#
# To remove it: kubectl delete namespace rackpool. `kubectl delete -f` of this file removes the definitions, too, and
# with them all pools and addresses.
#
# It enforces no NetworkPolicy, and announces nothing by BGP yet: `calicoctl datastore preflight` lists what a
# cluster uses of this.
#
# It is the chart deploy/chart with its own values; do not change it here, but there: cargo xtask manifests
";

/// Arguments of `cargo xtask manifests`.
#[derive(Args)]
pub struct Manifests {
    /// Write nothing, and fail if the file is not what the chart gives
    #[arg(long)]
    check: bool,
}

impl Manifests {
    /// Writes or checks the file.
    ///
    /// # Errors
    /// When helm cannot be had, or does not understand the chart; with `--check` when the file is out of
    /// date.
    pub fn run(self) -> Result<()> {
        let (file, text) = (root().join(FILE), text()?);
        if !self.check {
            return fs::write(&file, text).context(FILE);
        }
        let found = fs::read_to_string(&file).context(FILE)?;
        ensure!(found == text, "{FILE} is not what deploy/chart gives: cargo xtask manifests");
        Ok(())
    }
}

fn text() -> Result<String> {
    let mut helm = Command::new(programs::helm()?);
    let version = programs::version();
    helm.args(["template", "rackpool", "deploy/chart", "--kube-version", version]).current_dir(root());
    let out = helm.output().context("helm")?;
    ensure!(out.status.success(), "helm template: {}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8(out.stdout)?;
    let lines = lines.lines().filter(|line| !line.starts_with("# Source: "));
    Ok(lines.fold(HEAD.to_string(), |text, line| text + line.trim_end() + "\n"))
}
