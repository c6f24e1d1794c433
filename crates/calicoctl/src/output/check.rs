//! The texts of `ipam check`. Everything up to the line `Check complete` is Calico's
//! (`calicoctl/calicoctl/commands/ipam/check.go`); where Calico prints lines in a random order, these are in
//! the order of addresses and names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use resources::check::{ActivePool, Allocation, Checked, CheckedBlock, User};
use serde_json::{Value as Json, json};

/// How many of this program's own findings are shown where nobody asks for all.
const SHOWN: usize = 20;
/// How many nodes are shown.
const NODES: usize = 20;

/// What the user wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Every address.
    pub all: bool,
    /// The addresses that have a problem.
    pub problems: bool,
}

/// Adds a line. Writing to a text cannot fail.
macro_rules! line {
    ($text:expr, $($rest:tt)*) => {{ let _ = writeln!($text, $($rest)*); }};
}

/// The section of the blocks.
pub fn blocks(blocks: &[CheckedBlock], wanted: Wanted) -> String {
    let mut text = format!("Loading all IPAM blocks...\nFound {} IPAM blocks.\n", blocks.len());
    let mut count = 0;
    for block in blocks {
        let affinity = block.affinity.as_deref().unwrap_or("<none>");
        line!(text, " IPAM block {} affinity={affinity}:", block.cidr);
        count += block.allocations.len();
        for allocation in block.allocations.iter().filter(|_| wanted.all) {
            let Some(addr) = block.cidr.addr(allocation.ordinal) else { continue };
            if allocation.is_kept_by_windows {
                line!(text, "  {addr} belongs to Reserved for Windows");
            }
            line!(text, "  {addr} allocated; attrs {}", attributes(allocation));
        }
    }
    line!(text, "IPAM blocks record {count} allocations.\n");
    text
}

/// The section of the pools.
pub fn pools(pools: &[ActivePool]) -> String {
    let mut text = "Loading all IPAM pools...\n".to_string();
    pools.iter().for_each(|pool| line!(text, "  {}", pool.text));
    line!(text, "Found {} active IP pools.\n", pools.len());
    text
}

/// The lines that say whose addresses are, where all are wanted.
fn belongings<'u>(used: impl Iterator<Item = (IpAddr, &'u Arc<str>)>, wanted: Wanted) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for (addr, owner) in used {
        count += 1;
        if wanted.all {
            line!(text, "  {addr} belongs to {owner}");
        }
    }
    (text, count)
}

/// The section of the nodes.
pub fn nodes<'u>(used: impl Iterator<Item = (IpAddr, &'u Arc<str>)>, wanted: Wanted) -> String {
    let (lines, count) = belongings(used, wanted);
    format!("Loading all nodes.\n{lines}Found {count} node tunnel IPs.\n\n")
}

/// The heading of the section of the services.
pub const SERVICES: &str = "Loading all service load balancer IPs.\n";

/// What is known of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Services {
    /// So many have addresses from pools.
    Found(usize),
    /// The controllers' configuration says nothing about services.
    NotConfigured,
    /// Services have addresses from pools, and there is no Kubernetes to look them up.
    NotSeen,
}

/// The section of the services, without its heading.
pub fn services<'u>(
    used: impl Iterator<Item = (IpAddr, &'u Arc<str>)>,
    services: Services,
    wanted: Wanted,
) -> String {
    match services {
        Services::Found(count) => {
            format!("{}Found {count} service load balancer(s).\n\n", belongings(used, wanted).0)
        }
        Services::NotConfigured => {
            "No configuration for LoadBalancer kubecontroller found, skipping service check\n\n".to_string()
        }
        Services::NotSeen => {
            "No Kubernetes is named (--kubeconfig), skipping service check: addresses of services count as used\n\n"
                .to_string()
        }
    }
}

/// The section of the workloads. `count` is the number of all addresses in use.
pub fn workloads<'u>(
    used: impl Iterator<Item = (IpAddr, &'u Arc<str>)>,
    count: usize,
    wanted: Wanted,
) -> String {
    let (lines, workloads) = belongings(used, wanted);
    format!(
        "Loading all workload endpoints.\n{lines}Found {workloads} workload IPs.\n\
         Workloads and nodes are using {count} IPs.\n\n"
    )
}

/// Everything from the section of the handles on.
pub fn findings(checked: &Checked, wanted: Wanted) -> String {
    let mut text = busiest(&checked.by_node);
    text.push_str("Scanning for IPs that are allocated but not actually in use...\n");
    for addr in checked.leaked.iter().filter(|_| wanted.problems) {
        for (_, allocation) in checked.allocations_of(*addr) {
            line!(text, "  {addr} leaked; attrs {}", attributes(allocation));
        }
    }
    let count = checked.leaked.len();
    line!(text, "Found {count} IPs that are allocated in IPAM but not actually in use.");
    text.push_str(&unallocated(checked, wanted));
    text.push_str(&handles(checked, wanted));
    text.push_str("Validating IPAMBlock structures...\n");
    for (block, fault) in checked.invalid() {
        line!(text, "  IPAMBlock {} is invalid: {fault}", api::Key::Block(block));
    }
    line!(text, "Found {} invalid IPAMBlocks.", checked.invalid().count());
    line!(text, "Check complete; found {} problems.", checked.problems());
    text.push_str(&more(checked, wanted));
    text
}

fn busiest(by_node: &[(Arc<str>, u32)]) -> String {
    let mut text = format!("Loading all handles\nLooking for top (up to {NODES}) nodes by allocations...\n");
    for (node, count) in by_node.iter().take(NODES) {
        line!(text, "  {node} has {count} allocations");
    }
    if let (Some((_, most)), Some((_, median))) = (by_node.first(), by_node.get(by_node.len() / 2)) {
        line!(text, "Node with most allocations has {most}; median is {median}");
    }
    text.push('\n');
    text
}

