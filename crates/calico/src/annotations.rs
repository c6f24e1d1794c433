//! The annotations of a pod and of its namespace that change how the pod is attached
//! (`cni-plugin/pkg/k8s/k8s.go`).

use std::net::IpAddr;

use api::Cidr;
use api::cidr::parse_addr;
use api::fault::short;
use api::near::nearest;
use cni::CniError;
use dataplane::Mac;
use golang::json::{scanner, type_name as json_type};
use serde_json::Value as Json;

/// The beginning of the names of all these annotations.
pub const PREFIX: &str = "cni.projectcalico.org/";

/// What may stand in `ipFamilies`.
const FAMILIES: &str = r#"write ["IPv4"], ["IPv6"], or both: ["IPv4", "IPv6"]"#;
/// The most bytes of an annotation's value that a message shows.
const LONGEST_VALUE: usize = 100;

/// The annotations of a pod or a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Annotations<'a> {
    metadata: &'a Json,
}

impl<'a> Annotations<'a> {
    /// The annotations of this object.
    pub fn of(object: &'a Json) -> Annotations<'a> {
        Annotations { metadata: &object["metadata"] }
    }

    /// The value of `cni.projectcalico.org/<name>`; `None` where it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let value = self.metadata["annotations"].get(format!("{PREFIX}{name}"))?.as_str()?;
        (!value.is_empty()).then_some(value)
    }

    /// The error about an annotation's value: in Calico's words, with the annotation, its value and the
    /// remedy as details.
    pub fn odd(&self, name: &str, words: impl Into<String>, remedy: &str) -> CniError {
        let value = short(self.get(name).unwrap_or_default(), LONGEST_VALUE);
        CniError::internal(words.into()).with(format!("{} is {value:?}: {remedy}", self.title(name)))
    }

    /// The annotation's name and the object that has it, for messages.
    pub fn title(&self, name: &str) -> String {
        let text = |field: &str| self.metadata[field].as_str().unwrap_or_default();
        let of = match text("namespace") {
            "" => text("name").to_string(),
            namespace => format!("{namespace}/{}", text("name")),
        };
        format!("the annotation {PREFIX}{name} of {of}")
    }
}

/// What annotations want calico-ipam to do, in place of what the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// The IPv4 pools, in place of `ipam.ipv4_pools`.
    pub v4: Option<Vec<String>>,
    /// The IPv6 pools, in place of `ipam.ipv6_pools`.
    pub v6: Option<Vec<String>>,
    /// Whether to assign IPv4 and IPv6 addresses, in place of `ipam.assign_ipv4` and `ipam.assign_ipv6`.
    pub families: Option<(bool, bool)>,
}

impl Pools {
    /// Reads the annotations of pod and namespace. Where both have the same annotation, the pod's counts.
    ///
    /// # Errors
    /// Code 999 for a value that is no list of texts, in Go's words, and for an unknown address family; the
    /// details name the annotation, its value, and what to write.
    pub fn of(pod: Annotations<'_>, namespace: Annotations<'_>) -> Result<Pools, CniError> {
        let list = |name: &str| -> Result<Option<Vec<String>>, CniError> {
            let of = if pod.get(name).is_some() { pod } else { namespace };
            let Some(text) = of.get(name) else { return Ok(None) };
            let remedy = || match name {
                "ipFamilies" => FAMILIES.to_string(),
                _ => format!("write {}", as_list(text)),
            };
            texts(text).map(Some).map_err(|error| of.odd(name, error, &remedy()))
        };
        let (v4, v6, families) = (list("ipv4pools")?, list("ipv6pools")?, list("ipFamilies")?);
        let read = |families: Vec<String>| {
            read_families(&families).ok_or_else(|| {
                let of = if pod.get("ipFamilies").is_some() { pod } else { namespace };
                let text = of.get("ipFamilies").unwrap_or_default();
                of.odd("ipFamilies", format!("error parsing ipFamilies: {text}"), FAMILIES)
            })
        };
        Ok(Pools { v4, v6, families: families.map(read).transpose()? })
    }

    /// Whether no annotation asks for anything.
    pub fn is_empty(&self) -> bool {
        *self == Pools::default()
    }

