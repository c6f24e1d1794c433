//! `--ip`: who has an address, since when, whether he still exists, and how to free it.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, BlockCidr, Cidr, HandleId, Key, Kind, Pool, Use, Value};
use ipam::explain::{PoolChange, Standing};
use ipam::usage::{self, Allocation};
use ipam::{AssignIp, RunError};
use serde_json::{Value as Json, json};
use store::{Batch, Depth, DryRun, Expect, ReadSet, Scope, Store, View};

use super::render::writes;
use super::{Args, Output, document, failed, on_the_same_store, pod};
use crate::Context;
use crate::commands::ipam::address;
use crate::failure::Failure;
use crate::session::Session;

/// What is known about an address.
struct Found {
    addr: IpAddr,
    /// One of `assigned`, `cooling`, `free`, `reserved`, `outside`.
    state: &'static str,
    block: Option<BlockCidr>,
    /// The block's owner as stored, such as `host:n1`.
    block_owner: Option<String>,
    pool: Option<Arc<Pool>>,
    holder: Option<Holder>,
    since: Option<String>,
    /// The command that makes the address free.
    remedy: Option<String>,
}

/// Who has an address.
struct Holder {
    handle: Option<String>,
    attribute: Arc<Attribute>,
    /// Whether the holder still exists; `None` where nobody can tell.
    exists: Option<bool>,
    /// How that is known.
    reason: String,
}

pub(super) fn run(
    args: &Args,
    ip: &str,
    wanted: Use,
    session: &Session,
    output: Output,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let addr = address(ip)?;
    let mut found = look_up(session, addr)?;
    let mut next = args.node.as_ref().map(|node| attempt(session, &found, node, wanted)).transpose()?;
    let remedies = [Some(&mut found.remedy), next.as_mut().map(|next| &mut next.remedy)];
    for remedy in remedies.into_iter().flatten() {
        *remedy = remedy.take().map(|command| on_the_same_store(&command, args, context));
    }
    let text = match output {
        Output::Text => to_text(&found, next.as_ref(), args.node.as_deref(), wanted),
        _ => document(output, &to_json(&found, next.as_ref(), wanted)),
    };
    Ok(context.stdout.write_all(text.as_bytes())?)
}

fn look_up(session: &Session, addr: IpAddr) -> Result<Found, Failure> {
    let set = usage::reads_of(addr)
        .key(Key::IpamConfig)
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::kind(Kind::IPReservation), Depth::Full);
    let view = session.read(&set).map_err(|error| Failure::Message(error.to_string()))?;
    let pool = usage::pool_of(&view, &Cidr::single(addr));
    let block = usage::blocks_around(addr).find(|block| view.block(*block).flatten().is_some());
    let block_owner = block.and_then(|block| Some(view.block(block)??.0.affinity.as_ref()?.to_string()));
    let mut found =
        Found { addr, state: "free", block, block_owner, pool, holder: None, since: None, remedy: None };
    let cooldown = view.ipam_config().unwrap_or_default().cooldown_seconds;
    match usage::allocation_of(&view, addr) {
        Allocation::Assigned { attribute, .. } => {
            found.state = "assigned";
            found.since = attribute.owner.get("timestamp").cloned();
            let holder = holder(session, addr, attribute)?;
            found.remedy = Some(freeing(session, addr, &holder));
            found.holder = Some(holder);
        }
        Allocation::Cooling { since, .. }
            if !ipam::block::is_cold(since, session.effects().now(), cooldown) =>
        {
            found.state = "cooling";
            found.since = Some(api::time::rfc3339(since));
            found.remedy = Some("calicoctl ipam configure --ip-cooldown-seconds=0".to_string());
        }
        Allocation::None | Allocation::Cooling { .. } => {
            let is_reserved = ipam::reservations::Reserved::in_view(&view).holds(addr);
            found.state = match (&found.pool, is_reserved) {
                (None, _) => "outside",
                (_, true) => "reserved",
                (_, false) => "free",
            };
        }
    }
    Ok(found)
}

