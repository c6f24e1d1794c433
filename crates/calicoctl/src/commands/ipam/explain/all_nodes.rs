//! `--all-nodes`: which pools serve each node, and how many free addresses it can reach.

use api::{Family, Kind, Use};
use ipam::explain::{self, nodes};
use serde_json::{Value as Json, json};
use store::{Depth, Scope};

use super::render::number;
use super::{Args, Output, document, pod};
use crate::Context;
use crate::failure::Failure;
use crate::output::{columns, number as counts};
use crate::session::Session;

/// How many nodes an error names at most.
const NAMED: usize = 5;

pub(super) fn run(
    args: &Args,
    wanted: Use,
    family: Family,
    session: &Session,
    output: Output,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let labels = pod::namespace_labels(session, args.namespace.as_deref())?;
    let set = explain::reads().scope(Scope::kind(Kind::Node), Depth::Full);
    let view = session.read(&set).map_err(|error| Failure::Message(error.to_string()))?;
    let reached = nodes::reach(&view, wanted, family, labels.as_ref());
    let text = match output {
        Output::Text => table(&reached),
        _ => document(output, &to_json(&reached, wanted, family)),
    };
    context.stdout.write_all(text.as_bytes())?;
    let without: Vec<&str> =
        reached.iter().filter(|node| node.free == 0).map(|node| node.name.as_str()).collect();
    let Some(first) = without.first() else { return Ok(()) };
    let more = if without.len() > NAMED { ", ..." } else { "" };
    let named: Vec<&str> = without.iter().take(NAMED).copied().collect();
    Err(Failure::Message(format!(
        "{} of {} nodes can reach no {family} address: {}{more}; for the reason: calicoctl ipam explain --node {first}",
        without.len(),
        reached.len(),
        named.join(", ")
    )))
}

fn table(reached: &[nodes::NodeReach]) -> String {
    let row = |node: &nodes::NodeReach| {
        let labels: Vec<String> =
            node.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        vec![node.name.clone(), labels.join(","), node.pools.join(","), counts::count(node.free)]
    };
    columns::table(&["NODE", "LABELS", "POOLS", "FREE"], &reached.iter().map(row).collect::<Vec<_>>())
}

fn to_json(reached: &[nodes::NodeReach], wanted: Use, family: Family) -> Json {
    let node = |node: &nodes::NodeReach| json!({"name": node.name, "labels": node.labels, "pools": node.pools, "free": number(node.free)});
    json!({
        "use": wanted.name(),
        "family": family.number(),
        "nodes": reached.iter().map(node).collect::<Vec<_>>(),
    })
}
