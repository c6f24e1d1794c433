//! `calicoctl ipam show`: the tables of pools and blocks, and the texts about single addresses.

use std::net::IpAddr;

use api::{IpamConfig, Persistence};
use ipam::usage::{self, Allocation, BlockUsage, Usage};

use super::address;
use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::output::number;
use crate::output::table::{Align, boxed_table};
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
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let session = Access::begin(args.config.config.as_deref(), context)?.quiet_session()?;
    let text = if let Some(ip) = args.ip.as_deref().filter(|ip| !ip.is_empty()) {
        of_address(&session, address(ip)?)?
    } else if args.show_borrowed && !args.show_blocks {
        borrowed_addresses(&session)?
    } else if args.show_configuration && !args.show_blocks {
        configuration(&session)?
    } else {
        pools(&session, args.show_blocks)?
    };
    context.stdout.write_all(text.as_bytes())?;
    warn_ignored(context, &args.words)
}

fn failure(error: impl ToString) -> Failure {
    Failure::in_calico_words(error.to_string())
}

fn of_address(session: &Session, addr: IpAddr) -> Result<String, Failure> {
    let view = session.read(&usage::reads_of(addr).key(api::Key::IpamConfig)).map_err(failure)?;
    let cooldown = view.ipam_config().unwrap_or_default().cooldown_seconds;
    let is_cold = |since| ipam::block::is_cold(since, session.effects().now(), cooldown);
    let attribute = match usage::allocation_of(&view, addr) {
        Allocation::None => return Ok(format!("{addr} is not assigned\n")),
        // The address is free: its cooldown is over, and the next change of its block removes the allocation.
        Allocation::Cooling { since, .. } if is_cold(since) => {
            return Ok(format!("{addr} is not assigned\n"));
        }
        Allocation::Cooling { .. } => return Err(failure(format!("address {addr} is in cooldown"))),
        Allocation::Assigned { attribute, .. } => attribute,
    };
    let handle = attribute.handle_id.as_deref().filter(|handle| !handle.is_empty()).unwrap_or("<none>");
    let mut text = format!("IP {addr} is in use\nHandle ID: {handle}\n");
    let lines = |owner: &std::collections::BTreeMap<String, String>| -> String {
        owner.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect()
    };
    match attribute.owner.is_empty() {
        true => text.push_str("No Active Owner attributes defined\n"),
        false => text.push_str(&format!("Active Owner Attributes:\n{}", lines(&attribute.owner))),
    }
    if !attribute.alternate_owner.is_empty() {
        text.push_str(&format!("Alternate Owner Attributes:\n{}", lines(&attribute.alternate_owner)));
    }
    Ok(text)
}

fn pools(session: &Session, with_blocks: bool) -> Result<String, Failure> {
    let view = session.read(&usage::reads()).map_err(failure)?;
    let cluster = usage::pools(&view);
    let mut rows = Vec::new();
    for pool in &cluster.pools {
        rows.push(usage_row("IP Pool", pool.pool.cidr.to_string(), &pool.usage));
        if with_blocks {
            rows.extend(pool.blocks.iter().map(block_row));
        }
    }
    if with_blocks {
        rows.extend(cluster.orphans.iter().map(block_row));
    }
    let columns = [
        ("grouping", Align::Left),
        ("cidr", Align::Left),
        ("ips total", Align::Right),
        ("ips in use", Align::Right),
        ("ips reserved", Align::Right),
        ("ips free", Align::Right),
    ];
    Ok(boxed_table(&columns, &rows))
}

fn block_row(block: &BlockUsage) -> Vec<String> {
    usage_row("Block", block.cidr.to_string(), &block.usage)
}

fn usage_row(grouping: &str, cidr: String, usage: &Usage) -> Vec<String> {
    // Calico counts in 64 bits and stops at the largest number. Scripts take that number for "very many".
    let most = |n: u128| n.min(i64::MAX as u128);
    let total = most(usage.total);
    let share = |n: u128| number::count_and_share(most(n), total);
    vec![
        grouping.to_string(),
        cidr,
        number::count(total),
        share(usage.in_use),
        share(usage.reserved),
        share(usage.free),
    ]
}

fn borrowed_addresses(session: &Session) -> Result<String, Failure> {
    let view = session.read(&usage::borrowed_reads()).map_err(failure)?;
    let found = usage::borrowed(&view);
    let rows: Vec<Vec<String>> = found
        .addresses
        .iter()
        .map(|b| {
            let owner = b.owner.clone().unwrap_or_default();
            vec![
                b.addr.to_string(),
                b.node.clone(),
                b.block.to_string(),
                owner,
                b.kind.clone(),
                b.user.clone(),
            ]
        })
        .collect();
    let headings = ["ip", "borrowing-node", "block", "block owner", "type", "allocated-to"];
    let columns = headings.map(|heading| (heading, Align::Left));
    let mut text = boxed_table(&columns, &rows);
    if found.without_node > 0 {
        text.push_str(&format!(
            "\nNote: found {} IP allocations without an explicit node association. Unable to determine if they are borrowed.\n",
            found.without_node
        ));
    }
    Ok(text)
}

fn configuration(session: &Session) -> Result<String, Failure> {
    let config: IpamConfig = session.wait(session.client().ipam_config()).map_err(failure)?;
    let persistence = match &config.persistence {
        Some(Persistence::Enabled) => "Enabled",
        Some(Persistence::Disabled) => "Disabled",
        Some(Persistence::Odd(_)) => "cannot be read",
        None => "<nil>",
    };
    let rows = [
        ("StrictAffinity", config.strict_affinity.to_string()),
        ("AutoAllocateBlocks", config.auto_allocate_blocks.to_string()),
        ("MaxBlocksPerHost", config.max_blocks_per_host.to_string()),
        ("KubeVirtVMAddressPersistence", persistence.to_string()),
        ("IPCooldownSeconds", config.cooldown_seconds.to_string()),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(property, value)| vec![property.to_string(), value]).collect();
    Ok(boxed_table(&[("property", Align::Left), ("value", Align::Left)], &rows))
}
