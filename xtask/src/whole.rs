//! Developer commands: `cargo xtask demo`, `cargo xtask test` and their kin.
//!
//! `main.rs` is before this program, and has it built where more is asked for than the demo on the embedded
//! store.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::sweep;

mod cluster;
mod demo;
mod dist;
mod figures;
mod lab;
mod left_out;
mod namespace;
mod needs;
mod nightly;
mod notices;
mod packages;
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
    /// Performs the rack guide on a fresh store, with the real programs, and proves the result.
    Demo(demo::Demo),
    /// Runs everything that CI runs; installs what is missing where it can, or says what it needs.
    Test(test::Test),
    /// Runs what takes too long for every change, whatever fails, and tells in a table what came of it.
    Nightly(nightly::Nightly),
    /// Builds the static x86_64 binaries that are handed out, in target/x86_64-unknown-linux-musl/dist.
    Dist,
    /// A Kubernetes control plane to try things on: up, down, env.
    Cluster(cluster::Cluster),
    /// A whole cluster of real kubelets to try things on: up, down, shell, restart, routes.
    Lab(lab::LabArguments),
    /// Measures whole processes and the planner on this machine, side by side with what they rest on.
    Figures(figures::Figures),
    /// Removes what is left in a folder when the process that started this one ends.
    #[command(hide = true, name = sweep::SWEEP)]
    Sweep { folder: PathBuf },
}

fn main() -> ExitCode {
    let done = match Xtask::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Test(test) => test.run(),
        Command::Nightly(nightly) => nightly.run(),
        Command::Dist => dist::build().map(|dir| println!("{}", dir.display())),
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
