//! `rackpoold node status`: what is wanted on this host, what is there, and what differs. It asks the store
//! and the kernel itself, so that it works without the agent.

use std::io::Write;
use std::process::ExitCode;

use api::Kind;
use filter::{Nft, Rules};
use host::{Interface, Kernel};
use routes::{Desired, Difference, Known, Present, Snapshot, Step};
use serde_json::{Value as Json, json};
use setup::{Clock, Environment};
use store::{Depth, ReadSet, Scope, Slot, Store};

use super::Failure;
use super::agent::felix_settings;
use super::detect;
use super::name;
use super::pass::DEVICES;
use super::plan::{Shape, uplink};
use super::record::NodeRecord;
use super::start::{Opened, WITHIN, open, places};
use crate::cli::Node;
use crate::install;

/// What is wanted on this host, as the store's records say now.
pub(super) struct Plan {
    name: String,
    snapshot: Snapshot,
    desired: Desired,
    settings: filter::Settings,
    shape: Shape,
}

impl Plan {
    /// Reads the records, and the host's interfaces.
    pub(super) async fn read(args: &Node, environment: &Environment) -> Result<Plan, Failure> {
        let name = name::name(environment)?;
        let Opened { store, .. } = open(environment)?;
        let clock = Clock::start();
        let record = NodeRecord { store: &store, effects: &clock, name: &name, within: WITHIN };
        let stored = record.read().await?;
        let addresses = stored.node.as_ref().map(detect::stored_addresses).unwrap_or_default();
        let interfaces: Vec<Interface> = Kernel::open()?.interfaces().await?;
        let uplink = uplink(&interfaces, &addresses);
        let set = ReadSet::new()
            .scope(Scope::kind(Kind::Node), Depth::Full)
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full);
        let view = store.read(&set, WITHIN).await?;
        let mut snapshot = Snapshot::new(Known::ByBlocks);
        for (key, slot) in view.all() {
            match slot {
                Slot::Full(record) => snapshot.take(record),
                Slot::Unreadable(_) => snapshot.take_unreadable(key),
                // All scopes were read in full, so nothing else is there.
                Slot::Absent | Slot::Key(_) | Slot::Header(..) => {}
            }
        }
        let shape = args.shape.plan();
        // The agent tells where racks are unclear.
        let (desired, _) = shape.desired(&snapshot, &name, uplink.as_ref())?;
        let (settings, _) = felix_settings(&store, &name, WITHIN).await?;
        Ok(Plan { name, snapshot, desired, settings, shape })
    }

    /// The packet filter that is wanted.
    pub(super) fn rules(&self) -> Rules {
        self.shape.rules(&self.snapshot, &self.desired, self.settings.clone())
    }
}

pub(super) async fn status(
    args: &Node,
    environment: &Environment,
    is_json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let plan = Plan::read(args, environment).await?;
    let kernel = Kernel::open()?;
    let pods = kernel.pod_addresses().await?;
    let present = Present { pods, ..kernel.present(&DEVICES).await? };
    let has_table = Nft::default().listing()?.is_some();
    let is_synced = install::mark::is_set(&places(&args.files, environment)?);
    let difference = Difference::between(&present, &plan.desired);
    let document = document(&plan, &present, &difference, has_table, is_synced);
    match is_json {
        true => out.write_all((golang::json::to_indented_text(&document, 2) + "\n").as_bytes())?,
        false => text(&plan, &present, &difference, has_table, is_synced, out)?,
    }
    let is_as_wanted = difference.is_empty() && has_table;
    Ok(if is_as_wanted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(
    plan: &Plan,
    present: &Present,
    difference: &Difference,
    has_table: bool,
    is_synced: bool,
) -> Json {
    let wanted = plan.desired.routes.values();
    let wanted: Vec<Json> = wanted
        .map(|wanted| json!({"route": wanted.route.to_string(), "reason": wanted.reason.to_string()}))
        .collect();
    let tunnels: Vec<Json> = plan
        .desired
        .tunnels
        .iter()
        .map(|tunnel| {
            json!({
                "device": tunnel.device,
                "mtu": tunnel.mtu,
                "isComplete": tunnel.is_complete(),
                "peers": tunnel.peers.len(),
            })
        })
        .collect();
    let there: Vec<String> = present.routes.iter().map(ToString::to_string).collect();
    let steps = |steps: &[Step]| -> Vec<String> { steps.iter().map(shown).collect() };
    json!({
        "node": plan.name,
        "synced": is_synced,
        "wanted": {"routes": wanted, "tunnels": tunnels, "podMtu": plan.desired.pod_mtu},
        "there": {"routes": there, "filter": has_table},
        "differs": {"missing": steps(&difference.sets), "tooMuch": steps(&difference.removals)},
    })
}

fn shown(step: &Step) -> String {
    match step {
        Step::Forward(device, mac, at) => format!("{device}: frames to {mac} go to {at}"),
        Step::Neighbour(device, addr, mac) => format!("{device}: {addr} has {mac}"),
        Step::Route(route) | Step::RemoveRoute(route) => route.to_string(),
        Step::RemoveNeighbour(device, addr) => format!("{device}: an entry for {addr}"),
        Step::RemoveForward(device, mac) => format!("{device}: an entry for {mac}"),
    }
}

fn text(
    plan: &Plan,
    present: &Present,
    difference: &Difference,
    has_table: bool,
    is_synced: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    writeln!(
        out,
        "Node {}: {} routes wanted, {} there; pods' packets have at most {} bytes",
        plan.name,
        plan.desired.routes.len(),
        present.routes.len(),
        plan.desired.pod_mtu
    )?;
    for tunnel in &plan.desired.tunnels {
        let state = if tunnel.is_complete() { "complete" } else { "without an address yet" };
        writeln!(out, "tunnel {}: {} other nodes, {state}", tunnel.device, tunnel.peers.len())?;
    }
    writeln!(out, "table inet rackpool: {}", if has_table { "there" } else { "missing" })?;
    writeln!(
        out,
        "agent: {}",
        if is_synced {
            "has worked since the host was started"
        } else {
            "has not worked since the host was started"
        }
    )?;
    for step in &difference.sets {
        writeln!(out, "missing: {}", shown(step))?;
    }
    for step in &difference.removals {
        writeln!(out, "too much: {}", shown(step))?;
    }
    if difference.is_empty() {
        writeln!(out, "nothing differs")?;
    }
    Ok(())
}
