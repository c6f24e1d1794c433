//! Measures whole processes side by side: each round starts every program once, so a machine that is slow for
//! a while is slow for all of them. The printed figures are medians over the rounds, of how much more a
//! program takes than `/bin/true` in the same round.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod kubernetes;
mod process;
mod seed;
mod table;

use process::{Plugin, Programs};
use table::Table;

/// Measures whole processes.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fills a store. This is a process of its own, so that the process that starts the measured programs
    /// stays small: Linux counts the parent's memory into a new program's peak.
    Fill(Fill),
    /// Measures on the embedded store.
    Measure(Measure),
    /// Measures on a Kubernetes API server, which it starts.
    Kubernetes(Kubernetes),
    /// Runs an API server for the other commands.
    Serve,
}

#[derive(Parser)]
struct Kubernetes {
    /// The folder of the programs to measure.
    programs: PathBuf,
    /// How often each program is started.
    #[arg(long, default_value_t = 60)]
    rounds: usize,
}

#[derive(Parser)]
struct Fill {
    /// The file of the store.
    path: PathBuf,
    /// How many nodes the store has.
    nodes: u32,
    /// How many addresses each node uses.
    addresses: u32,
}

#[derive(Parser)]
struct Measure {
    /// The folder of the programs to measure.
    programs: PathBuf,
    /// How often each program is started.
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// How many nodes the large store has.
    #[arg(long, default_value_t = 5_000)]
    nodes: u32,
    /// How many addresses each node of the large store uses.
    #[arg(long, default_value_t = 30)]
    addresses: u32,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Fill(fill) => seed::store(&fill.path, fill.nodes, fill.addresses),
        Command::Measure(arguments) => measure(&arguments),
        Command::Kubernetes(arguments) => kubernetes::measure(&arguments.programs, arguments.rounds),
        Command::Serve => kubernetes::serve(),
    }
}

fn measure(arguments: &Measure) -> Result<()> {
    let programs = Programs::in_folder(&arguments.programs)?;
    let scratch = tempfile::tempdir()?;
    let (small, large) = (scratch.path().join("small.db"), scratch.path().join("large.db"));
    process::fill(&small, 1, 0)?;
    println!(
        "filling a store with {} nodes and {} addresses",
        arguments.nodes,
        arguments.nodes * arguments.addresses
    );
    process::fill(&large, arguments.nodes, arguments.addresses)?;

    let mut table = Table::default();
    for round in 0..arguments.rounds {
        table.start_round();
        table.note("one fdatasync of 4 KiB", process::sync_time(scratch.path())?, 0);
        let nothing = process::nothing()?;
        table.base(nothing.time);
        for (name, database, node) in [
            ("", &small, seed::EMPTY_NODE),
            (", large store", &large, seed::EMPTY_NODE),
            (", large store, used block", &large, seed::USED_NODE),
        ] {
            let configuration = process::on_file(database, node);
            let plugin = Plugin { programs: &programs, configuration, container: format!("bench-{round}") };
            let add = plugin.run("ADD")?;
            table.note(&format!("calico-ipam ADD{name}"), add.time, add.peak_kib);
            let del = plugin.run("DEL")?;
            table.note(&format!("calico-ipam DEL{name}"), del.time, del.peak_kib);
        }
        let configuration = process::on_file(&small, seed::EMPTY_NODE);
        let plugin = Plugin { programs: &programs, configuration, container: "v".to_string() };
        let version = plugin.run("VERSION")?;
        table.note("calico-ipam VERSION", version.time, version.peak_kib);
        let get = programs.calicoctl(&small, &["get", "ippool"])?;
        table.note("calicoctl get ippool", get.time, get.peak_kib);
    }
    print!("{table}");
    println!("{}", table.ratio("calico-ipam ADD, large store", "calico-ipam ADD"));
    Ok(())
}
