//! Routes as documents, and as rows of tables.

use std::collections::BTreeMap;

use api::Cidr;
use routes::findings::Finding;
use routes::tunnel::{Address, Tunnel};
use routes::{Reason, Target, Wanted};
use serde_json::{Value as Json, json};

use crate::output::table::{Align, boxed_table};

/// The routes as a list.
pub(super) fn routes(routes: &BTreeMap<Cidr, Wanted>) -> Json {
    routes.values().map(route).collect()
}

fn route(Wanted { route, reason }: &Wanted) -> Json {
    let (kind, gateways, device) = match &route.target {
        Target::Via { gateways, device } => ("via", gateways.clone(), device.as_deref()),
        Target::Link { device } => ("link", Vec::new(), Some(&**device)),
        Target::Blackhole => ("blackhole", Vec::new(), None),
        Target::Unreachable => ("unreachable", Vec::new(), None),
    };
    let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
    json!({"destination": route.to.to_string(), "type": kind, "gateways": gateways, "device": device,
        "mtu": route.mtu, "reason": because(reason)})
}

fn because(reason: &Reason) -> Json {
    match reason {
        Reason::Block { pool, block, node } => {
            json!({"kind": "block", "pool": pool, "block": block.to_string(), "node": node})
        }
        Reason::Borrowed { pool, block, node, handle } => json!({"kind": "borrowed", "pool": pool,
            "block": block.to_string(), "node": node, "handle": handle}),
        Reason::OwnBlock { pool } => json!({"kind": "ownBlock", "pool": pool}),
        Reason::Rack { rack } => json!({"kind": "rack", "rack": rack}),
        Reason::OwnRack { rack } => json!({"kind": "ownRack", "rack": rack}),
    }
}

/// The routes as a table.
pub(super) fn table(routes: &BTreeMap<Cidr, Wanted>) -> String {
    let row = |Wanted { route, reason }: &Wanted| {
        let (way, device) = match &route.target {
            Target::Via { gateways, device } => {
                let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
                (gateways.join(", "), device.as_deref().unwrap_or_default())
            }
            Target::Link { device } => ("directly".to_string(), &**device),
            Target::Blackhole => ("blackhole".to_string(), ""),
            Target::Unreachable => ("unreachable".to_string(), ""),
        };
        let mtu = route.mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
        vec![route.to.to_string(), way, device.to_string(), mtu, reason.to_string()]
    };
    let rows: Vec<Vec<String>> = routes.values().map(row).collect();
    let columns = ["destination", "via", "device", "mtu", "reason"].map(|column| (column, Align::Left));
    boxed_table(&columns, &rows)
}

/// What becomes of a tunnel's address: a word, and the address.
fn address(address: Address) -> (&'static str, Option<String>) {
    let (word, addr) = match address {
        Address::Keep(addr) => ("keep", Some(addr)),
        Address::Take(addr) => ("take", addr),
        Address::GiveUp(addr) => ("giveUp", addr),
    };
    (word, addr.map(|addr| addr.to_string()))
}

/// A tunnel.
pub(super) fn tunnel(tunnel: &Tunnel) -> Json {
    let (action, addr) = address(tunnel.address);
    let peers: Vec<Json> = tunnel
        .peers
        .iter()
        .map(|(node, peer)| {
            json!({"node": node, "tunnelAddress": peer.address.to_string(), "mac": peer.mac.to_string(),
                "nodeAddress": peer.at.to_string()})
        })
        .collect();
    json!({"device": tunnel.device, "complete": tunnel.is_complete(), "address": addr, "action": action,
        "pools": tunnel.pools, "local": tunnel.local.map(|addr| addr.to_string()),
        "mac": tunnel.mac.map(|mac| mac.to_string()), "mtu": tunnel.mtu, "peers": peers})
}

/// The tunnels and their other sides as tables.
pub(super) fn tunnels(tunnels: &[Tunnel]) -> String {
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_string());
    let row = |tunnel: &Tunnel| {
        let (action, addr) = address(tunnel.address);
        let addr = match action {
            "take" => format!("{} (to be taken from {})", text(addr), tunnel.pools.join(", ")),
            "giveUp" => format!("{} (no pool gives one)", text(addr)),
            _ => text(addr),
        };
        vec![
            tunnel.device.to_string(),
            addr,
            text(tunnel.local.map(|addr| addr.to_string())),
            text(tunnel.mac.map(|mac| mac.to_string())),
            tunnel.mtu.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = tunnels.iter().map(row).collect();
    let columns = ["device", "address", "local", "mac", "mtu"].map(|column| (column, Align::Left));
    let mut out = boxed_table(&columns, &rows);
    let peers = tunnels.iter().flat_map(|tunnel| {
        tunnel.peers.iter().map(|(node, peer)| {
            vec![
                tunnel.device.to_string(),
                node.clone(),
                peer.address.to_string(),
                peer.mac.to_string(),
                peer.at.to_string(),
            ]
        })
    });
    let rows: Vec<Vec<String>> = peers.collect();
    if !rows.is_empty() {
        let columns =
            ["device", "node", "tunnel address", "mac", "node address"].map(|column| (column, Align::Left));
        out += &boxed_table(&columns, &rows);
    }
    out
}

/// Findings as a document.
pub(super) fn findings(findings: &[Finding]) -> Json {
    let one = |finding: &Finding| json!({"kind": finding.kind, "about": finding.about, "text": finding.text});
    json!({"findings": findings.iter().map(one).collect::<Vec<_>>()})
}

/// Findings as lines.
pub(super) fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{}: {} {}\n", finding.kind, finding.about, finding.text)).collect()
}
