//! The kind BGPConfiguration.

use serde_json::Value as Json;

use super::definition::{Definition, Home, custom_resource};
use crate::checks::tags::{
    IGNORED_INTERFACE, NAME, NET, check, check_each, check_set, cidr_or_ip, fault, format_cidr, in_range, ip,
    one_of, texts,
};
use crate::checks::{FieldError, ValidationError, result};
use crate::columns::{self, Columns, column};
use crate::document::{Document, fill};
use crate::schema::*;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["bgpconfiguration", "bgpconfigurations", "bgpconfig", "bgpconfigs"],
    node_prefix: Some("node."),
    on_write,
    client,
    crd,
    odd,
    on_create: default_only,
    on_update: default_only,
    ..Definition::new("v3.BGPConfiguration", "bgpconfigurations", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(custom_resource!("bgpconfigurations"));

static SCHEMA: Struct = Struct {
    go: "BGPConfiguration",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.BGPConfigurationSpec", &BGP_CONFIGURATION_SPEC)),
    ],
};

static BGP_CONFIGURATION_SPEC: Struct = Struct {
    go: "BGPConfigurationSpec",
    fields: &[
        field("logSeverityScreen", "LogSeverityScreen", Omit::Zero, STRING),
        field("nodeToNodeMeshEnabled", "NodeToNodeMeshEnabled", Omit::Absent, BOOL),
        field("asNumber", "ASNumber", Omit::Absent, AS_NUMBER),
        field("serviceLoadBalancerIPs", "ServiceLoadBalancerIPs", Omit::Zero, LOAD_BALANCER_BLOCKS),
        field("serviceExternalIPs", "ServiceExternalIPs", Omit::Zero, EXTERNAL_BLOCKS),
        field("serviceClusterIPs", "ServiceClusterIPs", Omit::Zero, CLUSTER_BLOCKS),
        field("communities", "Communities", Omit::Zero, COMMUNITIES),
        field("prefixAdvertisements", "PrefixAdvertisements", Omit::Zero, PREFIX_ADVERTISEMENTS),
        field("listenPort", "ListenPort", Omit::Zero, UINT16),
        field("nodeMeshPassword", "NodeMeshPassword", Omit::Absent, PASSWORD),
        field("nodeMeshMaxRestartTime", "NodeMeshMaxRestartTime", Omit::Absent, DURATION),
        field("bindMode", "BindMode", Omit::Absent, text("v3.BindMode")),
        field("ignoredInterfaces", "IgnoredInterfaces", Omit::Zero, STRINGS),
        field("localWorkloadPeeringIPV4", "LocalWorkloadPeeringIPV4", Omit::Zero, STRING),
        field("localWorkloadPeeringIPV6", "LocalWorkloadPeeringIPV6", Omit::Zero, STRING),
        field(
            "serviceLoadBalancerAggregation",
            "ServiceLoadBalancerAggregation",
            Omit::Absent,
            text("v3.ServiceLoadBalancerAggregation"),
        ),
        field("programClusterRoutes", "ProgramClusterRoutes", Omit::Absent, STRING),
    ],
};

const LOAD_BALANCER_BLOCKS: Type = objects!("v3.ServiceLoadBalancerIPBlock", SERVICE_LOAD_BALANCER_IP_BLOCK);
const EXTERNAL_BLOCKS: Type = objects!("v3.ServiceExternalIPBlock", SERVICE_EXTERNAL_IP_BLOCK);
const CLUSTER_BLOCKS: Type = objects!("v3.ServiceClusterIPBlock", SERVICE_CLUSTER_IP_BLOCK);
const COMMUNITIES: Type = objects!("v3.Community", COMMUNITY);
const PREFIX_ADVERTISEMENTS: Type = objects!("v3.PrefixAdvertisement", PREFIX_ADVERTISEMENT);

const CIDR: Field = field("cidr", "CIDR", Omit::Zero, STRING);

static SERVICE_LOAD_BALANCER_IP_BLOCK: Struct = Struct { go: "ServiceLoadBalancerIPBlock", fields: &[CIDR] };
static SERVICE_EXTERNAL_IP_BLOCK: Struct = Struct { go: "ServiceExternalIPBlock", fields: &[CIDR] };
static SERVICE_CLUSTER_IP_BLOCK: Struct = Struct { go: "ServiceClusterIPBlock", fields: &[CIDR] };

static COMMUNITY: Struct = Struct {
    go: "Community",
    fields: &[field("name", "Name", Omit::Zero, STRING), field("value", "Value", Omit::Zero, STRING)],
};

static PREFIX_ADVERTISEMENT: Struct = Struct {
    go: "PrefixAdvertisement",
    fields: &[CIDR, field("communities", "Communities", Omit::Zero, STRINGS)],
};

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("LOGSEVERITY", |r, _| columns::text(r, &["spec", "logSeverityScreen"])),
        column("MESHENABLED", |r, _| {
            r.field(&["spec", "nodeToNodeMeshEnabled"]).map_or_else(|| "-".into(), columns::scalar)
        }),
        column("ASNUMBER", |r, _| columns::number(r, "asNumber").unwrap_or_else(|| "-".into())),
    ],
    default: &["NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"],
    wide: &["NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"],
};

const BLOCKS: [&str; 3] = ["serviceLoadBalancerIPs", "serviceExternalIPs", "serviceClusterIPs"];

fn on_write(configuration: &mut Document) {
    let spec = configuration.spec_mut();
    fill(spec, "logSeverityScreen", || "Info".into());
    fill(spec, "serviceLoadBalancerAggregation", || "Enabled".into());
}

fn client(configuration: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| configuration.spec(field);
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

fn odd(configuration: &Document) -> Vec<FieldError> {
    let fields = [("localWorkloadPeeringIPV4", true), ("localWorkloadPeeringIPV6", false)];
    let odd = fields.into_iter().filter_map(|(field, is_v4)| {
        let text = configuration.text(&["spec", field])?;
        let family = if is_v4 { "IPv4" } else { "IPv6" };
        let is_good = ip(text).is_some_and(|addr| addr.is_ipv4() == is_v4);
        (!is_good)
            .then(|| FieldError::of_value(format!("spec.{field}"), text, format!("is no {family} address")))
    });
    odd.collect()
}

fn crd(configuration: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| configuration.spec(field);
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
fn default_only(configuration: &Document) -> Result<(), ValidationError> {
    if configuration.name() == "default" {
        return Ok(());
    }
    let set = |field: &str| match configuration.spec(field) {
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
    result(faults.collect())
}