/// Who has the address, and whether he is still there.
fn holder(session: &Session, addr: IpAddr, attribute: Arc<Attribute>) -> Result<Holder, Failure> {
    let text = |name: &str| attribute.owner.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let (exists, reason) = match (text("namespace"), text("pod"), text("node")) {
        (Some(namespace), Some(name), _) => match pod::object(session, namespace, name) {
            Ok(found) => of_pod(addr, found.as_ref()),
            Err(Some(failure)) => return Err(failure),
            Err(None) => of_endpoints(session, addr)?,
        },
        (_, _, Some(node)) if text("type").is_some() => of_node(session, node)?,
        _ => match session.is_on_kubernetes() {
            true => (None, "its holder names no pod".to_string()),
            false => of_endpoints(session, addr)?,
        },
    };
    let handle = attribute.handle().map(str::to_string).filter(|handle| !handle.is_empty());
    Ok(Holder { handle, attribute, exists, reason })
}

pub(super) fn of_pod(addr: IpAddr, found: Option<&Json>) -> (Option<bool>, String) {
    let Some(found) = found else { return (Some(false), "Kubernetes has no such pod".to_string()) };
    let texts = found["status"]["podIPs"].as_array().into_iter().flatten().filter_map(|ip| ip["ip"].as_str());
    let texts: Vec<&str> = texts.chain(found["status"]["podIP"].as_str()).collect();
    let has = texts.iter().any(|text| text.parse() == Ok(addr));
    let phase = found["status"]["phase"].as_str().unwrap_or_default();
    match (has, phase) {
        (_, "Succeeded" | "Failed") => (Some(false), format!("the pod has ended: its phase is {phase}")),
        (true, _) => (Some(true), "Kubernetes has the pod, with this address".to_string()),
        (false, _) if texts.is_empty() => {
            (Some(true), "Kubernetes has the pod, without an address yet".to_string())
        }
        (false, _) => {
            (Some(false), format!("the pod of this name has other addresses: {}", texts.join(", ")))
        }
    }
}

/// Looks for a workload endpoint with the address.
fn of_endpoints(session: &Session, addr: IpAddr) -> Result<(Option<bool>, String), Failure> {
    let scope = Scope::kind(Kind::WorkloadEndpoint);
    let view = session.read(&ReadSet::new().scope(scope, Depth::Full));
    let view = view.map_err(|error| Failure::Message(error.to_string()))?;
    Ok(match endpoint_of(&view, addr) {
        Some(name) => (Some(true), format!("the workload endpoint {name} has this address")),
        None => {
            (None, "no workload endpoint has this address; a workload may have it without one".to_string())
        }
    })
}

fn endpoint_of(view: &View, addr: IpAddr) -> Option<String> {
    let endpoints = view.resources(Kind::WorkloadEndpoint).map(|(endpoint, _)| endpoint);
    let has = |endpoint: &&api::Resource| api::endpoint::addresses(endpoint).addresses.contains(&addr);
    endpoints.into_iter().find(has).map(|endpoint| {
        let namespace = endpoint.metadata().namespace.clone().unwrap_or_default();
        format!("{namespace}/{}", endpoint.name())
    })
}

fn of_node(session: &Session, node: &str) -> Result<(Option<bool>, String), Failure> {
    let key = Key::global(Kind::Node, node);
    let view = session.read(&ReadSet::new().key(key.clone()));
    let view = view.map_err(|error| Failure::Message(error.to_string()))?;
    Ok(match view.resource(&key).flatten() {
        Some(_) => (Some(true), format!("the node {node} exists")),
        None => (Some(false), format!("there is no node {node}")),
    })
}

/// The command that frees the address. A pod that exists must go first.
fn freeing(session: &Session, addr: IpAddr, holder: &Holder) -> String {
    let text = |name: &str| holder.attribute.owner.get(name);
    match (session.is_on_kubernetes(), holder.exists, text("namespace"), text("pod")) {
        (true, Some(true), Some(namespace), Some(name)) => {
            format!("kubectl delete pod {name} --namespace {namespace}")
        }
        _ => format!("calicoctl ipam release --ip={addr}"),
    }
}

