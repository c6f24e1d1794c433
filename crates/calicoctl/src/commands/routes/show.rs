//! `calicoctl routes show`: the routes of a node or a router, or the networks of a rack.

use routes::{Exported, Rack, node, rack, router};
use serde_json::json;

use super::cluster::{self, Cluster, Host, Shape};
use super::{count, document};
use crate::Context;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::output::table::{Align, boxed_table};

/// Show which routes a node or a router needs, with the reason of each.
///
/// Of a node also its tunnels, who is on their other sides, and the largest packet for the pods of each pool.
/// The routes to the node's own pods are not shown: the CNI plugin makes them. A router's routes are those to
/// pods; of a rack the networks are shown that lead to it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show what this node needs
    #[arg(long, value_name = "NODE", conflicts_with_all = ["rack", "router"])]
    node: Option<String>,
    /// Show which networks lead to this rack
    #[arg(long, value_name = "RACK", conflicts_with = "router")]
    rack: Option<String>,
    /// Show what a router needs that is beside these racks (names with commas between them, all, or none)
    #[arg(long, value_name = "RACKS")]
    router: Option<String>,
    /// Write json or yaml in place of tables
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    host: Host,
    #[command(flatten)]
    shape: Shape,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    if args.node.is_none() && args.rack.is_none() && args.router.is_none() {
        let text =
            "show what? Name a node by --node, a rack by --rack, or the racks beside a router by --router";
        return Err(Failure::Message(text.to_string()));
    }
    let cluster = args.shape.read(context)?;
    match (&args.node, &args.rack, &args.router) {
        (Some(name), _, _) => of_node(args, &cluster, name, context)?,
        (_, Some(name), _) => of_rack(args, &cluster, name, context)?,
        (_, _, beside) => of_router(args, &cluster, beside.as_deref().unwrap_or("all"), context)?,
    }
    warn_ignored(context, &args.words)
}

fn of_node(args: &Args, cluster: &Cluster, name: &str, context: &mut Context<'_>) -> Result<(), Failure> {
    let destinations = cluster.destinations();
    let racks = cluster.racks(&destinations);
    let desired = node::desired(&destinations, &racks, name, &cluster.options(&args.host))
        .map_err(|error| Failure::Message(error.to_string()))?;
    let rack = racks.of_node(name).cloned().flatten();
    if let Some(format) = &args.output {
        let unknown: Vec<String> = desired.unknown.iter().map(ToString::to_string).collect();
        let document = json!({"node": name, "rack": rack, "routes": document::routes(&desired.routes),
            "tunnels": desired.tunnels.iter().map(document::tunnel).collect::<Vec<_>>(),
            "mtu": desired.mtus, "podMTU": desired.pod_mtu, "unknown": unknown});
        return cluster::write(&document, format, context);
    }
    let out = &mut *context.stdout;
    writeln!(out, "Node {name}, rack {}: {}", rack::shown(&rack), count(desired.routes.len(), "route"))?;
    out.write_all(document::table(&desired.routes).as_bytes())?;
    if !desired.tunnels.is_empty() {
        writeln!(out, "Tunnels")?;
        out.write_all(document::tunnels(&desired.tunnels).as_bytes())?;
    }
    writeln!(out, "Largest packets of pods, by pool")?;
    let rows: Vec<Vec<String>> =
        desired.mtus.iter().map(|(pool, mtu)| vec![pool.clone(), mtu.to_string()]).collect();
    out.write_all(boxed_table(&[("pool", Align::Left), ("mtu", Align::Right)], &rows).as_bytes())?;
    for network in &desired.unknown {
        writeln!(out, "Not known: what leads into {network}. A record about it cannot be read")?;
    }
    Ok(())
}

fn of_router(args: &Args, cluster: &Cluster, beside: &str, context: &mut Context<'_>) -> Result<(), Failure> {
    let destinations = cluster.destinations();
    let racks = cluster.racks(&destinations);
    let router = cluster.router(&racks, beside)?;
    let routes = router::routes(&destinations, &racks, &router);
    let names: Vec<&str> = router.beside.iter().map(rack::shown).collect();
    if let Some(format) = &args.output {
        let document = json!({"beside": names, "routes": document::routes(&routes)});
        return cluster::write(&document, format, context);
    }
    let place =
        if names.is_empty() { "beside no rack".to_string() } else { format!("beside {}", names.join(", ")) };
    writeln!(context.stdout, "Router {place}: {}", count(routes.len(), "route"))?;
    context.stdout.write_all(document::table(&routes).as_bytes())?;
    let others = racks.others(&router.beside).any(|(_, rack)| rack.networks().next().is_some());
    if others && router.via.is_empty() {
        writeln!(
            context.stderr,
            "Other racks are left to the router's default route; --via names a router for them"
        )?;
    }
    match cluster.why_none(&racks) {
        "" => Ok(()),
        why => Ok(writeln!(context.stderr, "{why}")?),
    }
}

fn of_rack(args: &Args, cluster: &Cluster, name: &str, context: &mut Context<'_>) -> Result<(), Failure> {
    let destinations = cluster.destinations();
    let racks = cluster.racks(&destinations);
    let key = cluster::one(&racks, name)?;
    let rack: &Rack = &racks.racks[&key];
    let kinds = [("pools", &rack.pools), ("blocks", &rack.blocks), ("exceptions", &rack.exceptions)];
    if let Some(format) = &args.output {
        let mut document = json!({"rack": name, "label": racks.label, "nodes": rack.nodes});
        for (kind, networks) in kinds {
            document[kind] = networks.iter().map(ToString::to_string).collect();
        }
        return cluster::write(&document, format, context);
    }
    writeln!(context.stdout, "Rack {name}: {}", count(rack.nodes.len(), "node"))?;
    let reasons = [
        "the pools that only this rack can use",
        "blocks outside of any rack's pools",
        "from another rack's pools or blocks",
    ];
    let mut rows = Vec::new();
    for ((_, networks), reason) in kinds.iter().zip(reasons) {
        rows.extend(networks.iter().map(|network| vec![network.to_string(), reason.to_string()]));
    }
    let columns = [("network", Align::Left), ("reason", Align::Left)];
    context.stdout.write_all(boxed_table(&columns, &rows).as_bytes())?;
    if racks.exported == Exported::Plain && rows.is_empty() {
        writeln!(context.stderr, "Only pools without encapsulation count; --encapsulated counts all pools")?;
    }
    Ok(())
}
