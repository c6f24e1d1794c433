//! The page of resources: what the definitions in `deploy/crds` and the types of `api` say of their fields,
//! and what rackpool does about each.

use api::Kind;
use api::kinds::Home;
use api::schema::{Shape, Struct, Type};
use serde_json::Value as Json;

use crate::{cell, meanings};

const BEGINNING: &str = "# Resources\n\n\
Every field that the programs store, its type, its default, and whether rackpool acts on it. A field on which nothing acts is stored and shown as it was written, for\n\
Calico's programs. `apiVersion` is `projectcalico.org/v3`; every resource has `metadata` as Kubernetes' objects have it.\n";

/// What a kind is, with the fields on which rackpool acts. The longest beginning of a path counts.
struct About {
    kind: &'static str,
    text: &'static str,
    acts: &'static [(&'static str, &'static str)],
}

const STORED: &str = "no";
const ALLOCATOR: &str = "allocator";

const ABOUT: &[About] = &[
    About {
        kind: "IPPool",
        text: "Addresses, the nodes and namespaces that they are for, and how packets travel to them.",
        acts: &[
            ("spec", ALLOCATOR),
            ("spec.ipipMode", "node agent, `calicoctl routes`"),
            ("spec.vxlanMode", "node agent, `calicoctl routes`"),
            ("spec.natOutgoing", "node agent"),
            ("spec.disableBGPExport", "`calicoctl routes`, `datastore preflight`"),
            ("status", "controllers write it, in group `projectcalico.org/v3`"),
        ],
    },
    About {
        kind: "IPReservation",
        text: "Addresses that nobody gets without asking for them.",
        acts: &[("spec", ALLOCATOR)],
    },
    About {
        kind: "IPAMConfiguration",
        text: "How addresses are assigned; the only one is `default`. `calicoctl ipam configure` changes it.",
        acts: &[("spec", ALLOCATOR)],
    },
    About {
        kind: "KubeControllersConfiguration",
        text: "What `rackpoold controllers` does; the only one is `default`. See [controllers.md](../controllers.md).",
        acts: &[
            ("spec", STORED),
            ("spec.healthChecks", "controllers"),
            ("spec.logSeverityScreen", "controllers"),
            ("spec.prometheusMetricsPort", "controllers"),
            ("spec.controllers.node.leakGracePeriod", "controllers"),
            ("spec.controllers.node.reconcilerPeriod", "controllers"),
            ("spec.controllers.loadBalancer", "`ipam check`, for services that have addresses already"),
            ("status", "controllers write it"),
        ],
    },
    About {
        kind: "ClusterInformation",
        text: "What the cluster is; the only one is `default`.",
        acts: &[
            ("spec", STORED),
            ("spec.calicoVersion", "`calicoctl` compares it with its own"),
            ("spec.clusterType", "`ipam check`"),
            ("spec.datastoreReady", "plugins and controllers wait while it is false"),
        ],
    },
    About {
        kind: "Node",
        text: "A host. On Kubernetes it is Kubernetes' Node, with what Calico adds in its annotations.",
        acts: &[
            ("spec", STORED),
            ("spec.bgp.ipv4Address", "node agent, `calicoctl routes`"),
            ("spec.bgp.ipv6Address", "node agent, `calicoctl routes`"),
            ("spec.bgp.ipv4IPIPTunnelAddr", "node agent, controllers, `ipam check`"),
            ("spec.ipv4VXLANTunnelAddr", "node agent, controllers, `ipam check`"),
            ("spec.ipv6VXLANTunnelAddr", "node agent, controllers, `ipam check`"),
            ("spec.vxlanTunnelMACAddr", "node agent"),
            ("spec.vxlanTunnelMACAddrV6", "node agent"),
            ("spec.wireguard", "`ipam check`, for the tunnel's address"),
            ("spec.addresses", "node agent"),
            ("spec.interfaces", "`calicoctl routes`"),
            ("status", STORED),
        ],
    },
    About {
        kind: "WorkloadEndpoint",
        text: "A container's interface and its addresses. On Kubernetes it is a Pod; elsewhere the plugin `calico` writes it.",
        acts: &[
            ("spec", "plugin writes it"),
            ("spec.ipNetworks", "plugin writes it; controllers and `ipam check` read it"),
            ("spec.ipNATs", "plugin writes it"),
            ("spec.node", "plugin writes it; controllers read it"),
            ("spec.allowSpoofedSourcePrefixes", "plugin writes it"),
        ],
    },
    About {
        kind: "Profile",
        text: "Rules for endpoints that name it. rackpool enforces none.",
        acts: &[("spec", STORED)],
    },
    About {
        kind: "Tier",
        text: "An order of policies. rackpool enforces none.",
        acts: &[("spec", STORED), ("status", STORED)],
    },
    About {
        kind: "HostEndpoint",
        text: "An interface of a host, for policies. rackpool enforces none: `datastore preflight` names each.",
        acts: &[("spec", STORED)],
    },
    About {
        kind: "BGPConfiguration",
        text: "How Calico's nodes speak BGP. rackpool does not.",
        acts: &[("spec", STORED), ("spec.nodeToNodeMeshEnabled", "`datastore preflight`")],
    },
    About {
        kind: "BGPPeer",
        text: "A router with which Calico's nodes speak BGP. rackpool does not: `datastore preflight` names each.",
        acts: &[("spec", STORED)],
    },
    About {
        kind: "IPAMBlock",
        text: "A block of addresses, and who has each. The allocator's own: not for people.",
        acts: &[("spec", ALLOCATOR)],
    },
    About {
        kind: "BlockAffinity",
        text: "Which host a block belongs to. The allocator's own.",
        acts: &[("spec", ALLOCATOR)],
    },
    About {
        kind: "IPAMHandle",
        text: "In which blocks a handle has addresses. The allocator's own.",
        acts: &[("spec", ALLOCATOR)],
    },
];

