//! Developer commands: `cargo xtask demo`, `cargo xtask test` and their kin.
//!
//! `main.rs` is started first. It builds and runs this program for every command but the demo on the embedded
//! store.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::cargo::{cargo, run};
use xtask::sweep;

mod beside;
mod cluster;
mod demo;
mod dist;
mod figures;
mod fuzz;
mod images;
mod lab;
mod left_out;
mod manifests;
mod mutations;
mod namespace;
mod needs;
mod nightly;
mod notices;
mod older;
mod packages;
mod release;
mod rights;
mod simulate;
mod source;
mod steps;
mod test;

/// rackpool's developer commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Performs the rack guide on a fresh store, with the real programs, and checks the result.
    Demo(demo::Demo),
    /// Runs everything that CI runs. Installs what is missing where it can, or says what it needs.
    Test(test::Test),
    /// Runs the checks that take too long for every change, even after one has failed, and prints a table of
    /// the outcomes.
    Nightly(nightly::Nightly),
    /// Builds the static binaries for distribution, and packs them: an archive, and a package for Debian.
    Dist(release::Dist),
    /// Writes container images of the programs, in the OCI image layout, without Docker.
    Images(images::Images),
    /// Writes the pages of the documentation that are made from the source: docs/reference,
    /// docs/selectors.md.
    Docs,
    /// Writes deploy/rackpool.yaml, which is the chart as plain YAML.
    Manifests(manifests::Manifests),
    /// Simulates many callers on one cluster, step by step, from seeds; makes small what fails.
    Simulate(simulate::Simulate),
    /// Feeds every parser with inputs drawn from its corpus, or (--seconds) guided by coverage; makes small
    /// what fails.
    Fuzz(fuzz::Fuzz),
    /// Takes the rights of deploy/rbac away, one after the other, and tells which test fails first without
    /// each.
    Rights(rights::Rights),
    /// Runs loads in which the programs of this tree and those of an older release work on the same records.
    Skew(older::Skew),
    /// Runs a Kubernetes control plane for experiments: up, down, env.
    Cluster(cluster::Cluster),
    /// Runs a whole cluster of real kubelets for experiments: up, down, shell, restart.
    Lab(lab::LabArguments),
    /// Measures whole processes and the planner on this machine, beside simpler programs for comparison.
    Figures(figures::Figures),
    /// Removes a folder when the process that started this one ends.
    #[command(hide = true, name = sweep::SWEEP)]
    Sweep { folder: PathBuf },
}

/// Has the test that compares the pages with the source write them.
fn write_docs() -> anyhow::Result<()> {
    let test = ["test", "--quiet", "--workspace", "--test", "reference", "--", "--nocapture"];
    run(cargo(&test).env("RACKPOOL_WRITE_DOCS", "1"))
}

fn main() -> ExitCode {
    let done = match Xtask::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Test(test) => test.run(),
        Command::Nightly(nightly) => nightly.run(),
        Command::Dist(dist) => dist.run(),
        Command::Images(images) => images.run(),
        Command::Docs => write_docs(),
        Command::Manifests(manifests) => manifests.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Rights(rights) => rights.run(),
        Command::Skew(skew) => skew.run(),
        Command::Cluster(cluster) => cluster.run(),
        Command::Lab(lab) => lab.run(),
        Command::Figures(figures) => figures.run(),
        Command::Sweep { folder } => sweep::at_the_end(&folder, || lab::remove_groups(&folder)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
