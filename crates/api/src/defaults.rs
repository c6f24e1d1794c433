//! What Calico fills in: on write, and on read for pools that were written by something else (`clientv3`, defaults of the CRDs).

use serde_json::{Map, Value as Json, json};

use crate::cidr::Cidr;
use crate::kind::Kind;
use crate::pool::default_block_size;
use crate::resource::Resource;
use crate::wep_name::Identifiers;

/// The label that holds a WorkloadEndpoint's namespace.
pub const LABEL_NAMESPACE: &str = "projectcalico.org/namespace";
/// The label that holds a WorkloadEndpoint's orchestrator.
pub const LABEL_ORCHESTRATOR: &str = "projectcalico.org/orchestrator";

/// The resource as it is to be stored: defaults applied, a pool's CIDR in canonical form, a WorkloadEndpoint's name and two labels
/// set, fields in Go's order.
pub fn on_write(resource: &Resource) -> Resource {
    let written = match resource.kind() {
        Kind::IPPool => pool(resource, true),
        Kind::WorkloadEndpoint => endpoint(resource),
        Kind::KubeControllersConfiguration => controllers(resource),
        Kind::BGPConfiguration => resource.with(|_, body| {
            let spec = object(body, "spec");
            fill(spec, "logSeverityScreen", || "Info".into());
            fill(spec, "serviceLoadBalancerAggregation", || "Enabled".into());
        }),
        Kind::Tier => resource.with(|_, body| fill(object(body, "spec"), "defaultAction", || "Deny".into())),
        _ => resource.clone(),
    };
    written.canonical()
}

/// The resource as readers are to see it: an IPPool's defaults show even if they are not stored. Other kinds are shown as stored.
pub fn on_read(resource: &Resource) -> Resource {
    match resource.kind() {
        Kind::IPPool => pool(resource, false).canonical(),
        _ => resource.clone(),
    }
}

fn pool(resource: &Resource, canonical: bool) -> Resource {
    let cidr = resource.text(&["spec", "cidr"]).and_then(|text| text.parse::<Cidr>().ok());
    resource.with(|_, body| {
        let spec = object(body, "spec");
        if let Some(cidr) = cidr {
            if canonical {
                spec.insert("cidr".into(), cidr.to_string().into());
            }
            fill(spec, "blockSize", || default_block_size(cidr.family()).into());
        }
        fill(spec, "ipipMode", || "Never".into());
        fill(spec, "vxlanMode", || "Never".into());
        fill(spec, "nodeSelector", || "all()".into());
        fill(spec, "allowedUses", || json!(["Workload", "Tunnel"]));
        if !spec.contains_key("assignmentMode") || spec["assignmentMode"].is_null() {
            spec.insert("assignmentMode".into(), "Automatic".into());
        }
    })
}

fn endpoint(resource: &Resource) -> Resource {
    let orchestrator = resource.text(&["spec", "orchestrator"]).unwrap_or_default().to_string();
    let name = Identifiers::of(resource).name().unwrap_or_default();
    resource.with(|metadata, _| {
        if metadata.name.is_empty() {
            metadata.name = name;
        }
        let namespace = metadata.namespace.clone().unwrap_or_default();
        metadata.labels.insert(LABEL_NAMESPACE.into(), namespace);
        metadata.labels.insert(LABEL_ORCHESTRATOR.into(), orchestrator);
    })
}

fn controllers(resource: &Resource) -> Resource {
    resource.with(|_, body| {
        let spec = object(body, "spec");
        fill(spec, "healthChecks", || "Enabled".into());
        if spec.get("prometheusMetricsPort").is_none_or(Json::is_null) {
            spec.insert("prometheusMetricsPort".into(), 9094.into());
        }
        let controllers = object(spec, "controllers");
        let mut within = |controller: &str, field: &str, value: &str| {
            if let Some(Json::Object(map)) = controllers.get_mut(controller) {
                fill(map, field, || value.into());
            }
        };
        within("node", "leakGracePeriod", "15m0s");
        within("loadBalancer", "assignIPs", "AllServices");
        within("policyMigration", "enabled", "Enabled");
    })
}

/// Sets a field that is absent or has its zero value.
fn fill(map: &mut Map<String, Json>, field: &str, value: impl FnOnce() -> Json) {
    let unset = match map.get(field) {
        None | Some(Json::Null) => true,
        Some(Json::String(s)) => s.is_empty(),
        Some(Json::Array(items)) => items.is_empty(),
        Some(Json::Number(n)) => n.as_f64() == Some(0.0),
        Some(_) => false,
    };
    if unset {
        map.insert(field.into(), value());
    }
}

/// The object under a field, made if it is not there.
fn object<'a>(map: &'a mut Map<String, Json>, field: &str) -> &'a mut Map<String, Json> {
    let entry = map.entry(field).or_insert_with(|| Json::Object(Map::new()));
    if !entry.is_object() {
        *entry = Json::Object(Map::new());
    }
    match entry {
        Json::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}
