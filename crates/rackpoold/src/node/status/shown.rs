//! What `rackpoold node status` says, as text and as JSON.

use std::io::{self, Write};

use filter::Comparison;
use routes::Step;
use serde_json::{Value as Json, json};

use super::{Found, Plan};

/// Everything as JSON.
pub(super) fn document(plan: &Plan, found: &Found) -> Json {
    let wanted = plan.desired.routes.values();
    let wanted: Vec<Json> = wanted
        .map(|wanted| json!({"route": wanted.route.to_string(), "reason": wanted.reason.to_string()}))
        .collect();
    let tunnels = plan.desired.tunnels.iter().map(|tunnel| {
        json!({
            "device": tunnel.device,
            "mtu": tunnel.mtu,
            "isComplete": tunnel.is_complete(),
            "peers": tunnel.peers.len(),
        })
    });
    let there: Vec<String> = found.present.routes.iter().map(ToString::to_string).collect();
    let steps = |steps: &[Step]| -> Vec<String> { steps.iter().map(step).collect() };
    let deviations = found.tunnels.iter().flat_map(|(device, deviations)| {
        deviations.iter().map(
            move |one| json!({"device": device, "what": one.what, "wanted": one.wanted, "found": one.found}),
        )
    });
    let settings = found
        .settings
        .iter()
        .map(|one| json!({"name": one.name(), "wanted": one.wanted, "found": one.found, "why": one.why}));
    let (filter, unknown) = match &found.filter {
        Ok(Comparison::There(names)) => (names.clone(), None),
        Ok(Comparison::Missing) => (vec!["table".to_string()], None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    json!({
        "node": plan.name,
        "synced": found.is_synced,
        "wanted": {"routes": wanted, "tunnels": tunnels.collect::<Vec<_>>(), "podMtu": plan.desired.pod_mtu},
        "there": {"routes": there, "filter": found.has_table},
        "differs": {
            "missing": steps(&found.difference.sets),
            "tooMuch": steps(&found.difference.removals),
            "filter": filter,
            "filterNotCompared": unknown,
            "tunnels": deviations.collect::<Vec<_>>(),
            "sysctls": settings.collect::<Vec<_>>(),
        },
    })
}

fn step(step: &Step) -> String {
    match step {
        Step::Forward(device, mac, at) => format!("{device}: frames to {mac} go to {at}"),
        Step::Neighbour(device, addr, mac) => format!("{device}: {addr} has {mac}"),
        Step::Route(route) | Step::RemoveRoute(route) => route.to_string(),
        Step::RemoveNeighbour(device, addr) => format!("{device}: an entry for {addr}"),
        Step::RemoveForward(device, mac) => format!("{device}: an entry for {mac}"),
    }
}

/// Everything as text for people.
pub(super) fn text(plan: &Plan, found: &Found, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "Node {}: {} routes wanted, {} there; pods' packets have at most {} bytes",
        plan.name,
        plan.desired.routes.len(),
        found.present.routes.len(),
        plan.desired.pod_mtu
    )?;
    for tunnel in &plan.desired.tunnels {
        let state = if tunnel.is_complete() { "complete" } else { "without an address yet" };
        writeln!(out, "tunnel {}: {} other nodes, {state}", tunnel.device, tunnel.peers.len())?;
    }
    writeln!(out, "table inet rackpool: {}", if found.has_table { "there" } else { "missing" })?;
    if let Err(error) = &found.filter {
        writeln!(out, "its content is not compared: {error}")?;
    }
    let agent = if found.is_synced { "has worked" } else { "has not worked" };
    writeln!(out, "agent: {agent} since the host was started")?;
    for one in &found.difference.sets {
        writeln!(out, "missing: {}", step(one))?;
    }
    for one in &found.difference.removals {
        writeln!(out, "too much: {}", step(one))?;
    }
    if let Ok(Comparison::There(names)) = &found.filter {
        for name in names {
            writeln!(out, "differs: {name} in table inet rackpool")?;
        }
    }
    for (device, deviations) in &found.tunnels {
        for one in deviations {
            writeln!(out, "differs: {device}: {one}")?;
        }
    }
    for setting in &found.settings {
        writeln!(out, "differs: {setting}; `rackpoold node sysctl` sets it")?;
    }
    if found.is_as_wanted() {
        writeln!(out, "nothing differs")?;
    }
    Ok(())
}
