//! What a purge says, before and after, as text and as a document.

use resources::contents::{Counts, number_of};
use resources::purge::{InUse, Survey};
use serde_json::{Map, Value as Json, json};

use crate::session::Session;

/// How many lines of one sort are printed.
const LINES: usize = 20;

/// What is left all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub what: String,
    pub reason: String,
}

/// What was found, and what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Purged {
    pub survey: Survey,
    /// Agents and controllers that run.
    pub running: Vec<String>,
    pub removed: Counts,
    /// Objects that were no records, and were removed.
    pub strays: Vec<String>,
    /// The definitions that were removed.
    pub definitions: Vec<String>,
    /// The definitions that are not rackpool's.
    pub foreign: Vec<String>,
    pub left: Vec<Left>,
    /// What this program does not know, counted.
    pub unknown: String,
}

/// The text before anything is removed.
pub(super) fn before(session: &Session, purged: &Purged) -> String {
    let Survey { in_use, records } = &purged.survey;
    let place = session.datastore.place();
    let mut text = format!("{} in use in {place}\n", number_of(in_use.addresses(), "address", "addresses"));
    lines(
        &mut text,
        in_use.pools.iter().map(|one| {
            let addresses = number_of(one.addresses, "address", "addresses");
            format!("IPPool {} {}: {addresses}", one.pool.name, one.pool.cidr)
        }),
    );
    if in_use.without_pool > 0 {
        lines(&mut text, [format!("in no pool: {}", in_use.without_pool)].into_iter());
    }
    lines(
        &mut text,
        in_use
            .nodes
            .iter()
            .map(|(node, count)| format!("Node {node}: {}", number_of(*count, "address", "addresses"))),
    );
    if in_use.without_node > 0 {
        lines(&mut text, [format!("of no node: {}", in_use.without_node)].into_iter());
    }
    if in_use.tunnels > 0 {
        lines(&mut text, [format!("{} of these for nodes' tunnels", in_use.tunnels)].into_iter());
    }
    if in_use.workloads > 0 {
        text.push_str(&format!("{} of workloads\n", number_of(in_use.workloads, "address", "addresses")));
        let more = in_use.workloads.saturating_sub(in_use.first.len() as u64);
        lines(&mut text, workloads(in_use).chain((more > 0).then(|| format!("... and {more} more"))));
    }
    if !in_use.unreadable.is_empty() {
        text.push_str("Not known, for the block cannot be read\n");
        lines(&mut text, in_use.unreadable.iter().cloned());
    }
    if !purged.running.is_empty() {
        text.push_str("Running\n");
        lines(&mut text, purged.running.iter().cloned());
    }
    match records.total() {
        0 => text.push_str("There are no records\n"),
        _ => text.push_str(&format!("What a purge removes: {records}\n")),
    }
    text
}

/// The text about what was removed.
pub(super) fn after(purged: &Purged) -> String {
    let mut text = match purged.removed.total() {
        0 => "Removed nothing\n".to_string(),
        _ => format!("Removed {}\n", purged.removed),
    };
    for (title, names) in [
        ("Removed, though nobody could read them", &purged.strays),
        ("Removed the definitions", &purged.definitions),
        ("Not rackpool's, and left: they lack the label app.kubernetes.io/part-of=rackpool", &purged.foreign),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("{title}\n"));
            lines(&mut text, names.iter().cloned());
        }
    }
    if !purged.unknown.is_empty() {
        text.push_str(&format!("Left, as this program does not know it: {}\n", purged.unknown));
    }
    if !purged.left.is_empty() {
        text.push_str("Not removed\n");
        lines(&mut text, purged.left.iter().map(|left| format!("{}: {}", left.what, left.reason)));
    }
    text
}

/// The document.
pub(super) fn document(session: &Session, purged: &Purged) -> Json {
    let in_use = &purged.survey.in_use;
    let pools = in_use.pools.iter().map(
        |one| json!({"name": one.pool.name, "cidr": one.pool.cidr.to_string(), "addresses": one.addresses}),
    );
    let nodes = in_use.nodes.iter().map(|(name, count)| json!({"name": name, "addresses": count}));
    let first = in_use
        .first
        .iter()
        .map(|one| json!({"name": one.name, "address": one.addr.to_string(), "node": one.node}));
    let left = purged.left.iter().map(|left| json!({"what": left.what, "reason": left.reason}));
    json!({
        "datastore": session.datastore.place(),
        "inUse": {
            "addresses": in_use.addresses(),
            "tunnels": in_use.tunnels,
            "workloads": in_use.workloads,
            "firstWorkloads": first.collect::<Vec<_>>(),
            "pools": pools.collect::<Vec<_>>(),
            "withoutPool": in_use.without_pool,
            "nodes": nodes.collect::<Vec<_>>(),
            "withoutNode": in_use.without_node,
            "unreadableBlocks": in_use.unreadable,
        },
        "running": purged.running,
        "records": counts(&purged.survey.records),
        "removed": counts(&purged.removed),
        "removedUnreadable": purged.strays,
        "removedDefinitions": purged.definitions,
        "foreignDefinitions": purged.foreign,
        "left": left.collect::<Vec<_>>(),
        "unknown": purged.unknown,
    })
}

fn counts(counts: &Counts) -> Json {
    counts.each().map(|(noun, count)| (noun.to_string(), Json::from(count))).collect::<Map<_, _>>().into()
}

fn workloads(in_use: &InUse) -> impl Iterator<Item = String> {
    in_use.first.iter().map(|one| {
        let name = if one.name.is_empty() { "an unknown user" } else { &one.name };
        let node = if one.node.is_empty() { String::new() } else { format!(" on {}", one.node) };
        format!("{name} {}{node}", one.addr)
    })
}

/// Adds lines, indented. Of very many only the first are printed.
fn lines(text: &mut String, lines: impl Iterator<Item = String>) {
    let mut lines = lines;
    for line in lines.by_ref().take(LINES) {
        text.push_str(&format!("  {line}\n"));
    }
    if let more @ 1.. = lines.count() {
        text.push_str(&format!("  ... and {more} more; -o json names all\n"));
    }
}
