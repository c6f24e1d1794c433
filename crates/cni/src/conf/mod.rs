//! The network configuration that a plugin reads from its standard input. It may hold tokens, so none of it
//! is ever printed.

mod odd;
mod schema;

use serde_json::{Map, Value as Json};

use crate::error::CniError;

/// The versions of the CNI protocol that a configuration may name, oldest first.
pub const VERSIONS: [&str; 6] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// A configuration that has passed the protocol's first checks: it is JSON, and the network has a valid name.
pub struct Document {
    json: Json,
    name: String,
}

impl Document {
    /// Reads the text. Bytes that are not UTF-8 become U+FFFD, as in Go.
    ///
    /// # Errors
    /// Code 6 if the text is no JSON or the name is no text, code 7 if the name is missing or invalid.
    pub fn parse(stdin: &[u8]) -> Result<Document, CniError> {
        let decoding =
            |e: String| CniError::new(CniError::DECODING, format!("error unmarshall network config: {e}"));
        golang::json::scanner::check(stdin).map_err(decoding)?;
        let json: Json =
            serde_json::from_str(&String::from_utf8_lossy(stdin)).map_err(|e| decoding(e.to_string()))?;
        let found = schema::conform(&json, &schema::NAME_ONLY).map_err(decoding)?;
        let name = text(&found, "name").to_string();
        if name.is_empty() {
            return Err(CniError::new(CniError::NETWORK, "missing network name"));
        }
        if !is_name(&name) {
            return Err(
                CniError::new(CniError::NETWORK, "invalid characters found in network name").with(name)
            );
        }
        Ok(Document { json, name })
    }

    /// The whole configuration, as it was written.
    pub fn json(&self) -> &Json {
        &self.json
    }

    /// The protocol's version in which the configuration is written; `0.1.0` where it names none.
    ///
    /// # Errors
    /// Code 6 if the version is no text.
    pub fn version(&self) -> Result<String, CniError> {
        let found = schema::conform(&self.json, &schema::VERSION_ONLY).map_err(|e| {
            CniError::new(CniError::DECODING, format!("decoding version from network config: {e}"))
        })?;
        let version = text(&found, "cniVersion");
        Ok(if version.is_empty() { "0.1.0" } else { version }.to_string())
    }

    /// The configuration with the types of its fields checked.
    ///
    /// # Errors
    /// Code 999 for fields of a wrong type.
    pub fn conf(&self) -> Result<Conf, CniError> {
        let fields = schema::conform(&self.json, &schema::NET_CONF)
            .map_err(|e| CniError::internal(format!("failed to load netconf: {e}")))?;
        let misspelt = odd::misspelt(&self.json);
        Ok(Conf { name: self.name.clone(), fields: Json::Object(fields), misspelt })
    }
}

/// The fields that a configuration may have: the path of each, and what its value is.
pub fn fields() -> Vec<(String, &'static str)> {
    schema::paths(&schema::NET_CONF)
}

fn text<'m>(map: &'m Map<String, Json>, field: &str) -> &'m str {
    map.get(field).and_then(Json::as_str).unwrap_or_default()
}

/// Whether a text is a valid name of a network or container: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// The network configuration, with the types of its fields checked.
pub struct Conf {
    name: String,
    fields: Json,
    /// Names that are not known, with what was perhaps meant.
    misspelt: Vec<(String, &'static str)>,
}

impl Conf {
    /// The name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All fields, for code that reads settings of its own from them, such as those of the datastore.
    pub fn fields(&self) -> &Json {
        &self.fields
    }

    /// A text field by its path; `None` where it is missing or empty.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str().filter(|text| !text.is_empty())
    }

    /// A boolean field by its path; false where it is missing.
    pub fn flag(&self, path: &[&str]) -> bool {
        self.at(path) == Some(&Json::Bool(true))
    }

    /// A number by its path; 0 where it is missing.
    pub fn number(&self, path: &[&str]) -> i64 {
        self.at(path).and_then(Json::as_i64).unwrap_or_default()
    }

    /// A list of texts by its path; empty where it is missing.
    pub fn texts(&self, path: &[&str]) -> Vec<&str> {
        let list = self.at(path).and_then(Json::as_array);
        list.into_iter().flatten().filter_map(Json::as_str).collect()
    }

    /// A field of any type by its path; `None` where it is missing.
    pub fn any(&self, path: &[&str]) -> Option<&Json> {
        self.at(path)
    }

    fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(&self.fields, |at, step| at.get(*step))
    }

    /// Whether the container gets an IPv4 address: always, unless `assign_ipv4` is the text `false`.
    pub fn wants_v4(&self) -> bool {
        self.text(&["ipam", "assign_ipv4"]) != Some("false")
    }

    /// Whether the container gets an IPv6 address: only if `assign_ipv6` is the text `true`.
    pub fn wants_v6(&self) -> bool {
        self.text(&["ipam", "assign_ipv6"]) == Some("true")
    }

    /// The pools from which the address is to come, as CIDRs or names. `field` is `ipv4_pools` or
    /// `ipv6_pools`.
    pub fn pools(&self, field: &str) -> Vec<&str> {
        self.texts(&["ipam", field])
    }

    /// Whether a Windows node has one network for all its pods, and so only one block.
    pub fn is_single_network(&self) -> bool {
        self.flag(&["windows_use_single_network"])
    }

    /// Whether the configuration has settings with which Kubernetes could be asked for a namespace's labels.
    pub fn names_kubernetes(&self) -> bool {
        self.text(&["policy", "type"]) == Some("k8s") || self.text(&["kubernetes", "kubeconfig"]).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Conf {
        Document::parse(text.as_bytes()).unwrap().conf().unwrap()
    }

    #[test]
    fn families() {
        let rows = [
            (r#"{"name":"n"}"#, true, false),
            (r#"{"name":"n","ipam":{"assign_ipv4":"false","assign_ipv6":"true"}}"#, false, true),
            (r#"{"name":"n","ipam":{"assign_ipv4":"False","assign_ipv6":"True"}}"#, true, false),
            (r#"{"name":"n","ipam":{"assign_ipv4":"","assign_ipv6":""}}"#, true, false),
        ];
        for (text, v4, v6) in rows {
            let conf = conf(text);
            assert_eq!((conf.wants_v4(), conf.wants_v6()), (v4, v6), "{text}");
        }
    }

    #[test]
    fn fields_are_found() {
        let conf = conf(
            r#"{"name":"n","nodename":"x","policy":{"type":"k8s"},"ipam":{"ipv6_pools":["a","b"]},"windows_use_single_network":true}"#,
        );
        assert_eq!((conf.name(), conf.text(&["nodename"]), conf.text(&["hostname"])), ("n", Some("x"), None));
        assert_eq!(conf.pools("ipv6_pools"), ["a", "b"]);
        assert!(conf.pools("ipv4_pools").is_empty() && conf.is_single_network() && conf.names_kubernetes());
    }

    #[test]
    fn the_version() {
        let version = |text: &str| Document::parse(text.as_bytes()).unwrap().version().unwrap();
        assert_eq!(version(r#"{"name":"n"}"#), "0.1.0");
        assert_eq!(version(r#"{"name":"n","cniVersion":"1.0.0"}"#), "1.0.0");
    }

    #[test]
    fn bytes_that_are_no_text_are_read_all_the_same() {
        let document = Document::parse(b"{\"name\":\"n\",\"nodename\":\"\xff\"}").unwrap();
        assert_eq!(document.conf().unwrap().text(&["nodename"]), Some("\u{fffd}"));
    }
}