    /// Changes the configuration that calico-ipam gets.
    ///
    /// # Errors
    /// When the configuration has no `ipam` to change.
    pub fn apply(&self, configuration: &mut Json) -> Result<(), String> {
        let Some(Json::Object(ipam)) = configuration.get_mut("ipam") else {
            return Err("data on stdin was of unexpected type".to_string());
        };
        for (field, pools) in [("ipv4_pools", &self.v4), ("ipv6_pools", &self.v6)] {
            if let Some(pools) = pools {
                ipam.insert(field.to_string(), pools.as_slice().into());
            }
        }
        if let Some((v4, v6)) = self.families {
            ipam.insert("assign_ipv4".to_string(), v4.to_string().into());
            ipam.insert("assign_ipv6".to_string(), v6.to_string().into());
        }
        Ok(())
    }
}

/// Whether the families are wanted; `None` where one of them is unknown.
fn read_families(families: &[String]) -> Option<(bool, bool)> {
    let has = |name: &str| families.iter().any(|family| family == name);
    let are_known = families.iter().all(|family| family == "IPv4" || family == "IPv6");
    are_known.then(|| (has("IPv4"), has("IPv6")))
}

/// The JSON list that somebody meant who wrote this text: its words, without quotes, brackets and commas.
fn as_list(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || "[]{}()'\",".contains(c));
    let list = Json::from(words.filter(|word| !word.is_empty()).collect::<Vec<_>>()).to_string();
    short(&list, LONGEST_VALUE)
}

/// Where a pod's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The IPAM plugin chooses the addresses.
    Chosen,
    /// `ipAddrs`: the IPAM plugin is asked for each of these addresses.
    Named(Vec<IpAddr>),
    /// `ipAddrsNoIpam`: these addresses are used, and nobody records them.
    Fixed(Vec<IpAddr>),
}

impl Source {
    /// Reads the pod's annotations. `may_bypass` is whether the configuration allows `ipAddrsNoIpam`.
    ///
    /// # Errors
    /// For both annotations at once, for one that the IPAM plugin or the configuration does not allow, for
    /// values that are no addresses, and for more than one address of a family. The details name the
    /// annotation, its value, and what to write.
    pub fn of(pod: Annotations<'_>, ipam: &str, may_bypass: bool) -> Result<Source, CniError> {
        let compatible = |name: &str| match ipam {
            "calico-ipam" => Ok(()),
            other => {
                let words = format!("{name} is not compatible with configured IPAM: {other}");
                Err(pod.odd(name, words, "remove it, or let ipam.type be calico-ipam"))
            }
        };
        let listed = |name: &str, text: &str| {
            let remedy = r#"write an address, or one of each family: ["192.0.2.7", "2001:db8::7"]"#;
            addresses(name, text).map_err(|words| pod.odd(name, words, remedy))
        };
        match (pod.get("ipAddrs"), pod.get("ipAddrsNoIpam")) {
            (None, None) => Ok(Source::Chosen),
            (Some(_), Some(_)) => {
                let words =
                    "can't have both annotations: 'ipAddrs' and 'ipAddrsNoIpam' in use at the same time";
                Err(pod.odd("ipAddrsNoIpam", words, "remove one of the two"))
            }
            (Some(text), None) => {
                compatible("ipAddrs")?;
                listed("ipAddrs", text).map(Source::Named)
            }
            (None, Some(text)) => {
                compatible("ipAddrsNoIpam")?;
                if !may_bypass {
                    let words = "requested feature is not enabled: ip_addrs_no_ipam";
                    let remedy = "remove it; or an administrator sets feature_control.ip_addrs_no_ipam";
                    return Err(pod.odd("ipAddrsNoIpam", words, remedy));
                }
                listed("ipAddrsNoIpam", text).map(Source::Fixed)
            }
        }
    }
}

fn addresses(name: &str, text: &str) -> Result<Vec<IpAddr>, String> {
    let name = format!("{PREFIX}{name}");
    let listed = ip_texts(text)
        .map_err(|error| format!("failed to parse IPs {text} for annotation \"{name}\": {error}"))?;
    if listed.is_empty() {
        return Err(format!("annotation \"{name}\" specified but empty"));
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for text in listed {
        let addr = parse_addr(&text).ok_or_else(|| format!("invalid IP format: {text}"))?;
        if found.iter().any(|other| other.is_ipv4() == addr.is_ipv4()) {
            let family = if addr.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!("cannot have more than one {family} address for \"{name}\" annotation"));
        }
        found.push(addr);
    }
    Ok(found)
}

