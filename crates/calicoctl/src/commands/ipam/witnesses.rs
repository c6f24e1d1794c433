//! Whether addresses that a report calls leaked are in use after all. A report is what somebody saw a while
//! ago; nodes, endpoints and pods are read anew before anything is released.

use std::collections::BTreeSet;

use api::{Attribute, Kind};
use ipam::ReleaseIp;
use ipam::usage::{self, Allocation};
use resources::check::Check;
use resources::contents::walk;
use store::{Depth, ReadSet, Scope};

use super::explain;
use crate::Context;
use crate::failure::Failure;
use crate::session::Session;

/// How many blocks are looked at in one request, and how many records a page has.
const AT_ONCE: usize = 50;
const PAGE: usize = 1_000;
/// How many addresses or users a message names.
const NAMED: usize = 5;

/// The addresses of which nobody is seen to use any. Those that somebody uses stay, and are named. Without
/// `force`, these stay too: all, where a node or endpoint cannot be read; and those of a node that has no
/// endpoint at all, for where another main plugin than `calico` calls calico-ipam nobody writes endpoints.
pub(super) fn unused(
    addresses: Vec<ReleaseIp>,
    force: bool,
    session: &Session,
    context: &mut Context<'_>,
) -> Result<Vec<ReleaseIp>, Failure> {
    if addresses.is_empty() {
        return Ok(addresses);
    }
    let living = Living::read(session)?;
    if let (false, [_, ..]) = (force, living.unread.as_slice()) {
        return Err(Failure::Message(format!(
            "nothing was released: it is not known which addresses these use, for they cannot be read: {}. Mend or delete them, or use --force",
            named(&living.unread)
        )));
    }
    let (mut unused, mut used, mut unwitnessed) = (Vec::new(), Vec::new(), Vec::new());
    for part in addresses.chunks(AT_ONCE) {
        let reads = part.iter().flat_map(|ip| usage::reads_of(ip.addr).keys);
        let view = session.read(&ReadSet::new().keys(reads.map(|(key, _)| key))).map_err(failure)?;
        for ip in part {
            let attribute = match usage::allocation_of(&view, ip.addr) {
                Allocation::Assigned { attribute, .. } => Some(attribute),
                Allocation::None | Allocation::Cooling { .. } => None,
            };
            let owner = attribute.as_deref();
            if living.check.is_used(ip.addr) || is_of_a_pod(session, ip, owner)? {
                used.push(ip.addr.to_string());
            } else if !force && owner.is_some_and(|owner| living.sees_nothing_of(owner)) {
                unwitnessed.push(ip.addr.to_string());
            } else {
                unused.push(ip.clone());
            }
        }
    }
    if !used.is_empty() {
        writeln!(context.stderr, "kept, for they are in use by now: {}", named(&used))?;
    }
    if !unwitnessed.is_empty() {
        writeln!(
            context.stderr,
            "kept, for their nodes have no WorkloadEndpoint at all, so that nobody can tell whether they are in use: {}. \
             Where another main plugin than calico calls calico-ipam, all are. --force releases them",
            named(&unwitnessed)
        )?;
    }
    Ok(unused)
}

/// Nodes and endpoints.
struct Living {
    check: Check,
    unread: Vec<String>,
    /// The nodes that have endpoints; `None` on Kubernetes, where pods are the witnesses, and a node may have
    /// none.
    nodes: Option<BTreeSet<String>>,
}

impl Living {
    fn read(session: &Session) -> Result<Living, Failure> {
        let mut check = Check::new(session.effects().now());
        let mut nodes = BTreeSet::new();
        for kind in [Kind::Node, Kind::WorkloadEndpoint] {
            let scope = Scope::kind(kind);
            let read = walk(session.store.inner(), &scope, Depth::Full, PAGE, session.within, |view| {
                check.take(view);
                let endpoints = view.resources(Kind::WorkloadEndpoint);
                nodes.extend(endpoints.filter_map(|(it, _)| it.text(&["spec", "node"]).map(str::to_string)));
            });
            session.wait(read).map_err(failure)?;
        }
        let unread = check.unread_users().map(str::to_string).collect();
        let nodes = (!session.is_on_kubernetes()).then_some(nodes);
        Ok(Living { check, unread, nodes })
    }

    /// Whether the allocation is on a node of which nothing is seen.
    fn sees_nothing_of(&self, owner: &Attribute) -> bool {
        let node = owner.owner.get("node").filter(|node| !node.is_empty());
        self.nodes.as_ref().zip(node).is_some_and(|(nodes, node)| !nodes.contains(node))
    }
}

/// Whether the allocation's pod exists and may use the address: on Kubernetes a pod has its address before
/// its status says so.
fn is_of_a_pod(session: &Session, ip: &ReleaseIp, owner: Option<&Attribute>) -> Result<bool, Failure> {
    let text = |name: &str| owner?.owner.get(name).filter(|text| !text.is_empty());
    let (Some(namespace), Some(pod), true) = (text("namespace"), text("pod"), session.is_on_kubernetes())
    else {
        return Ok(false);
    };
    explain::pod_uses(session, namespace, pod, ip.addr)
}

fn named(texts: &[String]) -> String {
    let shown = texts.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn failure(error: impl ToString) -> Failure {
    Failure::in_calico_words(error.to_string())
}
