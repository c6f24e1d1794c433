//! WorkloadEndpoint (`libcalico-go/lib/apis/internalapi/workloadendpoint.go`, `clientv3/workloadendpoint.go`).

use serde_json::Value as Json;

use super::tags::{
    CIDR, CONTAINER_ID, INTERFACE, IP, IPV4, IPV6, MAC, NAME, NET, PORT_NAME, check, check_each, check_set,
    cidr_or_ip, fault,
};
use super::{FieldError, ValidationError, go_list, spec, texts};
use crate::resource::Resource;
use crate::wep_name::Identifiers;

/// A name that is given must be the one that the spec makes.
pub(super) fn before_write(new: &Resource) -> Result<(), ValidationError> {
    let expected = Identifiers::of(new).name()?;
    if new.name().is_empty() || new.name() == expected {
        return Ok(());
    }
    let reason = format!(
        "the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name {expected}"
    );
    Err(FieldError::of_value("Name", new.name(), reason).into())
}

pub(super) fn client(endpoint: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| spec(endpoint, field);
    for (field, go) in [("orchestrator", "Orchestrator"), ("workload", "Workload"), ("node", "Node")] {
        check(&mut faults, go, value(field), NAME);
    }
    check(&mut faults, "ContainerID", value("containerID"), CONTAINER_ID);
    for (field, go) in
        [("pod", "Pod"), ("endpoint", "Endpoint"), ("serviceAccountName", "ServiceAccountName")]
    {
        check(&mut faults, go, value(field), NAME);
    }
    check_each(&mut faults, "IPNetworks", value("ipNetworks"), NET);
    for nat in value("ipNATs").as_array().into_iter().flatten() {
        faults.extend(nat_faults(nat));
    }
    check(&mut faults, "IPv4Gateway", value("ipv4Gateway"), IPV4);
    check(&mut faults, "IPv6Gateway", value("ipv6Gateway"), IPV6);
    check_each(&mut faults, "Profiles", value("profiles"), NAME);
    check_set(&mut faults, "InterfaceName", value("interfaceName").as_str().unwrap_or_default(), INTERFACE);
    check(&mut faults, "MAC", value("mac"), MAC);
    for port in value("ports").as_array().into_iter().flatten() {
        faults.extend(port_faults(port));
    }
    check_each(&mut faults, "AllowSpoofedSourcePrefixes", value("allowSpoofedSourcePrefixes"), CIDR);
    faults.extend(network_faults(value("ipNetworks"), value("ipNATs")));
    faults
}

fn nat_faults(nat: &Json) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let text = |field: &str| nat[field].as_str().unwrap_or_default();
    check(&mut faults, "InternalIP", &nat["internalIP"], IP);
    check(&mut faults, "ExternalIP", &nat["externalIP"], IP);
    // Both faults are told of the internal address and with the external value, as Calico does.
    let mut read = |field: &str| {
        let parsed = cidr_or_ip(text(field));
        if parsed.is_none() {
            faults.push(FieldError::of_value("InternalIP", text("externalIP"), "invalid IP address"));
        }
        parsed
    };
    let (internal, external) = (read("internalIP"), read("externalIP"));
    if let (Some((internal, _)), Some((external, _))) = (internal, external)
        && internal.family() != external.family()
    {
        faults.push(FieldError::of_value("ExternalIP", text("externalIP"), "mismatched IP versions"));
    }
    faults
}

fn port_faults(port: &Json) -> Vec<FieldError> {
    let mut faults = Vec::new();
    check(&mut faults, "Name", &port["name"], PORT_NAME);
    let protocol = match &port["protocol"] {
        Json::String(name) => {
            if !["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"].contains(&name.as_str()) {
                faults.push(FieldError::of_value("Protocol", name, "protocol name invalid"));
            }
            name.clone()
        }
        other => {
            let number = other.as_u64().unwrap_or(0);
            if number == 0 {
                faults.push(FieldError::of_value("Protocol", "0", "protocol number invalid"));
            }
            number.to_string()
        }
    };
    if port["port"].as_u64().unwrap_or(0) == 0 {
        faults.push(fault("Port", "0", "gt"));
    }
    check(&mut faults, "HostIP", &port["hostIP"], NET);
    if !["TCP", "UDP", "SCTP", "6", "17", "132"].contains(&protocol.as_str()) {
        let reason = "WorkloadEndpointPort protocol does not support ports.";
        faults.push(FieldError::of_value("WorkloadEndpointPort.Protocol", protocol, reason));
    }
    let unnamed = port["name"].as_str().unwrap_or_default().is_empty();
    if unnamed && port["hostPort"].as_u64().unwrap_or(0) == 0 {
        let reason = "WorkloadEndpointPort name must not be empty if no HostPort is specified";
        faults.push(FieldError::of_value("WorkloadEndpointPort.Name", "", reason));
    }
    faults
}

fn network_faults(networks: &Json, nats: &Json) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut cidrs = Vec::new();
    for text in texts(networks) {
        match cidr_or_ip(text) {
            // The original crashes here.
            None => faults.push(FieldError::of_value("IPNetworks", text, "invalid CIDR")),
            Some((cidr, _)) => {
                if cidr.prefix() != cidr.family().bits() {
                    let reason = "IP network contains multiple addresses";
                    faults.push(FieldError::of_value("IPNetworks", go_list(texts(networks)), reason));
                }
                cidrs.push(cidr);
            }
        }
    }
    let nats = nats.as_array().map(Vec::as_slice).unwrap_or_default();
    let internal = |nat: &Json| cidr_or_ip(nat["internalIP"].as_str().unwrap_or_default());
    let inside = |nat: &Json| internal(nat).is_some_and(|(_, ip)| cidrs.iter().any(|c| c.contains(ip)));
    if !nats.iter().all(inside) {
        let list: Vec<String> = nats
            .iter()
            .map(|nat| {
                let text = |field: &str| nat[field].as_str().unwrap_or_default();
                format!("{{{} {}}}", text("internalIP"), text("externalIP"))
            })
            .collect();
        let reason = "NAT is not in the endpoint networks";
        faults.push(FieldError::of_value("IPNATs", format!("[{}]", list.join(" ")), reason));
    }
    faults
}