fn unallocated(checked: &Checked, wanted: Wanted) -> String {
    let mut text =
        "Scanning for IPs that are in use by a workload or node but not allocated in IPAM...\n".to_string();
    if wanted.problems {
        let mut lines: BTreeMap<IpAddr, String> = BTreeMap::new();
        for addr in &checked.shared {
            lines.insert(*addr, format!("  {addr} has multiple owners.\n"));
        }
        let mut tell = |used: &[(IpAddr, Vec<User>)], what: &str| {
            for (addr, users) in used {
                let of = lines.entry(*addr).or_default();
                users.iter().for_each(|user| line!(of, "  {addr} in use by {} {what}", user.name));
            }
        };
        tell(&checked.outside, "is not in any active IP pool.");
        tell(&checked.unallocated, "and in active IPAM pool but has no IPAM allocation.");
        text.extend(lines.into_values());
    }
    line!(text, "Found {} in-use IPs that are not in active IP pools.", checked.outside.len());
    line!(
        text,
        "Found {} in-use IPs that are in active IP pools but have no corresponding IPAM allocation.\n",
        checked.unallocated.len()
    );
    text
}

fn handles(checked: &Checked, wanted: Wanted) -> String {
    let mut text = "Scanning for IPAM handles with no matching IPs...\n".to_string();
    for (id, _) in checked.leaked_handles.iter().filter(|_| wanted.all) {
        line!(text, "  {id} doesn't have any active IPs.");
    }
    let (leaked, good) = (checked.leaked_handles.len(), checked.good_handles);
    line!(text, "Found {leaked} handles with no matching IPs (and {good} handles with matches).");
    text.push_str("Scanning for IPs with missing handle...\n");
    for id in checked.missing_handles.iter().filter(|_| wanted.problems) {
        line!(text, "  {id} is in use in a block but doesn't exist.");
    }
    let missing = checked.missing_handles.len();
    line!(text, "Found {missing} handles mentioned in blocks with no matching handle resource.");
    text
}

/// What only this program finds.
fn more(checked: &Checked, wanted: Wanted) -> String {
    let (mut text, count) = (String::new(), checked.more.len());
    if count == 0 {
        return text;
    }
    let shown = if wanted.problems { count } else { SHOWN };
    for problem in checked.more.iter().take(shown) {
        line!(text, "  {}: {} ({})", problem.record, problem.reason, problem.kind);
    }
    if let left @ 1.. = count.saturating_sub(shown) {
        line!(text, "  ... and {left} more, which --show-problem-ips shows");
    }
    line!(text, "rackpool found {count} more problems.");
    text
}

/// An attribute as Calico shows it.
fn attributes(allocation: &Allocation) -> String {
    let Some(owner) = allocation.owner() else { return "<missing>".to_string() };
    let pairs = |fields: &BTreeMap<String, String>| {
        fields.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    };
    let main = owner.handle.as_deref().unwrap_or("<none>");
    let mut text = format!("Main:{main} Extra:{}", pairs(&owner.fields));
    if !owner.alternate.is_empty() {
        text.push_str(&format!(" Alternate:{}", pairs(&owner.alternate)));
    }
    text
}

/// Everything that was found, for programs. `docs/check.md` describes it.
pub fn document(checked: &Checked) -> Json {
    let calicos = |kind: &str, record: String, reason: String| json!({"kind": kind, "record": record, "reason": reason, "counted": "calico"});
    let mut found = Vec::new();
    for addr in &checked.leaked {
        for (block, allocation) in checked.allocations_of(*addr) {
            let reason = format!("is allocated and used by nobody; attrs {}", attributes(allocation));
            let mut entry = calicos("leaked-address", addr.to_string(), reason);
            entry["block"] = block.cidr.to_string().into();
            entry["handle"] = allocation.handle.as_deref().into();
            entry["node"] = (&*allocation.node).into();
            entry["sequenceNumber"] = allocation.sequence.into();
            found.push(entry);
        }
    }
    let mut used = |kind: &str, all: &[(IpAddr, Vec<User>)], what: &str| {
        for (addr, by) in all {
            let reason = format!("is used by {} and {what}", names(by).join(" and "));
            let mut entry = calicos(kind, addr.to_string(), reason);
            entry["owners"] = names(by).into();
            found.push(entry);
        }
    };
    used("no-pool", &checked.outside, "is in no active pool");
    used("not-allocated", &checked.unallocated, "is in a pool and not allocated");
    for (id, revision) in &checked.leaked_handles {
        let mut entry =
            calicos("leaked-handle", id.to_string(), "no block holds an address for it".to_string());
        entry["revision"] = revision.as_str().into();
        found.push(entry);
    }
    for (block, fault) in checked.invalid() {
        found.push(calicos("invalid-block", block.to_string(), fault.to_string()));
    }
    let more = checked.more.iter().map(|problem| {
        json!({"kind": problem.kind, "record": problem.record, "reason": problem.reason, "counted": "rackpool"})
    });
    found.extend(more);
    let allocations: usize = checked.blocks.iter().map(|block| block.allocations.len()).sum();
    json!({
        "problems": checked.problems(),
        "moreProblems": checked.more.len(),
        "blocks": checked.blocks.len(),
        "allocations": allocations,
        "handles": checked.good_handles + checked.leaked_handles.len(),
        "found": found,
    })
}

fn names(users: &[User]) -> Vec<&str> {
    users.iter().map(|user| &*user.name).collect()
}

/// Whose address it is, for the report: the users, as Calico names them.
pub fn owners(users: &[User]) -> Json {
    if users.is_empty() { Json::Null } else { names(users).into() }
}
