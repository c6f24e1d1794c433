//! The columns in which kinds are shown as tables (`calicoctl/calicoctl/resourcemgr`).

use serde_json::Value as Json;

use crate::go;
use crate::resource::Resource;

/// The AS number of nodes where neither they nor the BGPConfiguration `default` name one.
pub const DEFAULT_AS_NUMBER: u32 = 64512;

/// What columns need to know besides the resource.
#[derive(Clone, Copy, Debug)]
pub struct ColumnContext {
    /// The AS number of nodes that name none: that of the BGPConfiguration `default`, or [`DEFAULT_AS_NUMBER`].
    pub default_as_number: u32,
}

impl Default for ColumnContext {
    fn default() -> Self {
        ColumnContext { default_as_number: DEFAULT_AS_NUMBER }
    }
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// The heading, upper case.
    pub heading: &'static str,
    /// The text of a cell. The resource is as read ([`crate::defaults::on_read`]).
    pub text: fn(&Resource, &ColumnContext) -> String,
}

/// The columns of a kind.
#[derive(Debug)]
pub struct Columns {
    /// All that may be asked for.
    pub all: &'static [Column],
    /// The headings that are shown by default.
    pub default: &'static [&'static str],
    /// The headings that are shown when asked for width.
    pub wide: &'static [&'static str],
}

impl Columns {
    /// The column of that heading, which is case-sensitive.
    pub fn get(&self, heading: &str) -> Option<&'static Column> {
        self.all.iter().find(|column| column.heading == heading)
    }
}

const fn column(heading: &'static str, text: fn(&Resource, &ColumnContext) -> String) -> Column {
    Column { heading, text }
}

const NAME: Column = column("NAME", |r, _| r.name().to_string());

pub(crate) static IP_POOL: Columns = Columns {
    all: &[
        NAME,
        column("CIDR", |r, _| text(r, &["spec", "cidr"])),
        column("NAT", |r, _| flag(r, "natOutgoing")),
        column("IPIPMODE", |r, _| text(r, &["spec", "ipipMode"])),
        column("VXLANMODE", |r, _| text(r, &["spec", "vxlanMode"])),
        column("DISABLED", |r, _| flag(r, "disabled")),
        column("DISABLEBGPEXPORT", |r, _| flag(r, "disableBGPExport")),
        column("SELECTOR", |r, _| text(r, &["spec", "nodeSelector"])),
        column("ASSIGNMENTMODE", |r, _| text(r, &["spec", "assignmentMode"])),
    ],
    default: &["NAME", "CIDR", "SELECTOR"],
    wide: &[
        "NAME",
        "CIDR",
        "NAT",
        "IPIPMODE",
        "VXLANMODE",
        "DISABLED",
        "DISABLEBGPEXPORT",
        "SELECTOR",
        "ASSIGNMENTMODE",
    ],
};

pub(crate) static IP_RESERVATION: Columns = Columns {
    all: &[NAME, column("CIDRS", |r, _| truncate(&join(r, "reservedCIDRs"), 80))],
    default: &["NAME"],
    wide: &["NAME", "CIDRS"],
};

pub(crate) static IPAM_CONFIGURATION: Columns = Columns {
    all: &[
        NAME,
        column("STRICTAFFINITY", |r, _| flag(r, "strictAffinity")),
        column("AUTOALLOCATEBLOCKS", |r, _| flag(r, "autoAllocateBlocks")),
        column("MAXBLOCKSPERHOST", |r, _| number(r, "maxBlocksPerHost").unwrap_or_else(|| "0".into())),
    ],
    default: &["NAME", "STRICTAFFINITY", "AUTOALLOCATEBLOCKS"],
    wide: &["NAME", "STRICTAFFINITY", "AUTOALLOCATEBLOCKS", "MAXBLOCKSPERHOST"],
};

pub(crate) static NODE: Columns = Columns {
    all: &[
        NAME,
        column("ASN", |r, context| {
            let own = r.field(&["spec", "bgp", "asNumber"]).map(scalar);
            match (r.field(&["spec", "bgp"]), own) {
                (None, _) => String::new(),
                (_, Some(own)) => own,
                (_, None) => format!("({})", context.default_as_number),
            }
        }),
        column("IPV4", |r, _| text(r, &["spec", "bgp", "ipv4Address"])),
        column("IPV6", |r, _| text(r, &["spec", "bgp", "ipv6Address"])),
    ],
    default: &["NAME"],
    wide: &["NAME", "ASN", "IPV4", "IPV6"],
};

