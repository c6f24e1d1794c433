//! The types of a network configuration's fields, and the errors of Go's decoder for values of other types
//! (`cni-plugin/pkg/types/types.go`, `encoding/json/decode.go`).

use golang::json::type_name as json_type;
use serde_json::{Map, Value as Json};

/// A type in Go.
pub(crate) enum Type {
    Text,
    Bool,
    Int,
    Texts,
    Struct(&'static Struct),
    /// Any type: the field is not checked.
    Any,
}

/// A struct in Go.
pub(crate) struct Struct {
    /// The name of the Go type; empty where the type has none.
    name: &'static str,
    /// The type as Go prints it in errors.
    go: &'static str,
    pub(crate) fields: &'static [(&'static str, Type)],
}

use Type::{Any, Bool, Int, Text, Texts};

/// The whole network configuration. Fields that are not listed here are not checked.
pub(crate) const NET_CONF: Struct = Struct {
    name: "NetConf",
    go: "types.NetConf",
    fields: &[
        ("cniVersion", Text),
        ("name", Text),
        ("type", Text),
        ("mode", Text),
        ("vxlan_mac_prefix", Text),
        ("vxlan_vni", Int),
        ("ipam", Type::Struct(&IPAM)),
        ("args", Any),
        ("dataplane_options", Any),
        ("mtu", Int),
        ("require_mtu_file", Bool),
        ("container_settings", Type::Struct(&CONTAINER_SETTINGS)),
        ("feature_control", Type::Struct(&FEATURE_CONTROL)),
        ("device_type", Text),
        ("readiness_gates", Texts),
        ("policy_setup_timeout_seconds", Int),
        ("endpoint_status_dir", Text),
        ("num_queues", Int),
        ("nodename", Text),
        ("nodename_file", Text),
        ("ipam_lock_file", Text),
        ("nodename_file_optional", Bool),
        ("datastore_type", Text),
        ("rackpool_db", Text),
        ("etcd_endpoints", Text),
        ("etcd_discovery_srv", Text),
        ("log_level", Text),
        ("log_file_path", Text),
        ("log_file_max_size", Int),
        ("log_file_max_age", Int),
        ("log_file_max_count", Int),
        ("policy", Type::Struct(&POLICY)),
        ("kubernetes", Type::Struct(&KUBERNETES)),
        ("etcd_authority", Text),
        ("etcd_scheme", Text),
        ("etcd_key_file", Text),
        ("etcd_cert_file", Text),
        ("etcd_ca_cert_file", Text),
        ("hostname", Text),
        ("include_default_routes", Bool),
        ("windows_use_single_network", Bool),
        ("calico_api_group", Text),
        ("qps", Int),
        ("burst", Int),
        // Not of Calico's: whether containers wait for the node agent's first sync, and the file by which the
        // agent tells of it.
        ("require_agent_sync", Bool),
        ("agent_sync_file", Text),
        // Not of Calico's: what ADD answered, repeated by the runtime in DEL. Anything may be in it.
        ("prevResult", Any),
    ],
};

const IPAM: Struct = Struct {
    name: "",
    go: r#"struct { Name string; Type string "json:\"type\""; Subnet string "json:\"subnet\""; AssignIpv4 *string "json:\"assign_ipv4\""; AssignIpv6 *string "json:\"assign_ipv6\""; IPv4Pools []string "json:\"ipv4_pools,omitempty\""; IPv6Pools []string "json:\"ipv6_pools,omitempty\"" }"#,
    fields: &[
        ("Name", Text),
        ("type", Text),
        ("subnet", Text),
        ("assign_ipv4", Text),
        ("assign_ipv6", Text),
        ("ipv4_pools", Texts),
        ("ipv6_pools", Texts),
    ],
};

const POLICY: Struct = Struct {
    name: "Policy",
    go: "types.Policy",
    fields: &[
        ("type", Text),
        ("k8s_api_root", Text),
        ("k8s_auth_token", Text),
        ("k8s_client_certificate", Text),
        ("k8s_client_key", Text),
        ("k8s_certificate_authority", Text),
    ],
};

const CONTAINER_SETTINGS: Struct = Struct {
    name: "ContainerSettings",
    go: "types.ContainerSettings",
    fields: &[("allow_ip_forwarding", Bool)],
};

const FEATURE_CONTROL: Struct = Struct {
    name: "FeatureControl",
    go: "types.FeatureControl",
    fields: &[("ip_addrs_no_ipam", Bool), ("floating_ips", Bool)],
};

const KUBERNETES: Struct = Struct {
    name: "Kubernetes",
    go: "types.Kubernetes",
    fields: &[("k8s_api_root", Text), ("kubeconfig", Text), ("node_name", Text)],
};

/// The paths of all fields in a struct, with what each value is.
pub(crate) fn paths(of: &'static Struct) -> Vec<(String, &'static str)> {
    let below = |(name, kind): &(&'static str, Type)| match kind {
        Type::Struct(inner) => {
            paths(inner).into_iter().map(|(path, kind)| (format!("{name}.{path}"), kind)).collect()
        }
        Text => vec![(name.to_string(), "text")],
        Bool => vec![(name.to_string(), "true or false")],
        Int => vec![(name.to_string(), "number")],
        Texts => vec![(name.to_string(), "list of texts")],
        Any => vec![(name.to_string(), "any")],
    };
    of.fields.iter().flat_map(below).collect()
}

