//! `calicoctl routes`: which routes nodes and routers need, by the records alone.

mod budget;
mod check;
mod cluster;
mod document;
mod show;
mod tor;

use clap::Subcommand;
use resources::contents::number_of;

use crate::Context;
use crate::failure::Failure;

/// Say which routes nodes and routers need, and what is wrong with those they have.
///
/// The answers come from the pools, nodes and blocks in the store, so they can be had for any node and any
/// router, from anywhere, before anything is installed. Nothing is changed anywhere.
///
/// A rack is the nodes with one value of a label. Where each rack has pools of its own, by their
/// nodeSelectors, a router needs one route for each rack, and not one for each block.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  calicoctl routes show --node kube-node-0          what that node needs, and why
  calicoctl routes show --router all                what a router beside all racks needs
  calicoctl routes tor all --format bird            the same as the router's configuration
  calicoctl routes budget --limit 512               how many routes each router needs
  calicoctl routes check                            what keeps somebody from being reached
  ip -j route > t; calicoctl routes check --node kube-node-0 --table t";

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Args),
    Budget(budget::Args),
    Check(check::Args),
    Tor(tor::Args),
}

pub(super) fn run(args: Args, context: &mut Context<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Show(args) => show::run(&args, context),
        Command::Budget(args) => budget::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Tor(args) => tor::run(&args, context),
    }
}

/// The number, and the noun for one or for several.
fn count(number: usize, noun: &str) -> String {
    number_of(number as u64, noun, &format!("{noun}s"))
}
