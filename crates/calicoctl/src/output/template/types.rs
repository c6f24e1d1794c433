//! The Go types behind the resources, to turn their JSON into what a template sees.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data::{Data, Field};

/// A field: its Go name, its JSON name (empty for an embedded struct, whose JSON is the outer one's), and its type.
type FieldType = (&'static str, &'static str, &'static str);

/// Structs by the names of their types. A named string or number is written `name=kind`.
const STRUCTS: &[(&str, &[FieldType])] = &[
    ("v1.TypeMeta", &[("Kind", "kind", "string"), ("APIVersion", "apiVersion", "string")]),
    (
        "v1.ObjectMeta",
        &[
            ("Name", "name", "string"),
            ("GenerateName", "generateName", "string"),
            ("Namespace", "namespace", "string"),
            ("SelfLink", "selfLink", "string"),
            ("UID", "uid", "types.UID=string"),
            ("ResourceVersion", "resourceVersion", "string"),
            ("Generation", "generation", "int64=int"),
            ("CreationTimestamp", "creationTimestamp", "v1.Time"),
            ("DeletionTimestamp", "deletionTimestamp", "*v1.Time"),
            ("DeletionGracePeriodSeconds", "deletionGracePeriodSeconds", "*int64=int"),
            ("Labels", "labels", "map[string]string"),
            ("Annotations", "annotations", "map[string]string"),
            ("OwnerReferences", "ownerReferences", "[]v1.OwnerReference"),
            ("Finalizers", "finalizers", "[]string"),
        ],
    ),
    (
        "v1.OwnerReference",
        &[
            ("APIVersion", "apiVersion", "string"),
            ("Kind", "kind", "string"),
            ("Name", "name", "string"),
            ("UID", "uid", "types.UID=string"),
            ("Controller", "controller", "*bool"),
            ("BlockOwnerDeletion", "blockOwnerDeletion", "*bool"),
        ],
    ),
    (
        "v1.ListMeta",
        &[
            ("SelfLink", "selfLink", "string"),
            ("ResourceVersion", "resourceVersion", "string"),
            ("Continue", "continue", "string"),
            ("RemainingItemCount", "remainingItemCount", "*int64=int"),
        ],
    ),
    (
        "v3.IPPoolSpec",
        &[
            ("CIDR", "cidr", "string"),
            ("VXLANMode", "vxlanMode", "v3.VXLANMode=string"),
            ("IPIPMode", "ipipMode", "v3.IPIPMode=string"),
            ("NATOutgoing", "natOutgoing", "bool"),
            ("Disabled", "disabled", "bool"),
            ("DisableBGPExport", "disableBGPExport", "bool"),
            ("BlockSize", "blockSize", "int"),
            ("NodeSelector", "nodeSelector", "string"),
            ("NamespaceSelector", "namespaceSelector", "string"),
            ("AllowedUses", "allowedUses", "[]v3.IPPoolAllowedUse=string"),
            ("AssignmentMode", "assignmentMode", "*v3.AssignmentMode=string"),
        ],
    ),
    ("v3.IPReservationSpec", &[("ReservedCIDRs", "reservedCIDRs", "[]string")]),
    (
        "v3.IPAMConfigurationSpec",
        &[
            ("StrictAffinity", "strictAffinity", "bool"),
            ("MaxBlocksPerHost", "maxBlocksPerHost", "int32=int"),
            ("AutoAllocateBlocks", "autoAllocateBlocks", "bool"),
        ],
    ),
    (
        "v3.ClusterInformationSpec",
        &[
            ("ClusterGUID", "clusterGUID", "string"),
            ("ClusterType", "clusterType", "string"),
            ("CalicoVersion", "calicoVersion", "string"),
            ("DatastoreReady", "datastoreReady", "*bool"),
            ("Variant", "variant", "string"),
        ],
    ),
    (
        "internalapi.NodeSpec",
        &[
            ("BGP", "bgp", "*internalapi.NodeBGPSpec"),
            ("IPv4VXLANTunnelAddr", "ipv4VXLANTunnelAddr", "string"),
            ("VXLANTunnelMACAddr", "vxlanTunnelMACAddr", "string"),
            ("IPv6VXLANTunnelAddr", "ipv6VXLANTunnelAddr", "string"),
            ("VXLANTunnelMACAddrV6", "vxlanTunnelMACAddrV6", "string"),
            ("OrchRefs", "orchRefs", "[]internalapi.OrchRef"),
            ("Wireguard", "wireguard", "*internalapi.NodeWireguardSpec"),
            ("Addresses", "addresses", "[]internalapi.NodeAddress"),
        ],
    ),
    (
        "internalapi.NodeBGPSpec",
        &[
            ("ASNumber", "asNumber", "*numorstring.ASNumber=int"),
            ("IPv4Address", "ipv4Address", "string"),
            ("IPv6Address", "ipv6Address", "string"),
            ("IPv4IPIPTunnelAddr", "ipv4IPIPTunnelAddr", "string"),
            ("RouteReflectorClusterID", "routeReflectorClusterID", "string"),
        ],
    ),
    (
        "internalapi.OrchRef",
        &[("NodeName", "nodeName", "string"), ("Orchestrator", "orchestrator", "string")],
    ),
    (
        "internalapi.NodeWireguardSpec",
        &[
            ("InterfaceIPv4Address", "interfaceIPv4Address", "string"),
            ("InterfaceIPv6Address", "interfaceIPv6Address", "string"),
        ],
    ),
    ("internalapi.NodeAddress", &[("Address", "address", "string"), ("Type", "type", "string")]),
    (
        "internalapi.NodeStatus",
        &[
            ("WireguardPublicKey", "wireguardPublicKey", "string"),
            ("WireguardPublicKeyV6", "wireguardPublicKeyV6", "string"),
            ("PodCIDRs", "podCIDRs", "[]string"),
        ],
    ),
    (
        "internalapi.WorkloadEndpointSpec",
        &[
            ("Orchestrator", "orchestrator", "string"),
            ("Workload", "workload", "string"),
            ("Node", "node", "string"),
            ("ContainerID", "containerID", "string"),
            ("Pod", "pod", "string"),
            ("Endpoint", "endpoint", "string"),
            ("ServiceAccountName", "serviceAccountName", "string"),
            ("IPNetworks", "ipNetworks", "[]string"),
            ("IPNATs", "ipNATs", "[]internalapi.IPNAT"),
            ("IPv4Gateway", "ipv4Gateway", "string"),
            ("IPv6Gateway", "ipv6Gateway", "string"),
            ("Profiles", "profiles", "[]string"),
            ("InterfaceName", "interfaceName", "string"),
            ("MAC", "mac", "string"),
        ],
    ),
    ("internalapi.IPNAT", &[("InternalIP", "internalIP", "string"), ("ExternalIP", "externalIP", "string")]),
];

/// What `get` hands a template: Go's slice of the results, each an object or a list of objects.
pub fn results(resources: &[Value]) -> Data {
    let object = |resource: &Value| Data::Reference {
        go_type: "runtime.Object".to_owned(),
        target: Some(Box::new(resource_data(resource))),
    };
    Data::List { element_type: "runtime.Object".to_owned(), items: resources.iter().map(object).collect() }
}

/// An object, or a list of objects, by its `kind`. A kind whose spec is not described here gets field names made from the JSON ones.
fn resource_data(resource: &Value) -> Data {
    let kind = resource["kind"].as_str().unwrap_or_default();
    let kind_of_items = kind.strip_suffix("List").filter(|_| resource.get("items").is_some());
    let package = |kind: &str| if matches!(kind, "Node" | "WorkloadEndpoint") { "internalapi" } else { "v3" };
    let embedded = |name: &str, go_type: &str, value: &Value| Field {
        name: name.to_owned(),
        embedded: true,
        value: typed(go_type, Some(value)),
    };
    let mut fields = vec![embedded("TypeMeta", "v1.TypeMeta", resource)];
    let package = package(kind_of_items.unwrap_or(kind));
    if let Some(kind) = kind_of_items {
        fields.push(embedded("ListMeta", "v1.ListMeta", &resource["metadata"]));
        let items = resource["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let items = items.iter().map(|item| resource_data(&with_kind(item, kind))).collect();
        let value = Data::List { element_type: format!("{package}.{kind}"), items };
        fields.push(Field { name: "Items".to_owned(), embedded: false, value });
    } else {
        fields.push(embedded("ObjectMeta", "v1.ObjectMeta", &resource["metadata"]));
        let spec = typed(&format!("{package}.{kind}Spec"), resource.get("spec"));
        fields.push(Field { name: "Spec".to_owned(), embedded: false, value: spec });
        let status_type = format!("{package}.{kind}Status");
        if resource.get("status").is_some() || fields_of(&status_type).is_some() {
            let status = typed(&status_type, resource.get("status"));
            fields.push(Field { name: "Status".to_owned(), embedded: false, value: status });
        }
    }
    Data::Struct { go_type: format!("{package}.{kind}"), fields }
}

/// The items of a list may leave out their kind.
fn with_kind(item: &Value, kind: &str) -> Value {
    let mut item = item.clone();
    if item["kind"].is_null() && item.is_object() {
        item["kind"] = Value::from(kind);
    }
    item
}

fn fields_of(go_type: &str) -> Option<&'static [FieldType]> {
    STRUCTS.iter().find(|(name, _)| *name == go_type).map(|(_, fields)| *fields)
}

/// `value` as Go decodes it into that type; without a value, Go's zero value.
fn typed(go_type: &str, value: Option<&Value>) -> Data {
    let value = value.filter(|value| !value.is_null());
    let (name, kind) = go_type.split_once('=').unwrap_or((go_type, go_type));
    if name.starts_with('*') {
        let target = value.map(|value| Box::new(typed(&go_type[1..], Some(value))));
        return Data::Reference { go_type: name.to_owned(), target };
    }
    if let Some(element) = go_type.strip_prefix("[]") {
        let element_type = name[2..].to_owned();
        let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        return Data::List {
            element_type,
            items: items.iter().map(|item| typed(element, Some(item))).collect(),
        };
    }
    if let Some(element) = go_type.strip_prefix("map[string]") {
        let entries = value.and_then(Value::as_object).into_iter().flatten();
        let entries = entries
            .map(|(key, value)| (key.clone(), typed(element, Some(value))))
            .collect::<BTreeMap<_, _>>();
        return Data::Map { value_type: element.to_owned(), entries };
    }
    match kind {
        "bool" => Data::Bool(value.and_then(Value::as_bool).unwrap_or_default()),
        "int" => {
            Data::Int { go_type: name.to_owned(), value: value.and_then(Value::as_i64).unwrap_or_default() }
        }
        "string" => {
            let text = value.and_then(Value::as_str).unwrap_or_default().to_owned();
            Data::Text { go_type: name.to_owned(), text }
        }
        "v1.Time" => Data::Time(value.and_then(Value::as_str).map_or(ZERO_TIME.to_owned(), go_time)),
        _ => match fields_of(go_type) {
            Some(fields) => Data::Struct {
                go_type: go_type.to_owned(),
                fields: fields
                    .iter()
                    .map(|&(name, json, go_type)| Field {
                        name: name.to_owned(),
                        embedded: false,
                        value: typed(go_type, value.and_then(|value| value.get(json))),
                    })
                    .collect(),
            },
            None => guessed(go_type, value.unwrap_or(&Value::Object(Default::default()))),
        },
    }
}

const ZERO_TIME: &str = "0001-01-01 00:00:00 +0000 UTC";

/// Go prints a time in UTC as `2026-08-01 10:00:03 +0000 UTC`.
fn go_time(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.to_owned(),
    }
}

/// A struct whose type is not described: its fields are those that are there.
fn guessed(go_type: &str, value: &Value) -> Data {
    let Value::Object(entries) = value else { return Data::from(value) };
    let fields = entries.iter().map(|(name, value)| Field {
        name: go_name(name),
        embedded: false,
        value: if value.is_object() { guessed("struct", value) } else { Data::from(value) },
    });
    Data::Struct { go_type: go_type.to_owned(), fields: fields.collect() }
}

/// `peerIP` to `PeerIP`, `bgpPeer` to `BGPPeer`: Go writes an initialism at the start in capitals.
fn go_name(json: &str) -> String {
    let initialisms = ["bgp", "bpf", "cidr", "ip", "ipam", "as", "vxlan", "ipip", "mtu", "nat", "tcp", "udp"];
    let word: String = json.chars().take_while(|c| c.is_ascii_lowercase()).collect();
    if initialisms.contains(&word.as_str()) {
        return format!("{}{}", word.to_uppercase(), &json[word.len()..]);
    }
    let mut characters = json.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