/// What the protocol reads first: the network's name.
pub(crate) const NAME_ONLY: Struct =
    Struct { name: "", go: r#"struct { Name string "json:\"name\"" }"#, fields: &[("name", Text)] };

/// What the protocol reads second: the version.
pub(crate) const VERSION_ONLY: Struct = Struct {
    name: "",
    go: r#"struct { CNIVersion string "json:\"cniVersion\"" }"#,
    fields: &[("cniVersion", Text)],
};

/// The fields of `document` that the struct has, under the struct's names for them. As in Go, names match in
/// any case, the later of two spellings counts, and a null counts as missing.
///
/// # Errors
/// For the first value of a wrong type, in Go's words.
pub(crate) fn conform(document: &Json, wanted: &Struct) -> Result<Map<String, Json>, String> {
    let mut walk = Walk { path: Vec::new(), error: None };
    let fields = match document {
        Json::Object(object) => walk.object(object, wanted),
        Json::Null => Map::new(),
        other => {
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type {}",
                json_type(other),
                wanted.go
            ));
        }
    };
    walk.error.map_or(Ok(fields), Err)
}

struct Walk {
    path: Vec<&'static str>,
    /// The first error. Go goes on decoding after an error, so the walk does, too.
    error: Option<String>,
}

impl Walk {
    fn object(&mut self, object: &Map<String, Json>, wanted: &Struct) -> Map<String, Json> {
        let mut found = Map::new();
        for (key, value) in object {
            let Some((name, kind)) = wanted.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))
            else {
                continue;
            };
            self.path.push(name);
            if let Some(value) = self.value(value, kind, wanted.name) {
                found.insert(name.to_string(), value);
            }
            self.path.pop();
        }
        found
    }

    fn value(&mut self, value: &Json, kind: &Type, owner: &str) -> Option<Json> {
        let wanted = match (kind, value) {
            (_, Json::Null) => return None,
            (Type::Struct(inner), Json::Object(object)) => {
                return Some(Json::Object(self.object(object, inner)));
            }
            (Texts, Json::Array(items)) => {
                let texts: Vec<_> = items.iter().map(|item| self.value(item, &Text, owner)).collect();
                // In a list of texts, a null becomes an empty text.
                return Some(texts.into_iter().map(|text| text.unwrap_or_else(|| "".into())).collect());
            }
            (Text, Json::String(_)) | (Bool, Json::Bool(_)) | (Any, _) => return Some(value.clone()),
            (Int, Json::Number(number)) if number.is_i64() => return Some(value.clone()),
            (Text, _) => "string",
            (Bool, _) => "bool",
            (Int, _) => "int",
            (Texts, _) => "[]string",
            (Type::Struct(inner), _) => inner.go,
        };
        let found = match (kind, value) {
            (Int, Json::Number(number)) => format!("number {number}"),
            _ => json_type(value).to_string(),
        };
        let path = self.path.join(".");
        let error =
            format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}");
        self.error.get_or_insert(error);
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_in_any_case_nulls_and_unknown_fields() {
        let document = json!({"CNIVERSION": "1.0.0", "Name": "a", "name": "b", "qps": null, "colour": {}, "ipam": {"IPV4_Pools": ["p", null]}});
        let found = conform(&document, &NET_CONF).unwrap();
        assert_eq!(
            Json::Object(found),
            json!({"cniVersion": "1.0.0", "name": "b", "ipam": {"ipv4_pools": ["p", ""]}})
        );
        assert_eq!(conform(&Json::Null, &NET_CONF), Ok(Map::new()));
    }

    /// The error texts for a wrong `ipam`, `assign_ipv4`, `ipv4_pools` and `qps` were recorded from Calico.
    #[test]
    fn wrong_types_are_named_as_go_names_them() {
        let rows = [
            (json!({"qps": "x"}), "string into Go struct field NetConf.qps of type int"),
            (json!({"qps": 1.5}), "number 1.5 into Go struct field NetConf.qps of type int"),
            (
                json!({"ipam": {"assign_ipv4": false}}),
                "bool into Go struct field .ipam.assign_ipv4 of type string",
            ),
            (
                json!({"ipam": {"ipv4_pools": "p"}}),
                "string into Go struct field .ipam.ipv4_pools of type []string",
            ),
            (
                json!({"ipam": {"ipv4_pools": [1]}}),
                "number into Go struct field .ipam.ipv4_pools of type string",
            ),
            (
                json!({"policy": {"type": 1}, "qps": "x"}),
                "number into Go struct field Policy.policy.type of type string",
            ),
            (json!([]), "array into Go value of type types.NetConf"),
        ];
        for (document, wanted) in rows {
            assert_eq!(conform(&document, &NET_CONF), Err(format!("json: cannot unmarshal {wanted}")));
        }
    }

    /// Values of another type, for every field of every struct.
    #[test]
    fn no_field_takes_a_value_of_another_type() {
        fn put(path: &[&str], value: &Json) -> Json {
            path.iter().rev().fold(value.clone(), |inner, step| json!({ *step: inner }))
        }
        fn look(of: &Struct, before: &[&'static str], tried: &mut usize) {
            for (name, kind) in of.fields {
                let path: Vec<&str> = before.iter().copied().chain([*name]).collect();
                let odd = match kind {
                    Text => vec![json!(1), json!(true), json!([]), json!({})],
                    Bool => vec![json!("TRUE"), json!("true"), json!(1)],
                    Int => vec![json!("1"), json!(1.5), json!(true), json!(1e300)],
                    Texts => vec![json!("a"), json!([1]), json!({}), json!(true)],
                    Type::Struct(_) => vec![json!("a"), json!([]), json!(1)],
                    Any => vec![],
                };
                for value in &odd {
                    let answer = conform(&put(&path, value), &NET_CONF);
                    assert!(answer.is_err(), "{} = {value}", path.join("."));
                    *tried += 1;
                }
                if let Type::Struct(inner) = kind {
                    look(inner, &path, tried);
                }
            }
        }
        let mut tried = 0;
        look(&NET_CONF, &[], &mut tried);
        assert!(tried > 150, "{tried}");
    }
}