/// Checks `allowedSourcePrefixes`: the networks from whose addresses the pod may send, besides its own. The
/// endpoint, not this function, gives the networks.
///
/// # Errors
/// When the value is no list of networks.
pub fn check_source_prefixes(pod: Annotations<'_>) -> Result<(), String> {
    const NAME: &str = "allowedSourcePrefixes";
    let Some(text) = pod.get(NAME) else { return Ok(()) };
    let (title, remedy) = (pod.title(NAME), r#"write a list such as ["192.0.2.0/24"]"#);
    let listed = ip_texts(text).map_err(|error| format!("{error} ({title}: {remedy})"))?;
    let is_network = |text: &str| text.parse::<Cidr>().is_ok() || parse_addr(text).is_some();
    match listed.iter().find(|text| !is_network(text)) {
        None => Ok(()),
        Some(wrong) => Err(format!(
            "failed to parse '{wrong}' as a CIDR: invalid CIDR address: {wrong} ({title}: {remedy})"
        )),
    }
}

/// Annotations of the pod or its namespace that nobody knows, and that are like one that this plugin reads: a
/// line each, for the log.
pub fn misspelt(pod: Annotations<'_>, namespace: Annotations<'_>) -> Vec<String> {
    let of = |from: Annotations<'_>| -> Vec<String> {
        let all = from.metadata["annotations"].as_object().into_iter().flatten();
        let ours = all.filter_map(|(name, _)| name.strip_prefix(PREFIX));
        let unknown = ours.filter(|name| !READ.contains(name) && !WRITTEN.contains(name));
        let near = unknown.filter_map(|name| Some((name, nearest(name, READ)?)));
        near.map(|(name, near)| {
            format!("{} is not known, and has no effect: was {near} meant?", from.title(name))
        })
        .collect()
    };
    [of(pod), of(namespace)].concat()
}

/// The annotations that this plugin reads.
const READ: [&str; 8] = [
    "ipv4pools",
    "ipv6pools",
    "ipFamilies",
    "ipAddrs",
    "ipAddrsNoIpam",
    "floatingIPs",
    "hwAddr",
    "allowedSourcePrefixes",
];
/// The annotations that this plugin writes.
const WRITTEN: [&str; 3] = ["containerID", "podIP", "podIPs"];

/// The names of those annotations about pools and families that the IPAM plugin ignores.
pub fn unused(pod: Annotations<'_>, namespace: Annotations<'_>, ipam: &str) -> Vec<String> {
    if ipam == "calico-ipam" {
        return Vec::new();
    }
    let of = |from: Annotations<'_>| {
        let names = ["ipv4pools", "ipv6pools", "ipFamilies"].into_iter();
        names.filter(|name| from.get(name).is_some()).map(|name| from.title(name)).collect::<Vec<_>>()
    };
    [of(pod), of(namespace)].concat()
}

/// The hardware address for the container's side of the pair: `hwAddr`.
///
/// # Errors
/// When the value is no address of six bytes; the details name the annotation.
pub fn hardware_address(pod: Annotations<'_>) -> Result<Option<Mac>, CniError> {
    const NAME: &str = "hwAddr";
    let read = pod.get(NAME).map(parse_mac).transpose();
    read.map_err(|words| pod.odd(NAME, words, "write six bytes such as 02:00:00:00:00:07"))
}

/// Reads a hardware address of six bytes, with colons or dashes.
///
/// # Errors
/// When the text is no such address.
pub fn parse_mac(text: &str) -> Result<Mac, String> {
    api::mac::parse(text).map(Mac).ok_or_else(|| format!("address {text}: invalid MAC address"))
}

/// The texts of a JSON list of addresses; the addresses themselves are not checked.
///
/// # Errors
/// When the text is no list of texts, in Calico's words.
pub fn ip_texts(text: &str) -> Result<Vec<String>, String> {
    texts(text).map_err(|error| format!("failed to parse '{text}' as JSON: {error}"))
}

