//! HostEndpoint: an interface of a host (`api/pkg/apis/projectcalico/v3/hostendpoint.go`,
//! `validateEndpointPort`, the CRD's rules).

use serde_json::Value as Json;

use super::definition::{Definition, Home, custom_resource};
use crate::checks::FieldError;
use crate::checks::tags::{
    INTERFACE, IP, NAME, PORT_NAME, check, check_each, check_set, fault, has_ports, in_range, protocol, texts,
};
use crate::columns::{self, Columns, column};
use crate::document::Document;
use crate::schema::*;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["hostendpoint", "hostendpoints", "hep", "heps"],
    short: Some("hep"),
    goes_with_node: true,
    client,
    crd,
    ..Definition::new("v3.HostEndpoint", "hostendpoints", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(custom_resource!("hostendpoints"));

static SCHEMA: Struct = Struct {
    go: "HostEndpoint",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.HostEndpointSpec", &SPEC)),
    ],
};

static SPEC: Struct = Struct {
    go: "HostEndpointSpec",
    fields: &[
        field("node", "Node", Omit::Zero, STRING),
        field("interfaceName", "InterfaceName", Omit::Zero, STRING),
        field("expectedIPs", "ExpectedIPs", Omit::Zero, STRINGS),
        field("profiles", "Profiles", Omit::Zero, STRINGS),
        field("ports", "Ports", Omit::Zero, objects!("v3.EndpointPort", PORT)),
    ],
};

static PORT: Struct = Struct {
    go: "EndpointPort",
    fields: &[
        field("name", "Name", Omit::Never, STRING),
        field("protocol", "Protocol", Omit::Never, ty("numorstring.Protocol", Shape::Uint8OrText)),
        field("port", "Port", Omit::Never, UINT16),
    ],
};

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("NODE", |r, _| columns::text(r, &["spec", "node"])),
        column("INTERFACE", |r, _| columns::text(r, &["spec", "interfaceName"])),
        column("IPS", |r, _| columns::join(r, "expectedIPs")),
        column("PROFILES", |r, _| columns::join(r, "profiles")),
    ],
    default: &["NAME", "NODE"],
    wide: &["NAME", "NODE", "INTERFACE", "IPS", "PROFILES"],
};

fn ports(endpoint: &Document) -> &[Json] {
    endpoint.spec("ports").as_array().map(Vec::as_slice).unwrap_or_default()
}

fn client(endpoint: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    check(&mut faults, "Node", endpoint.spec("node"), NAME);
    check(&mut faults, "InterfaceName", endpoint.spec("interfaceName"), INTERFACE);
    check_each(&mut faults, "ExpectedIPs", endpoint.spec("expectedIPs"), IP);
    check_each(&mut faults, "Profiles", endpoint.spec("profiles"), NAME);
    for port in ports(endpoint) {
        check_set(&mut faults, "Name", port["name"].as_str().unwrap_or_default(), PORT_NAME);
        let protocol = protocol(&mut faults, &port["protocol"]);
        if port["port"].as_u64().unwrap_or(0) == 0 {
            faults.push(fault("Port", "0", "gt"));
        }
        if !has_ports(&protocol) {
            let reason = "EndpointPort protocol does not support ports.";
            faults.push(FieldError::of_value("EndpointPort.Protocol", protocol, reason));
        }
    }
    faults
}

fn crd(endpoint: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for (i, port) in ports(endpoint).iter().enumerate() {
        in_range(&mut faults, &format!("spec.ports[{i}].port"), &port["port"], 1, 65535);
    }
    let is_set = |field: &str| endpoint.text(&["spec", field]).is_some();
    let has_ips = texts(endpoint.spec("expectedIPs")).next().is_some();
    for (holds, message) in [
        (
            is_set("interfaceName") || has_ips,
            "at least one of interfaceName or expectedIPs must be specified",
        ),
        (is_set("node"), "node must be specified"),
    ] {
        if !holds {
            faults.push(FieldError::new("spec", message));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::capability::Backend;
    use crate::decode::decode_document;
    use crate::validate;

    /// Nothing was recorded of Calico's: the rules and their words are those of its sources.
    #[test]
    fn rules() {
        let refused = |spec: serde_json::Value| {
            let document = json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
                "metadata": {"name": "n1-eth0"}, "spec": spec});
            let endpoint = decode_document(document).unwrap().remove(0);
            let refused = validate::create(&endpoint, Vec::new(), Backend::Etcd);
            refused.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let port = |port: serde_json::Value| json!({"node": "n1", "interfaceName": "*", "ports": [port]});
        for (spec, error) in [
            (json!({"node": "n1", "interfaceName": "eth0"}), ""),
            (json!({"node": "n1", "expectedIPs": ["10.0.0.1", "fd00::1"], "profiles": ["a.b"]}), ""),
            (port(json!({"name": "http", "protocol": "TCP", "port": 80})), ""),
            (port(json!({"name": "http", "protocol": 17, "port": 80})), ""),
            (
                json!({"node": "n1"}),
                "error with field spec (at least one of interfaceName or expectedIPs must be specified)",
            ),
            (json!({"interfaceName": "eth0"}), "error with field spec (node must be specified)"),
            (
                json!({"node": "N_1", "interfaceName": "eth0"}),
                "error with field Node = 'N_1' (Reason: failed to validate Field: Node because of Tag: name )",
            ),
            (
                json!({"node": "n1", "interfaceName": "much-too-long-a-name"}),
                "error with field InterfaceName = 'much-too-long-a-name' (Reason: failed to validate Field: InterfaceName because of Tag: interface )",
            ),
            (
                json!({"node": "n1", "expectedIPs": ["10.0.0.0/24"]}),
                "error with field ExpectedIPs[0] = '10.0.0.0/24' (Reason: failed to validate Field: ExpectedIPs[0] because of Tag: ip )",
            ),
            (
                port(json!({"name": "http", "protocol": "ICMP", "port": 80})),
                "error with field EndpointPort.Protocol = 'ICMP' (EndpointPort protocol does not support ports.)",
            ),
            (
                port(json!({"protocol": "TCP", "port": 80})),
                "error with field Name = '' (Reason: failed to validate Field: Name because of Tag: portName )",
            ),
            (
                port(json!({"name": "http", "protocol": "TCP"})),
                "error with the following fields:\n\
                 -  Port = '0' (Reason: failed to validate Field: Port because of Tag: gt )\n\
                 -  spec.ports[0].port (spec.ports[0].port in body should be greater than or equal to 1)\n",
            ),
        ] {
            assert_eq!(refused(spec), error);
        }
    }
}