pub(crate) static WORKLOAD_ENDPOINT: Columns = Columns {
    all: &[
        NAME,
        column("NAMESPACE", |r, _| r.metadata().namespace.clone().unwrap_or_default()),
        column("WORKLOAD", |r, _| {
            let workload = text(r, &["spec", "workload"]);
            if workload.is_empty() { text(r, &["spec", "pod"]) } else { workload }
        }),
        column("NODE", |r, _| text(r, &["spec", "node"])),
        column("NETWORKS", |r, _| join(r, "ipNetworks")),
        column("INTERFACE", |r, _| text(r, &["spec", "interfaceName"])),
        column("PROFILES", |r, _| join(r, "profiles")),
        column("NATS", |r, _| nats(r)),
        column("ORCHESTRATOR", |r, _| text(r, &["spec", "orchestrator"])),
    ],
    default: &["WORKLOAD", "NODE", "NETWORKS", "INTERFACE"],
    wide: &["NAME", "WORKLOAD", "NODE", "NETWORKS", "INTERFACE", "PROFILES", "NATS"],
};

pub(crate) static CLUSTER_INFORMATION: Columns = Columns {
    all: &[
        NAME,
        column("CLUSTERGUID", |r, _| text(r, &["spec", "clusterGUID"])),
        column("CLUSTERTYPE", |r, _| text(r, &["spec", "clusterType"])),
        column("CALICOVERSION", |r, _| text(r, &["spec", "calicoVersion"])),
        column("DATASTOREREADY", |r, _| nilable(r.field(&["spec", "datastoreReady"]))),
    ],
    default: &["NAME", "CLUSTERGUID", "CLUSTERTYPE", "CALICOVERSION", "DATASTOREREADY"],
    wide: &["NAME", "CLUSTERGUID", "CLUSTERTYPE", "CALICOVERSION", "DATASTOREREADY"],
};

pub(crate) static TIER: Columns = Columns {
    all: &[
        NAME,
        column("ORDER", |r, _| {
            r.field(&["spec", "order"]).and_then(Json::as_f64).map_or_else(|| "<nil>".into(), go::float_text)
        }),
    ],
    default: &["NAME", "ORDER"],
    wide: &["NAME", "ORDER"],
};

pub(crate) static PROFILE: Columns = Columns { all: &[NAME], default: &["NAME"], wide: &["NAME"] };

pub(crate) static BGP_PEER: Columns = Columns {
    all: &[
        NAME,
        column("PEERIP", |r, _| text(r, &["spec", "peerIP"])),
        column("NODE", |r, _| {
            let set = |field: &str| r.text(&["spec", field]).map(str::to_string);
            set("node").or_else(|| set("nodeSelector")).unwrap_or_else(|| "(global)".into())
        }),
        column("ASN", |r, _| number(r, "asNumber").unwrap_or_else(|| "0".into())),
    ],
    default: &["NAME", "PEERIP", "NODE", "ASN"],
    wide: &["NAME", "PEERIP", "NODE", "ASN"],
};

pub(crate) static BGP_CONFIGURATION: Columns = Columns {
    all: &[
        NAME,
        column("LOGSEVERITY", |r, _| text(r, &["spec", "logSeverityScreen"])),
        column("MESHENABLED", |r, _| {
            r.field(&["spec", "nodeToNodeMeshEnabled"]).map_or_else(|| "-".into(), scalar)
        }),
        column("ASNUMBER", |r, _| number(r, "asNumber").unwrap_or_else(|| "-".into())),
    ],
    default: &["NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"],
    wide: &["NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"],
};

pub(crate) static KUBE_CONTROLLERS_CONFIGURATION: Columns =
    Columns { all: &[NAME], default: &["NAME"], wide: &["NAME"] };

fn text(resource: &Resource, path: &[&str]) -> String {
    resource.text(path).unwrap_or_default().to_string()
}

fn flag(resource: &Resource, field: &str) -> String {
    resource.field(&["spec", field]).and_then(Json::as_bool).unwrap_or(false).to_string()
}

fn number(resource: &Resource, field: &str) -> Option<String> {
    resource.field(&["spec", field]).map(scalar)
}

fn join(resource: &Resource, field: &str) -> String {
    let items = resource.field(&["spec", field]).and_then(Json::as_array);
    items.into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>().join(",")
}

/// `external->internal`, joined by commas. (The original crashes on these.)
fn nats(resource: &Resource) -> String {
    let nats = resource.field(&["spec", "ipNATs"]).and_then(Json::as_array);
    let text = |nat: &Json, field: &str| nat[field].as_str().unwrap_or_default().to_string();
    let pair = |nat: &Json| format!("{}->{}", text(nat, "externalIP"), text(nat, "internalIP"));
    nats.into_iter().flatten().map(pair).collect::<Vec<_>>().join(",")
}

/// At most `max` characters, the last three of them dots where something was cut.
fn truncate(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_string();
    }
    text.chars().take(max.saturating_sub(3)).chain("...".chars()).collect()
}

