//! The kind BGPPeer.

use serde_json::Value as Json;

use super::definition::{Definition, Home, custom_resource};
use crate::checks::FieldError;
use crate::checks::tags::{
    IP_PORT, NAME, REACHABLE_BY, SELECTOR, check, check_each, ip, ip_port, max_length, one_of,
};
use crate::columns::{self, Columns, column};
use crate::document::Document;
use crate::schema::*;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["bgppeer", "bgppeers", "bgpp", "bgpps", "bp", "bps"],
    goes_with_node: true,
    client,
    crd,
    ..Definition::new("v3.BGPPeer", "bgppeers", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(custom_resource!("bgppeers"));

static SCHEMA: Struct = Struct {
    go: "BGPPeer",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.BGPPeerSpec", &BGP_PEER_SPEC)),
    ],
};

static BGP_PEER_SPEC: Struct = Struct {
    go: "BGPPeerSpec",
    fields: &[
        field("node", "Node", Omit::Zero, STRING),
        field("nodeSelector", "NodeSelector", Omit::Zero, STRING),
        field("peerIP", "PeerIP", Omit::Zero, STRING),
        field("asNumber", "ASNumber", Omit::Zero, AS_NUMBER),
        field("localASNumber", "LocalASNumber", Omit::Absent, AS_NUMBER),
        field("peerSelector", "PeerSelector", Omit::Zero, STRING),
        field("keepOriginalNextHop", "KeepOriginalNextHop", Omit::Zero, BOOL),
        field("password", "Password", Omit::Absent, PASSWORD),
        field("sourceAddress", "SourceAddress", Omit::Zero, text("v3.SourceAddress")),
        field("maxRestartTime", "MaxRestartTime", Omit::Absent, DURATION),
        field("keepaliveTime", "KeepaliveTime", Omit::Absent, DURATION),
        field("numAllowedLocalASNumbers", "NumAllowedLocalASNumbers", Omit::Absent, INT32),
        field("ttlSecurity", "TTLSecurity", Omit::Absent, UINT8),
        field("reachableBy", "ReachableBy", Omit::Zero, STRING),
        field("filters", "Filters", Omit::Zero, STRINGS),
        field("localWorkloadSelector", "LocalWorkloadSelector", Omit::Zero, STRING),
        field("reversePeering", "ReversePeering", Omit::Absent, text("v3.ReversePeering")),
        field("nextHopMode", "NextHopMode", Omit::Absent, text("v3.NextHopMode")),
    ],
};

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("PEERIP", |r, _| columns::text(r, &["spec", "peerIP"])),
        column("NODE", |r, _| {
            let set = |field: &str| r.text(&["spec", field]).map(str::to_string);
            set("node").or_else(|| set("nodeSelector")).unwrap_or_else(|| "(global)".into())
        }),
        column("ASN", |r, _| columns::number(r, "asNumber").unwrap_or_else(|| "0".into())),
    ],
    default: &["NAME", "PEERIP", "NODE", "ASN"],
    wide: &["NAME", "PEERIP", "NODE", "ASN"],
};

fn client(peer: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| peer.spec(field);
    check(&mut faults, "Node", value("node"), NAME);
    check(&mut faults, "NodeSelector", value("nodeSelector"), SELECTOR);
    check(&mut faults, "PeerIP", value("peerIP"), IP_PORT);
    check(&mut faults, "PeerSelector", value("peerSelector"), SELECTOR);
    check(&mut faults, "ReachableBy", value("reachableBy"), REACHABLE_BY);
    check_each(&mut faults, "Filters", value("filters"), NAME);
    check(&mut faults, "LocalWorkloadSelector", value("localWorkloadSelector"), SELECTOR);
    faults.extend(reachable_by(value("reachableBy"), value("peerIP")));
    faults
}

fn reachable_by(reachable_by: &Json, peer: &Json) -> Option<FieldError> {
    let set = |json: &Json| json.as_str().filter(|s| !s.is_empty()).map(str::to_string);
    let (gateway, peer) = (set(reachable_by)?, set(peer)?);
    let Some(gateway_ip) = ip(&gateway) else {
        return Some(FieldError::of_value("ReachableBy", gateway, "ReachableBy is invalid address"));
    };
    let Some(peer_ip) = ip_port(&peer) else {
        return Some(FieldError::of_value("PeerIP", peer, "PeerIP is invalid address"));
    };
    let reason = "ReachableBy and PeerIP address family mismatched";
    (gateway_ip.is_ipv4() != peer_ip.is_ipv4()).then(|| FieldError::of_value("ReachableBy", gateway, reason))
}

fn crd(peer: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| peer.spec(field);
    max_length(&mut faults, "spec.node", value("node"), 253);
    for field in ["nodeSelector", "peerSelector", "localWorkloadSelector"] {
        max_length(&mut faults, &format!("spec.{field}"), value(field), 1024);
    }
    one_of(&mut faults, "spec.sourceAddress", value("sourceAddress"), &["UseNodeIP", "None"]);
    one_of(&mut faults, "spec.reversePeering", value("reversePeering"), &["Auto", "Manual"]);
    one_of(&mut faults, "spec.nextHopMode", value("nextHopMode"), &["Auto", "Self", "Keep"]);
    let set = |field: &str| value(field).as_str().is_some_and(|s| !s.is_empty());
    let numbered = value("asNumber").as_u64().is_some_and(|n| n != 0);
    let workload = set("localWorkloadSelector");
    let keeps = value("keepOriginalNextHop").as_bool().unwrap_or(false);
    for (broken, message) in [
        (set("node") && set("nodeSelector"), "node and nodeSelector cannot both be set"),
        (set("peerIP") && set("peerSelector"), "peerIP and peerSelector cannot both be set"),
        (set("peerSelector") && numbered, "asNumber must be empty when peerSelector is set"),
        (workload && set("peerIP"), "peerIP must be empty when localWorkloadSelector is set"),
        (workload && set("peerSelector"), "peerSelector must be empty when localWorkloadSelector is set"),
        (workload && !numbered, "asNumber is required when localWorkloadSelector is set"),
        (set("reachableBy") && !set("peerIP"), "reachableBy must be empty when peerIP is empty"),
        (
            keeps && !value("nextHopMode").is_null(),
            "keepOriginalNextHop and nextHopMode cannot both be set; keepOriginalNextHop is deprecated, use nextHopMode instead",
        ),
    ] {
        if broken {
            faults.push(FieldError::new("spec", message));
        }
    }
    faults
}
