//! What a WorkloadEndpoint says of itself, however it is written: the one reader for everything that decides
//! by it whether an address is in use.

use std::net::IpAddr;

use serde_json::Value as Json;

use crate::cidr::parse_addr_of;
use crate::document::Document;

/// The addresses of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The addresses of `spec.ipNetworks`, in order.
    pub addresses: Vec<IpAddr>,
    /// What cannot be read as an address: the field, and its JSON. Nobody knows which addresses an endpoint
    /// has of which this is not empty.
    pub odd: Vec<(&'static str, String)>,
}

/// Reads the addresses of an endpoint. Names of fields are matched in any case, as Go matches them; where a
/// field is there twice, both count.
pub fn addresses(endpoint: &Document) -> Addresses {
    const FIELD: &str = "spec.ipNetworks";
    let mut read = Addresses::default();
    for spec in fields(endpoint.body(), "spec") {
        let spec = match spec {
            Json::Object(spec) => spec,
            other => {
                read.odd.push(("spec", other.to_string()));
                continue;
            }
        };
        for networks in fields(spec, "ipNetworks") {
            match networks {
                Json::Array(networks) => {
                    for network in networks {
                        match network.as_str().and_then(parse_addr_of) {
                            Some(addr) => read.addresses.push(addr),
                            None => read.odd.push((FIELD, network.to_string())),
                        }
                    }
                }
                Json::Null => {}
                other => read.odd.push((FIELD, other.to_string())),
            }
        }
    }
    read
}

/// The node of an endpoint, with the field's name in any case; `None` where it names none.
pub fn node(endpoint: &Document) -> Option<&str> {
    let specs = fields(endpoint.body(), "spec").filter_map(Json::as_object);
    specs.flat_map(|spec| fields(spec, "node")).filter_map(Json::as_str).rfind(|node| !node.is_empty())
}

fn fields<'j>(
    of: &'j serde_json::Map<String, Json>,
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'j Json> {
    of.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(json: Json) -> Document {
        Document::from_json(json).unwrap()
    }

    #[test]
    fn every_spelling_that_go_reads_counts() {
        let endpoint = of(json!({"SPEC": {
            "Node": "n1", "IPNetworks": ["10.0.0.1/32", "fd00::1"], "ipnetworks": ["10.0.0.2"],
        }}));
        let read = addresses(&endpoint);
        let texts: Vec<String> = read.addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(texts, ["10.0.0.1", "fd00::1", "10.0.0.2"]);
        assert!(read.odd.is_empty());
        assert_eq!(node(&endpoint), Some("n1"));
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (spec, odd) in [
            (json!("none"), ("spec", "\"none\"")),
            (Json::Null, ("spec", "null")),
            (json!({"ipNetworks": "10.0.0.1"}), ("spec.ipNetworks", "\"10.0.0.1\"")),
            (json!({"ipNetworks": {"0": "10.0.0.1"}}), ("spec.ipNetworks", r#"{"0":"10.0.0.1"}"#)),
            (json!({"ipNetworks": [7]}), ("spec.ipNetworks", "7")),
            (json!({"ipNetworks": ["10.0.0.1/32", "10.0.0.256"]}), ("spec.ipNetworks", "\"10.0.0.256\"")),
        ] {
            let read = addresses(&of(json!({"spec": spec})));
            assert_eq!(read.odd, [(odd.0, odd.1.to_string())]);
        }
        assert_eq!(addresses(&of(json!({"spec": {"ipNetworks": null}}))), Addresses::default());
        assert_eq!(addresses(&of(json!({}))), Addresses::default());
    }
}