/// What would become of a request for the address.
struct Attempt {
    refusal: Option<String>,
    /// The command that lets the pool give the address.
    remedy: Option<String>,
    foreseen: Vec<store::Foreseen>,
    revision: Option<String>,
}

fn attempt(session: &Session, found: &Found, node: &str, wanted: Use) -> Result<Attempt, Failure> {
    let dry = DryRun::over(&session.store);
    let refusal = ask(session, &dry, found.addr, node, wanted)?;
    let remedy = match (&found.pool, &refusal) {
        (Some(pool), Some(_)) => opening(session, found.addr, pool, node, wanted)?,
        _ => None,
    };
    let revision = dry.read_at().map(|revision| revision.to_string());
    Ok(Attempt { refusal, remedy, foreseen: dry.foreseen(), revision })
}

/// Asks for the address; gives why there is none.
fn ask(
    session: &Session,
    store: &impl Store,
    addr: IpAddr,
    node: &str,
    wanted: Use,
) -> Result<Option<String>, Failure> {
    let request = AssignIp {
        addr,
        host: node.to_string(),
        intended_use: Some(wanted),
        handle: HandleId::new("network.container"),
        attributes: Default::default(),
        max_per_handle: None,
    };
    match session.wait(ipam::run(store, session.effects(), request.planner(), session.within)) {
        Ok(()) => Ok(None),
        Err(RunError::Plan(error)) => Ok(Some(error.to_string().trim_end().to_string())),
        Err(error) => Err(failed(error)),
    }
}

/// The commands that let the pool give the address, if they help; they are tried on a copy of the data.
fn opening(
    session: &Session,
    addr: IpAddr,
    pool: &Pool,
    node: &str,
    wanted: Use,
) -> Result<Option<String>, Failure> {
    let changes: Vec<PoolChange> =
        PoolChange::enabling(pool).into_iter().chain(PoolChange::allowing(pool, wanted)).collect();
    let key = Key::global(Kind::IPPool, pool.name.as_str());
    let view = session.read(&ReadSet::new().key(key.clone()));
    let view = view.map_err(|error| Failure::Message(error.to_string()))?;
    let Some(Some((stored, revision))) = view.resource(&key) else { return Ok(None) };
    let changed = changes.iter().fold(stored.clone(), |pool, change| change.applied_to(&pool));
    let mut batch = Batch::new();
    batch.put(key, Expect::Revision(revision.clone()), Value::Resource(changed));
    let dry = DryRun::over(&session.store);
    let supposed = session.wait(dry.commit(&batch, session.within));
    supposed.map_err(|error| Failure::Message(error.to_string()))?;
    let commands: Vec<String> = changes.iter().map(PoolChange::command).collect();
    let is_refused = changes.is_empty() || ask(session, &dry, addr, node, wanted)?.is_some();
    Ok((!is_refused).then(|| commands.join(" && ")))
}

