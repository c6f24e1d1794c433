//! `calicoctl ipam show`: how full pools and blocks are, and what is known of single addresses. This file
//! reads; the other two write the answer, as text and as a document.

mod document;
mod text;

use std::net::IpAddr;

use api::{BlockCidr, IpamConfig, Pool};
use ipam::usage::{self, Allocation, BorrowedAddresses, ClusterUsage};
use std::sync::Arc;

use resources::contents::walk;
use store::{Depth, Scope};

use super::{BLOCKS, address};
use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// Show how full the pools are, or whose an address is.
///
/// If several of these flags are given, the first in this order counts: --ip, --show-blocks, --show-borrowed,
/// --show-configuration. Without any of them the pools are shown. IPS IN USE counts addresses that are
/// assigned or cooling down, IPS RESERVED those that an IPReservation covers, IPS FREE those that are
/// neither.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tell whose this address is
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Show the blocks too; those without a pool come last
    #[arg(long)]
    show_blocks: bool,
    /// Show the addresses that a node has from a block which is not its own
    #[arg(long)]
    show_borrowed: bool,
    /// Show how addresses are assigned
    #[arg(long)]
    show_configuration: bool,
    /// Write json or yaml in place of tables and sentences
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// What is shown.
enum Shown {
    /// The pools, and whether their blocks are shown too.
    Pools(ClusterUsage, bool),
    /// One address.
    Address(Address),
    Borrowed(BorrowedAddresses),
    Configuration(IpamConfig),
}

struct Address {
    addr: IpAddr,
    allocation: Allocation,
    /// The pool of its block, enabled or not.
    pool: Option<Arc<Pool>>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let session = Access::to_read(args.config.config.as_deref(), context)?.quiet_session()?;
    let given = [
        ("--ip", args.ip.as_deref().is_some_and(|ip| !ip.is_empty())),
        ("--show-blocks", args.show_blocks),
        ("--show-borrowed", args.show_borrowed),
        ("--show-configuration", args.show_configuration),
    ];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag);
    if let Some(first) = given.next() {
        for other in given {
            writeln!(context.stderr, "warning: {other} has no effect: {first} counts")?;
        }
    }
    let shown = if let Some(ip) = args.ip.as_deref().filter(|ip| !ip.is_empty()) {
        Shown::Address(of_address(&session, address(ip)?)?)
    } else if args.show_borrowed && !args.show_blocks {
        let view = session.read(&usage::borrowed_reads()).map_err(failure)?;
        Shown::Borrowed(usage::borrowed(&view))
    } else if args.show_configuration && !args.show_blocks {
        Shown::Configuration(session.wait(session.client().ipam_config()).map_err(failure)?)
    } else {
        Shown::Pools(pools(&session)?, args.show_blocks)
    };
    let text = match args.output.as_deref() {
        Some(format) => output::document(&document::of(&shown), format),
        None => text::of(&shown)?,
    };
    context.stdout.write_all(text.as_bytes())?;
    if let Shown::Pools(cluster, false) = &shown {
        tell_orphans(cluster, context)?;
    }
    warn_ignored(context, &args.words)
}

fn pools(session: &Session) -> Result<ClusterUsage, Failure> {
    let mut tally = usage::Tally::of(&session.read(&usage::pool_reads()).map_err(failure)?);
    let blocks = Scope::Blocks { family: None };
    let pages = walk(&session.store, &blocks, Depth::Full, BLOCKS, session.within, |view| tally.take(view));
    session.wait(pages).map_err(failure)?;
    Ok(tally.end())
}

fn failure(error: impl ToString) -> Failure {
    Failure::in_calico_words(error.to_string())
}

fn of_address(session: &Session, addr: IpAddr) -> Result<Address, Failure> {
    let reads =
        usage::reads_of(addr).key(api::Key::IpamConfig).scope(Scope::kind(api::Kind::IPPool), Depth::Full);
    let view = session.read(&reads).map_err(failure)?;
    let cooldown = view.ipam_config().unwrap_or_default().cooldown_seconds;
    let allocation = match usage::allocation_of(&view, addr) {
        // The address is free: its cooldown is over, and the next change of its block removes the allocation.
        Allocation::Cooling { since, .. }
            if ipam::block::is_cold(since, session.effects().now(), cooldown) =>
        {
            Allocation::None
        }
        other => other,
    };
    let block = block_of(&allocation);
    let network = block.map_or_else(|| api::Cidr::single(addr), |block| block.cidr());
    Ok(Address { addr, allocation, pool: usage::pool_of(&view, &network) })
}

fn block_of(allocation: &Allocation) -> Option<BlockCidr> {
    match allocation {
        Allocation::None => None,
        Allocation::Cooling { block, .. } | Allocation::Assigned { block, .. } => Some(*block),
    }
}

/// Tells of addresses that are in use in no pool: the table of pools does not count them.
fn tell_orphans(cluster: &ClusterUsage, context: &mut Context<'_>) -> Result<(), Failure> {
    let in_use: u128 = cluster.orphans.iter().map(|block| block.usage.in_use).sum();
    if in_use > 0 {
        writeln!(
            context.stderr,
            "not shown: {in_use} address(es) in use in {} block(s) whose pool is gone; --show-blocks shows them",
            cluster.orphans.iter().filter(|block| block.usage.in_use > 0).count()
        )?;
    }
    Ok(())
}
