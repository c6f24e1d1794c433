//! BGPPeer and BGPConfiguration.

use serde_json::Value as Json;

use super::tags::{
    IGNORED_INTERFACE, IP_PORT, NAME, NET, REACHABLE_BY, SELECTOR, check, check_each, check_set, cidr_or_ip,
    fault, format_cidr, in_range, ip, ip_port, max_length, one_of,
};
use super::{FieldError, spec, texts};
use crate::resource::Resource;

pub(super) fn peer_client(peer: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| spec(peer, field);
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

pub(super) fn peer_schema(peer: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| spec(peer, field);
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

const BLOCKS: [&str; 3] = ["serviceLoadBalancerIPs", "serviceExternalIPs", "serviceClusterIPs"];

pub(super) fn configuration_client(configuration: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| spec(configuration, field);
    for field in BLOCKS {
        for block in value(field).as_array().into_iter().flatten() {
            check(&mut faults, "CIDR", &block["cidr"], NET);
        }
    }
    let communities = value("communities").as_array().map(Vec::as_slice).unwrap_or_default();
    for community in communities {
        required(&mut faults, "Name", &community["name"]);
        check(&mut faults, "Name", &community["name"], NAME);
        required(&mut faults, "Value", &community["value"]);
    }
    let advertisements = value("prefixAdvertisements").as_array().map(Vec::as_slice).unwrap_or_default();
    for advertisement in advertisements {
        required(&mut faults, "CIDR", &advertisement["cidr"]);
        check(&mut faults, "CIDR", &advertisement["cidr"], NET);
        if advertisement["communities"].as_array().is_none_or(Vec::is_empty) {
            faults.push(fault("Communities", "[]", "required"));
        }
    }
    check_each(&mut faults, "IgnoredInterfaces", value("ignoredInterfaces"), IGNORED_INTERFACE);
    for (i, community) in communities.iter().enumerate() {
        let text = community["value"].as_str().unwrap_or_default();
        if !community_value(&mut faults, text, "Spec.Communities[].Value") {
            let reason = "invalid community value or format used.";
            faults.push(FieldError::of_value("Spec.Communities[].Value", text, reason));
        }
        if i + 1 == communities.len() && advertisements.is_empty() {
            let pairs: Vec<String> = communities
                .iter()
                .map(|c| {
                    format!(
                        "{{{} {}}}",
                        c["name"].as_str().unwrap_or_default(),
                        c["value"].as_str().unwrap_or_default()
                    )
                })
                .collect();
            let reason = "communities are defined but not used in Spec.PrefixAdvertisement[].";
            faults.push(FieldError::of_value("Spec.Communities[]", format!("[{}]", pairs.join(" ")), reason));
        }
    }
    for advertisement in advertisements {
        let cidr = advertisement["cidr"].as_str().unwrap_or_default();
        if cidr_or_ip(cidr).is_none() {
            faults.push(FieldError::of_value("Spec.PrefixAdvertisement[].CIDR", cidr, "invalid CIDR value."));
        }
        for text in texts(&advertisement["communities"]) {
            const FIELD: &str = "Spec.PrefixAdvertisement[].Communities[]";
            let defined = communities.iter().any(|c| c["name"] == text);
            if !community_value(&mut faults, text, FIELD) && !defined {
                let reason = "community used is invalid or not defined.";
                faults.push(FieldError::of_value(FIELD, text, reason));
            }
        }
    }
    faults
}

fn required(faults: &mut Vec<FieldError>, go: &str, value: &Json) {
    let text = value.as_str().unwrap_or_default();
    check_set(faults, go, text, ("required", |s| !s.is_empty()));
}

/// Whether a text has the form of a community value; its numbers must fit 16 bits (`a:b`) or 32 (`a:b:c`).
fn community_value(faults: &mut Vec<FieldError>, text: &str, field: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let bits = match parts.len() {
        2 => 16,
        3 => 32,
        _ => return false,
    };
    if !parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    for part in parts {
        if !part.parse::<u64>().is_ok_and(|n| n < 1 << bits) {
            let reason = format!("invalid community value, expected {bits} bit value");
            faults.push(FieldError::of_value(field, text, reason));
        }
    }
    true
}

pub(super) fn configuration_schema(configuration: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| spec(configuration, field);
    let level = value("logSeverityScreen").as_str().unwrap_or_default().to_lowercase();
    if !["", "trace", "debug", "info", "warning", "error", "fatal"].contains(&level.as_str()) {
        let pattern = "^(?i)(Trace|Debug|Info|Warning|Error|Fatal)?$";
        let reason = format!("spec.logSeverityScreen in body should match '{pattern}'");
        faults.push(FieldError::new("spec.logSeverityScreen", reason));
    }
    for field in BLOCKS {
        for (i, block) in value(field).as_array().into_iter().flatten().enumerate() {
            format_cidr(&mut faults, &format!("spec.{field}[{i}].cidr"), &block["cidr"]);
        }
    }
    if let Some(0) = value("listenPort").as_i64() {
        in_range(&mut faults, "spec.listenPort", value("listenPort"), 1, 65535);
    }
    one_of(&mut faults, "spec.bindMode", value("bindMode"), &["None", "NodeIP"]);
    let switch = ["Enabled", "Disabled"];
    for field in ["serviceLoadBalancerAggregation", "programClusterRoutes"] {
        one_of(&mut faults, &format!("spec.{field}"), value(field), &switch);
    }
    if value("nodeToNodeMeshEnabled").as_bool() == Some(false) {
        for field in ["nodeMeshPassword", "nodeMeshMaxRestartTime"] {
            if !value(field).is_null() {
                let message = format!("{field} cannot be set when nodeToNodeMeshEnabled is false");
                faults.push(FieldError::new("spec", message));
            }
        }
    }
    faults
}

/// Fields that only the configuration `default` may have.
pub(super) fn default_only(configuration: &Resource) -> Vec<FieldError> {
    let set = |field: &str| match spec(configuration, field) {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        _ => true,
    };
    let fields = [
        ("nodeToNodeMeshEnabled", "NodeToNodeMeshEnabled", "nodeToNodeMeshEnabled"),
        ("asNumber", "ASNumber", "ASNumber"),
        ("serviceLoadBalancerIPs", "ServiceLoadBalancerIPs", "ServiceLoadBalancerIPs"),
        ("serviceExternalIPs", "ServiceExternalIPs", "ServiceExternalIPs"),
        ("serviceClusterIPs", "ServiceClusterIPs", "ServiceClusterIPs"),
    ];
    let faults = fields.into_iter().filter(|(json, _, _)| set(json)).map(|(_, go, shown)| {
        FieldError::new(
            format!("BGPConfiguration.Spec.{go}"),
            format!("Cannot set {shown} on a non default BGP Configuration."),
        )
    });
    faults.collect()
}