/// The texts of a JSON list, read as Go reads it.
fn texts(text: &str) -> Result<Vec<String>, String> {
    scanner::check(text.as_bytes())?;
    let wrong = |value: &Json, wanted: &str| {
        format!("json: cannot unmarshal {} into Go value of type {wanted}", json_type(value))
    };
    match serde_json::from_str::<Json>(text).map_err(|error| error.to_string())? {
        Json::Null => Ok(Vec::new()),
        Json::Array(items) => {
            let item = |item: Json| match item {
                Json::String(text) => Ok(text),
                Json::Null => Ok(String::new()),
                other => Err(wrong(&other, "string")),
            };
            items.into_iter().map(item).collect()
        }
        other => Err(wrong(&other, "[]string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(annotations: &[(&str, &str)]) -> Json {
        let all: serde_json::Map<_, _> =
            annotations.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).into())).collect();
        json!({"metadata": {"annotations": all}})
    }

    /// The error for a value that is no JSON was recorded from Calico.
    #[test]
    fn pools_of_pod_and_namespace() {
        let pools = |pod: &[(&str, &str)], namespace: &[(&str, &str)]| {
            Pools::of(Annotations::of(&object(pod)), Annotations::of(&object(namespace)))
        };
        assert!(pools(&[], &[("ipAddrs", "[]")]).unwrap().is_empty());
        let both =
            pools(&[("ipv4pools", r#"["a"]"#)], &[("ipv4pools", r#"["b"]"#), ("ipv6pools", r#"["c"]"#)]);
        let both = both.unwrap();
        assert_eq!((both.v4, both.v6), (Some(vec!["a".to_string()]), Some(vec!["c".to_string()])));
        assert_eq!(pools(&[("ipFamilies", r#"["IPv6"]"#)], &[]).unwrap().families, Some((false, true)));
        for (name, value, wanted) in [
            ("ipv4pools", "pool-b", "invalid character 'p' looking for beginning of value"),
            ("ipv4pools", r#""a""#, "json: cannot unmarshal string into Go value of type []string"),
            ("ipv6pools", "[1]", "json: cannot unmarshal number into Go value of type string"),
            ("ipFamilies", r#"["IPv5"]"#, r#"error parsing ipFamilies: ["IPv5"]"#),
        ] {
            assert_eq!(pools(&[(name, value)], &[]).unwrap_err().msg, wanted, "{name} {value}");
        }
    }

    /// From what users report that they wrote.
    #[test]
    fn an_odd_value_is_told_with_its_annotation_and_a_remedy() {
        let pod = |value: &str| {
            json!({"metadata": {"namespace": "default", "name": "p1",
            "annotations": {"cni.projectcalico.org/ipv4pools": value}}})
        };
        let nothing = Json::Null;
        let long = "x".repeat(4000);
        for (value, wanted) in [
            ("new-pool2", r#"is "new-pool2": write ["new-pool2"]"#),
            ("['new-pool2']", r#"is "['new-pool2']": write ["new-pool2"]"#),
            ("[a, b]", r#"is "[a, b]": write ["a","b"]"#),
        ] {
            let error = Pools::of(Annotations::of(&pod(value)), Annotations::of(&nothing)).unwrap_err();
            let title = "the annotation cni.projectcalico.org/ipv4pools of default/p1";
            assert_eq!(error.details, format!("{title} {wanted}"));
        }
        // A namespace's annotation is named as the namespace's.
        let namespace = json!({"metadata": {"name": "default", "annotations": {"cni.projectcalico.org/ipFamilies": r#"["v6"]"#}}});
        let error = Pools::of(Annotations::of(&nothing), Annotations::of(&namespace)).unwrap_err();
        assert!(
            error.details.starts_with("the annotation cni.projectcalico.org/ipFamilies of default is "),
            "{error:?}"
        );
        let error = Pools::of(Annotations::of(&pod(&long)), Annotations::of(&nothing)).unwrap_err();
        assert!(error.details.len() < 400, "{}", error.details.len());
    }

    #[test]
    fn names_that_are_nearly_known_are_told() {
        let of = |names: &[&str]| {
            let object = object(&names.iter().map(|name| (*name, "x")).collect::<Vec<_>>());
            misspelt(Annotations::of(&object), Annotations::of(&Json::Null))
        };
        for (name, near) in [("ipv4Pools", "ipv4pools"), ("ipv4pool", "ipv4pools"), ("ipAddr", "ipAddrs")] {
            let told = of(&[name]);
            assert!(told.len() == 1 && told[0].contains(&format!("was {near} meant?")), "{name}: {told:?}");
        }
        assert_eq!(
            of(&["ipAddrs", "podIP", "podIPs", "containerID", "vpp/anything", "wholly-other"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_configuration_is_changed() {
        let pools = Pools { v4: Some(vec!["a".to_string()]), v6: None, families: Some((true, false)) };
        let mut configuration = json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["x"], "other": 1}});
        pools.apply(&mut configuration).unwrap();
        let ipam = json!({"type": "calico-ipam", "ipv4_pools": ["a"], "other": 1, "assign_ipv4": "true", "assign_ipv6": "false"});
        assert_eq!(configuration["ipam"], ipam);
        assert!(pools.apply(&mut json!({"ipam": []})).is_err());
    }

    #[test]
    fn where_addresses_come_from() {
        let source = |annotations: &[(&str, &str)], ipam: &str, may_bypass| {
            Source::of(Annotations::of(&object(annotations)), ipam, may_bypass)
        };
        let both = ["10.0.0.1", "fd00::1"].map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
        let list = r#"["10.0.0.1","fd00::1"]"#;
        assert_eq!(source(&[], "host-local", false), Ok(Source::Chosen));
        assert_eq!(source(&[("ipAddrs", list)], "calico-ipam", false), Ok(Source::Named(both.clone())));
        assert_eq!(source(&[("ipAddrsNoIpam", list)], "calico-ipam", true), Ok(Source::Fixed(both)));
        let no = |annotations: &[(&str, &str)], ipam: &str, wanted: &str| {
            let error = source(annotations, ipam, false).unwrap_err();
            assert!(error.msg.contains(wanted) && error.details.contains("ipAddrs"), "{error:?}");
        };
        no(&[("ipAddrs", list)], "host-local", "ipAddrs is not compatible with configured IPAM: host-local");
        no(&[("ipAddrsNoIpam", list)], "calico-ipam", "not enabled: ip_addrs_no_ipam");
        no(&[("ipAddrs", list), ("ipAddrsNoIpam", list)], "calico-ipam", "at the same time");
        no(&[("ipAddrs", "[]")], "calico-ipam", "specified but empty");
        no(&[("ipAddrs", r#"["10.0.0.1","10.0.0.2"]"#)], "calico-ipam", "more than one IPv4 address");
        no(&[("ipAddrs", r#"["10.0.0.300"]"#)], "calico-ipam", "invalid IP format: 10.0.0.300");
    }

    #[test]
    fn source_prefixes_that_cannot_be_used() {
        let check = |value: &str| {
            check_source_prefixes(Annotations::of(&object(&[("allowedSourcePrefixes", value)])))
        };
        assert_eq!((check(""), check("[]"), check(r#"["10.0.0.0/8","fd00::1"]"#)), (Ok(()), Ok(()), Ok(())));
        for (value, wanted) in [
            ("10.0.0.0/8", "failed to parse '10.0.0.0/8' as JSON: "),
            (
                r#"["10.0.0.0/8","x"]"#,
                "failed to parse 'x' as a CIDR: invalid CIDR address: x (the annotation cni.",
            ),
            (r#"["10.0.0.0/33"]"#, "failed to parse '10.0.0.0/33' as a CIDR"),
        ] {
            let error = check(value).unwrap_err();
            assert!(error.starts_with(wanted) && error.contains("allowedSourcePrefixes"), "{error}");
        }
    }

    #[test]
    fn annotations_that_nobody_looks_at() {
        let (pod, namespace) = (object(&[("ipv4pools", "[]")]), object(&[("ipFamilies", "[]")]));
        let unused = |ipam: &str| unused(Annotations::of(&pod), Annotations::of(&namespace), ipam);
        assert_eq!((unused("calico-ipam").len(), unused("host-local").len()), (0, 2));
    }

    #[test]
    fn hardware_addresses() {
        assert_eq!(parse_mac("1c:0c:0a:c0:ff:ee"), Ok(Mac([0x1c, 0x0c, 0x0a, 0xc0, 0xff, 0xee])));
        assert!(parse_mac("1c:0c:0a:c0:ff").is_err());
    }

    /// Every annotation that is read refuses every value that it cannot use; a pool's name is looked up
    /// later.
    #[test]
    fn no_annotation_takes_what_it_cannot_use() {
        let refuses = |name: &str, value: &str| {
            let (object, nothing) = (object(&[(name, value)]), Json::Null);
            let pod = Annotations::of(&object);
            [
                Pools::of(pod, Annotations::of(&nothing)).is_err(),
                Source::of(pod, "calico-ipam", true).is_err(),
                crate::floating::floating(pod, true).is_err(),
                check_source_prefixes(pod).is_err(),
                hardware_address(pod).is_err(),
            ]
            .contains(&true)
        };
        for name in READ {
            for value in ["?! x", "true", "1", "{}", "[1]", r#"[["a"]]"#, r#"{"a": "b"}"#, "[", "null x"] {
                assert!(refuses(name, value), "{name}: {value}");
            }
            let is_of_pools = name.ends_with("pools");
            assert!(is_of_pools || refuses(name, r#"["?! x"]"#), "{name}");
        }
    }
}
