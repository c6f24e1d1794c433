//! Settings that have no effect although somebody wrote them: misspelt names, and values that no program
//! takes.

use api::crd::Group;
use api::near::nearest;
use serde_json::Value as Json;

use super::Conf;
use super::schema::{NET_CONF, Struct, Type};

/// Names that the protocol or the runtime has, and that may be like ours by chance.
const FOREIGN: [&str; 7] =
    ["capabilities", "runtimeConfig", "dns", "plugins", "disableCheck", "cniVersions", "ipMasq"];
/// The shortest name that is compared with ours: short names are like each other by chance.
const SHORTEST: usize = 5;

/// The names in the document that the struct does not have and that are like one that it has: the path of
/// each, with what was perhaps meant. What other IPAM plugins read is left out.
pub(super) fn misspelt(document: &Json) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    look(document, &NET_CONF, "", &mut found);
    found
}

fn look(document: &Json, of: &'static Struct, before: &str, found: &mut Vec<(String, &'static str)>) {
    for (key, value) in document.as_object().into_iter().flatten() {
        let known = of.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        match known {
            Some((name, Type::Struct(inner))) => {
                let is_anothers = *name == "ipam" && value["type"] != "calico-ipam";
                if !is_anothers {
                    look(value, inner, &format!("{before}{name}."), found);
                }
            }
            Some(_) => {}
            None if key.len() < SHORTEST || FOREIGN.contains(&key.as_str()) => {}
            None => {
                let near = nearest(key, of.fields.iter().map(|(name, _)| *name));
                found.extend(near.map(|near| (format!("{before}{key}"), near)));
            }
        }
    }
}

impl Conf {
    /// What stands in the configuration and has no effect, a line each, for the log.
    pub fn oddities(&self) -> Vec<String> {
        let misspelt = self.misspelt.iter().map(|(path, near)| {
            format!(
                "the network configuration's {path} is not known, and has no effect: did you mean {near}?"
            )
        });
        let mut odd: Vec<String> = misspelt.collect();
        let mut wrong = |field: &str, value: String, instead: &str| {
            odd.push(format!("the network configuration's {field} is {value}: {instead}"));
        };
        if let Some(level) = self.text(&["log_level"]) {
            let known = ["panic", "fatal", "error", "warn", "warning", "info", "debug"];
            if !known.contains(&level.to_ascii_lowercase().as_str()) {
                wrong(
                    "log_level",
                    format!("{level:?}"),
                    "the levels are debug, info and error, and it counts as error",
                );
            }
        }
        for field in ["log_file_max_size", "log_file_max_age", "log_file_max_count", "burst", "num_queues"] {
            if self.number(&[field]) < 0 {
                wrong(field, self.number(&[field]).to_string(), "a number below 0 counts as not set");
            }
        }
        for field in ["mode", "vxlan_mac_prefix"].into_iter().filter(|field| self.text(&[field]).is_some()) {
            wrong(field, "set".to_string(), "it counts on Windows only, and has no effect here");
        }
        if self.number(&["vxlan_vni"]) != 0 {
            wrong("vxlan_vni", "set".to_string(), "it counts on Windows only, and has no effect here");
        }
        if let Some(group) = self.text(&["calico_api_group"]) {
            let is_known =
                [Group::V1, Group::V3].iter().any(|known| known.api_version().eq_ignore_ascii_case(group));
            if !is_known {
                let taken = Group::from_setting(group).api_version();
                let known = format!(
                    "there are {} and {}, and it counts as {taken}",
                    Group::V1.api_version(),
                    Group::V3.api_version()
                );
                wrong("calico_api_group", format!("{group:?}"), &known);
            }
        }
        if self.text(&["datastore_type"]) == Some("embedded") {
            let of_etcd = ["etcd_endpoints", "etcd_authority", "etcd_discovery_srv", "etcd_scheme"];
            for field in of_etcd.into_iter().filter(|field| self.text(&[field]).is_some()) {
                wrong(field, "set".to_string(), "it has no effect, for datastore_type is embedded");
            }
        }
        odd
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;

    fn oddities(text: &str) -> Vec<String> {
        Document::parse(text.as_bytes()).unwrap().conf().unwrap().oddities()
    }

    #[test]
    fn what_has_no_effect_is_told() {
        for (text, wanted) in [
            (
                r#"{"name":"n","nodname":"x"}"#,
                "nodname is not known, and has no effect: did you mean nodename?",
            ),
            (r#"{"name":"n","ipam":{"type":"calico-ipam","ipv4_pool":[]}}"#, "ipam.ipv4_pool is not known"),
            (r#"{"name":"n","log_level":"loud"}"#, "log_level is \"loud\""),
            (r#"{"name":"n","burst":-1}"#, "burst is -1"),
            (r#"{"name":"n","num_queues":-1}"#, "num_queues is -1"),
            (r#"{"name":"n","mode":"vxlan"}"#, "mode is set: it counts on Windows only"),
            (r#"{"name":"n","vxlan_vni":4096}"#, "vxlan_vni is set"),
            (r#"{"name":"n","calico_api_group":"x"}"#, "it counts as crd.projectcalico.org/v1"),
            (
                r#"{"name":"n","datastore_type":"embedded","etcd_endpoints":"http://u:p@h:1"}"#,
                "etcd_endpoints is set",
            ),
        ] {
            let told = oddities(text);
            assert!(
                told.len() == 1 && told[0].contains(wanted) && !told[0].contains("u:p"),
                "{text}: {told:?}"
            );
        }
    }

    /// What the protocol, runtimes and other IPAM plugins have in a configuration.
    #[test]
    fn what_others_read_is_no_oddity() {
        for text in [
            r#"{"name":"n","cniVersion":"1.0.0","type":"calico","mtu":1500,"qps":-1,"log_level":"Info","capabilities":{},"runtimeConfig":{},"dns":{},
                "disableCheck":true,"prevResult":{},"colour":"x","calico_api_group":"projectcalico.org/v3"}"#,
            r#"{"name":"n","ipam":{"type":"host-local","ranges":[],"routes":[],"dataDir":"/x","subnets":"y"}}"#,
        ] {
            assert_eq!(oddities(text), Vec::<String>::new(), "{text}");
        }
    }
}