/// The records of the allocator, which are no kinds of `calicoctl`, by their definitions.
const OWN: [(&str, &str); 3] = [
    ("IPAMBlock", include_str!("../../deploy/crds/v3/ipamblocks.yaml")),
    ("BlockAffinity", include_str!("../../deploy/crds/v3/blockaffinities.yaml")),
    ("IPAMHandle", include_str!("../../deploy/crds/v3/ipamhandles.yaml")),
];

/// A field as the page shows it.
struct Row {
    path: String,
    type_name: String,
    default: String,
    meaning: String,
}

pub fn page() -> String {
    let mut text = BEGINNING.to_string();
    for kind in Kind::ALL {
        assert!(ABOUT.iter().any(|about| about.kind == kind.name()), "nothing is said of {}", kind.name());
    }
    for about in ABOUT {
        let kind = Kind::ALL.iter().find(|kind| kind.name() == about.kind);
        let own = OWN.iter().find(|(kind, _)| *kind == about.kind).map(|(_, yaml)| *yaml);
        let definition = own.or_else(|| kind.and_then(|kind| definition(*kind)));
        let mut rows = Vec::new();
        match (definition, kind) {
            (Some(yaml), _) => of_definition(yaml, &mut rows),
            (None, Some(kind)) => of_type(kind.name(), kind.schema(), "", &mut rows),
            (None, None) => panic!("{} is neither a kind nor a record", about.kind),
        }
        for (path, _) in about.acts {
            assert!(
                rows.iter().any(|row| row.path == *path || row.path.starts_with(&format!("{path}."))),
                "{} has no field {path}",
                about.kind
            );
        }
        text.push_str(&format!("\n## {}\n{}\n\n", about.kind, about.text));
        text.push_str("| field | type | default | what it says | who acts on it |\n|---|---|---|---|---|\n");
        for row in rows {
            let Row { path, type_name, default, meaning } = &row;
            let acts = acts(about, path);
            text.push_str(&format!(
                "| `{path}` | {} | {default} | {} | {acts} |\n",
                cell(type_name),
                cell(meaning)
            ));
        }
    }
    text
}

/// The CustomResourceDefinition of a kind that has one.
fn definition(kind: Kind) -> Option<&'static str> {
    match kind.definition().home {
        Home::Custom(custom) => Some(custom.v3),
        _ => None,
    }
}

fn acts(about: &About, path: &str) -> &'static str {
    let of_path =
        about.acts.iter().filter(|(start, _)| path == *start || path.starts_with(&format!("{start}.")));
    let found = of_path.max_by_key(|(start, _)| start.len());
    found.unwrap_or_else(|| panic!("nothing is said of who acts on {}'s {path}", about.kind)).1
}

/// The fields of a CustomResourceDefinition.
fn of_definition(yaml: &str, rows: &mut Vec<Row>) {
    let definition = golang::yaml::read(yaml.as_bytes()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    for part in ["spec", "status"] {
        of_schema(&schema[part], part, rows);
    }
}

fn of_schema(schema: &Json, path: &str, rows: &mut Vec<Row>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let items = &inner["items"];
        let is_leaf = inner["properties"].is_null() && items["properties"].is_null();
        let has_text = inner["description"].is_string();
        if is_leaf || has_text {
            rows.push(Row {
                path: path.clone(),
                type_name: type_of(inner),
                default: default_of(inner),
                meaning: inner["description"].as_str().unwrap_or_default().to_string(),
            });
        }
        of_schema(inner, &path, rows);
        of_schema(items, &path, rows);
    }
}

fn type_of(schema: &Json) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Json::as_str).collect();
        return format!("`{}`", values.join("`, `"));
    }
    match schema["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "string" => "text".to_string(),
        "integer" => "number".to_string(),
        "boolean" => "true or false".to_string(),
        other => other.to_string(),
    }
}

fn default_of(schema: &Json) -> String {
    match &schema["default"] {
        Json::Null => String::new(),
        Json::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// The fields of a kind that has no definition of its own.
fn of_type(kind: &str, of: &'static Struct, path: &str, rows: &mut Vec<Row>) {
    for field in of.fields {
        let path = if path.is_empty() { field.json.to_string() } else { format!("{path}.{}", field.json) };
        if ["apiVersion", "kind", "metadata"].contains(&path.as_str()) {
            continue;
        }
        match inner(&field.ty) {
            Some(inner) => of_type(kind, inner, &path, rows),
            None => rows.push(Row {
                meaning: meanings::of(kind, &path).to_string(),
                path,
                type_name: shape(&field.ty),
                default: String::new(),
            }),
        }
    }
}

fn inner(of: &Type) -> Option<&'static Struct> {
    match &of.shape {
        Shape::Struct(inner) => Some(inner),
        Shape::List(item) => inner(item),
        _ => None,
    }
}

fn shape(of: &Type) -> String {
    match &of.shape {
        Shape::Text => "text".to_string(),
        Shape::Bool => "true or false".to_string(),
        Shape::Int { .. } | Shape::Float => "number".to_string(),
        Shape::Map => "texts by name".to_string(),
        Shape::List(item) => format!("list of {}", shape(item)),
        Shape::AsNumber => "number of an autonomous system".to_string(),
        Shape::Uint8OrText => "number or text".to_string(),
        Shape::Time => "time".to_string(),
        Shape::Duration => "duration".to_string(),
        Shape::Struct(_) | Shape::Any => "any".to_string(),
    }
}