/// A pointer as Go's templates print it.
fn nilable(json: Option<&Json>) -> String {
    json.map_or_else(|| "<nil>".into(), scalar)
}

/// A scalar as Go's `%v` prints it.
fn scalar(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;

    fn row(kind: Kind, wide: bool, metadata: Json, spec: Json) -> Vec<String> {
        let document = json!({"metadata": metadata, "spec": spec});
        let resource = crate::defaults::on_read(&Resource::from_json(kind, document).unwrap());
        let columns = kind.columns();
        let headings = if wide { columns.wide } else { columns.default };
        let context = ColumnContext::default();
        headings.iter().map(|h| (columns.get(h).unwrap().text)(&resource, &context)).collect()
    }

    #[test]
    fn every_heading_that_is_shown_is_there() {
        for kind in Kind::ALL {
            let columns = kind.columns();
            for heading in columns.default.iter().chain(columns.wide) {
                assert!(columns.get(heading).is_some(), "{kind} {heading}");
            }
        }
    }

    #[test]
    fn cells_as_recorded() {
        // 004-guide-get-formats, 080 to 090.
        let named = |name: &str| json!({"name": name});
        let long: Vec<String> = (0..8).map(|i| format!("10.1.{i}.0/24")).collect();
        for (kind, wide, metadata, spec, cells) in [
            (
                Kind::IPPool,
                true,
                named("bare"),
                json!({"cidr": "10.5.0.0/16"}),
                vec![
                    "bare",
                    "10.5.0.0/16",
                    "false",
                    "Never",
                    "Never",
                    "false",
                    "false",
                    "all()",
                    "Automatic",
                ],
            ),
            (
                Kind::IPReservation,
                true,
                named("res-2"),
                json!({"reservedCIDRs": long}),
                vec![
                    "res-2",
                    "10.1.0.0/24,10.1.1.0/24,10.1.2.0/24,10.1.3.0/24,10.1.4.0/24,10.1.5.0/24,10.1....",
                ],
            ),
            (
                Kind::IPAMConfiguration,
                true,
                named("default"),
                json!({"strictAffinity": true, "autoAllocateBlocks": true, "maxBlocksPerHost": 4}),
                vec!["default", "true", "true", "4"],
            ),
            (
                Kind::Node,
                true,
                named("n"),
                json!({"bgp": {"ipv4Address": "10.1.0.1/24", "ipv6Address": "fd00::1/64"}}),
                vec!["n", "(64512)", "10.1.0.1/24", "fd00::1/64"],
            ),
            (
                Kind::Node,
                true,
                named("n"),
                json!({"bgp": {"asNumber": 65001, "ipv4Address": "10.1.0.2"}}),
                vec!["n", "65001", "10.1.0.2", ""],
            ),
            (Kind::Node, true, named("n"), json!({}), vec!["n", "", "", ""]),
            (
                Kind::WorkloadEndpoint,
                false,
                json!({"name": "w", "namespace": "prod"}),
                json!({"pod": "db-0", "node": "n0", "ipNetworks": ["10.0.0.3/32"], "interfaceName": "cali0"}),
                vec!["db-0", "n0", "10.0.0.3/32", "cali0"],
            ),
            (
                Kind::ClusterInformation,
                false,
                named("default"),
                json!({"clusterGUID": "g", "datastoreReady": true}),
                vec!["default", "g", "", "", "true"],
            ),
            (
                Kind::BGPPeer,
                false,
                named("global"),
                json!({"peerIP": "10.9.9.9", "asNumber": 64512}),
                vec!["global", "10.9.9.9", "(global)", "64512"],
            ),
            (
                Kind::BGPPeer,
                false,
                named("peersel"),
                json!({"nodeSelector": "all()"}),
                vec!["peersel", "", "all()", "0"],
            ),
            (
                Kind::BGPConfiguration,
                false,
                named("node.n"),
                json!({"logSeverityScreen": "Info"}),
                vec!["node.n", "Info", "-", "-"],
            ),
            (
                Kind::BGPConfiguration,
                false,
                named("default"),
                json!({"logSeverityScreen": "Warning", "nodeToNodeMeshEnabled": false, "asNumber": 64999}),
                vec!["default", "Warning", "false", "64999"],
            ),
        ] {
            assert_eq!(row(kind, wide, metadata, spec), cells);
        }
        for (order, shown) in [(1000.0, "1000"), (1e6, "1e+06"), (1e7, "1e+07")] {
            assert_eq!(row(Kind::Tier, false, named("t"), json!({"order": order})), ["t", shown]);
            let whole = json!({"order": order as u64});
            assert_eq!(row(Kind::Tier, false, named("t"), whole), ["t", shown]);
        }
    }
}