fn to_text(found: &Found, attempt: Option<&Attempt>, node: Option<&str>, wanted: Use) -> String {
    let mut out = match found.state {
        "assigned" => format!("{} is in use\n", found.addr),
        "cooling" => format!("{} was released and is cooling down\n", found.addr),
        "reserved" => format!(
            "{} is free, and an IPReservation keeps it: only a request that names it gets it\n",
            found.addr
        ),
        "outside" => format!("{} is in no pool\n", found.addr),
        _ => format!("{} is free\n", found.addr),
    };
    let mut line = |what: &str, text: Option<&str>| {
        if let Some(text) = text {
            let _ = writeln!(out, "  {what}: {text}");
        }
    };
    line("pool", found.pool.as_ref().map(|pool| pool.name.as_str()));
    line("block", found.block.map(|block| block.to_string()).as_deref());
    line("block's owner", found.block_owner.as_deref());
    if let Some(holder) = &found.holder {
        line("handle", Some(holder.handle.as_deref().unwrap_or("none")));
        for (name, value) in holder.attribute.owner.iter().filter(|(name, _)| *name != "timestamp") {
            line(name, Some(value));
        }
    }
    line("since", found.since.as_deref());
    if let Some(holder) = &found.holder {
        let exists = match holder.exists {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known",
        };
        line("still exists", Some(&format!("{exists}: {}", holder.reason)));
    }
    if let (Some(attempt), Some(node)) = (attempt, node) {
        match &attempt.refusal {
            None => {
                out.push_str(&format!("node {node} would get it, whatever the selectors of the pool say\n"))
            }
            Some(refusal) => {
                out.push_str(&format!("node {node} would not get it: {refusal}\n"));
                if let Some((_, reason)) = found.pool.as_ref().and_then(|pool| closed(pool, wanted)) {
                    out.push_str(&format!("  the pool: {reason}\n"));
                }
            }
        }
    }
    if let Some(remedy) = &found.remedy {
        out.push_str(&format!("to free it: {remedy}\n"));
    }
    if let Some(remedy) = attempt.and_then(|attempt| attempt.remedy.as_ref()) {
        out.push_str(&format!("remedy: {remedy}\n"));
    }
    out
}

/// Why the pool gives no address for the use, to nobody; `None` where it does.
fn closed(pool: &Pool, wanted: Use) -> Option<(Standing, String)> {
    Some(match pool {
        Pool { disabled: true, .. } => (Standing::Disabled, "it is disabled".to_string()),
        Pool { deleting: true, .. } => (Standing::Terminating, "it is being deleted".to_string()),
        Pool { unallocatable: true, .. } => {
            (Standing::NotAllocatable, "its status says that it is not allocatable".to_string())
        }
        _ if !pool.allows(wanted) => {
            (Standing::OtherUse, format!("its allowedUses leave {} out", wanted.name()))
        }
        _ => return None,
    })
}

/// What the pool of the address means to a request that names the address: its selectors play no part.
fn judge(pool: &Pool, attempt: Option<&Attempt>, wanted: Use) -> (Standing, String) {
    closed(pool, wanted).unwrap_or_else(|| match attempt {
        Some(Attempt { refusal: Some(refusal), .. }) => (Standing::Eligible, refusal.clone()),
        Some(_) => (Standing::Taken, "a request that names the address gets it".to_string()),
        None => (Standing::Eligible, "it has the address".to_string()),
    })
}

fn to_json(found: &Found, attempt: Option<&Attempt>, wanted: Use) -> Json {
    let pools = found.pool.iter().map(|pool| {
        let (standing, reason) = judge(pool, attempt, wanted);
        json!({"name": pool.name, "cidr": pool.cidr.to_string(), "verdict": standing.word(), "reason": reason})
    });
    let holder = found.holder.as_ref().map(|holder| {
        json!({
            "handle": holder.handle,
            "attributes": holder.attribute.owner,
            "exists": holder.exists,
            "reason": holder.reason,
        })
    });
    let next = attempt.filter(|attempt| attempt.refusal.is_none()).map(|attempt| {
        json!({
            "address": found.addr.to_string(),
            "block": found.block.map(|block| block.to_string()),
            "revision": attempt.revision,
        })
    });
    json!({
        "address": found.addr.to_string(),
        "state": found.state,
        "pools": pools.collect::<Vec<_>>(),
        "block": found.block.map(|block| block.to_string()),
        "blockOwner": found.block_owner,
        "holder": holder,
        "since": found.since,
        "next": next,
        "refusal": attempt.and_then(|attempt| attempt.refusal.as_deref()),
        "writes": writes(attempt.map(|attempt| attempt.foreseen.as_slice()).unwrap_or_default()),
        "remedy": found.remedy.as_ref().or(attempt.and_then(|attempt| attempt.remedy.as_ref())),
    })
}
