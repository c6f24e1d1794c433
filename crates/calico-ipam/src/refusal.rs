//! What is said beside Calico's own line when an ADD gets no address: the owner of the pod learns which pools
//! were his and what would help, the node's log learns the rest.

use std::net::IpAddr;

use api::near::nearest;
use api::{Cidr, Family, Key, Kind};
use cni::CniError;
use cni::log::Level;
use ipam::explain::Question;
use ipam::explain::commands::word;
use ipam::explain::refusal::{refusal, short, without_pool};
use ipam::usage::{self, Allocation};
use ipam::{AutoAssign, AutoAssigned, Planner};
use store::{Depth, ReadSet, Scope, Store, View};

use crate::request::{Deadline, Request};

/// How many bytes of an error reach the pod's events, message and details together.
const MOST: usize = 512;
/// How many of them are for the message at least, however long the names in the details are.
const MESSAGE_AT_LEAST: usize = 128;

/// Adds to the error about a family, of which the request got too few addresses, what would help. The pools
/// are read once more for it: a request that succeeds pays nothing.
pub async fn explained(
    error: CniError,
    request: &Request<'_, impl Store>,
    wanted: AutoAssign,
    (family, answer): (Family, &AutoAssigned),
    deadline: Deadline,
) -> CniError {
    let Ok(view) = request.store.look(&wanted.clone().planner().reads(), deadline.left()).await else {
        return error;
    };
    let is_v6 = family == Family::V6;
    let (v4, v6) = if is_v6 { (0, 1) } else { (1, 0) };
    let namespace = request.ask.identity.pod().map(|pod| pod.namespace);
    let question = Question {
        request: AutoAssign { v4, v6, ..wanted },
        namespace,
        annotation: None,
        is_on_kubernetes: request.is_on_kubernetes(),
    };
    // Half of the room is for the details, more where the message leaves it; the message gets the rest.
    let room = MOST.saturating_sub(error.msg.len() + BETWEEN).max(MOST / 2);
    let more = match node_like(request, &view, deadline).await {
        Some(near) => format!("did you mean {near}? {}", command(request, is_v6)),
        None => command(request, is_v6),
    };
    let told = refusal(&view, &question, answer, &more, room);
    let details = short(&told.for_owner, MOST - MESSAGE_AT_LEAST - BETWEEN);
    let msg = short(&error.msg, MOST - BETWEEN - details.len());
    for line in told.for_log {
        request.log.say(Level::Error, line);
    }
    CniError { msg, ..error }.with(details)
}

/// The node that is meant, where the request's node does not exist. (On Kubernetes a node's name is its
/// kubelet's own, and no typing error.)
async fn node_like(request: &Request<'_, impl Store>, view: &View, deadline: Deadline) -> Option<String> {
    let node = &request.ask.identity.node;
    if request.is_on_kubernetes() || view.resource(&Key::global(Kind::Node, &**node)).flatten().is_some() {
        return None;
    }
    let scope = Scope::kind(Kind::Node);
    let nodes = ReadSet::new().scope(scope.clone(), Depth::Key);
    let nodes = request.store.look(&nodes, deadline.left()).await.ok()?;
    let names = nodes.slots(&scope).filter_map(|(key, _)| match key {
        Key::Resource { name, .. } => Some(name.as_str()),
        _ => None,
    });
    nearest(node, names).map(str::to_string)
}

/// What runtimes write between message and details.
const BETWEEN: usize = "; ".len();

/// The command that says more, for an administrator.
fn command(request: &Request<'_, impl Store>, is_v6: bool) -> String {
    let identity = &request.ask.identity;
    let mut command = format!("more by: calicoctl ipam explain --node {}", word(&identity.node));
    if let Some(pod) = identity.pod() {
        command.push_str(&format!(" --namespace {}", word(&pod.namespace)));
    }
    if is_v6 {
        command.push_str(" --family 6");
    }
    command
}

/// Adds to the error of a request for one address what says more. Who has the address stands only in the log.
pub async fn of_address(
    error: CniError,
    request: &Request<'_, impl Store>,
    addr: IpAddr,
    deadline: Deadline,
) -> CniError {
    let pools = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
    let pools = request.store.look(&pools, deadline.left()).await.ok();
    let mut why = format!("{addr} was asked for by name");
    if let Some(pools) = &pools {
        if let Some(line) = holder(request, pools, addr, deadline).await {
            request.log.say(Level::Error, line);
        }
        why = without_pool(pools, addr).unwrap_or(why);
    }
    let node = word(&request.ask.identity.node);
    let details = format!("{why}; more by: calicoctl ipam explain --ip {addr} --node {node}");
    let msg = short(&error.msg, MOST.saturating_sub(details.len() + BETWEEN));
    CniError { msg, ..error }.with(details)
}

/// Who has an address, for the log; `None` where nobody has it, or that cannot be read.
async fn holder(
    request: &Request<'_, impl Store>,
    pools: &View,
    addr: IpAddr,
    deadline: Deadline,
) -> Option<String> {
    let block = usage::pool_of(pools, &Cidr::single(addr))?.block_of(addr)?;
    let view = request.store.look(&ReadSet::new().key(Key::Block(block)), deadline.left()).await.ok()?;
    let Allocation::Assigned { attribute, .. } = usage::allocation_of(&view, addr) else { return None };
    let handle = attribute.handle().unwrap_or_default();
    let owner = attribute.owner.iter().map(|(name, value)| format!("{name}={value}"));
    Some(format!(
        "{addr} of block {block} is held by handle {handle:?} ({})",
        owner.collect::<Vec<_>>().join(" ")
    ))
}
