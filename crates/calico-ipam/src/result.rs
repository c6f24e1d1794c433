//! The result of an ADD, in the version of the configuration.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use cni::error::CniError;

/// An address with the prefix length to show: that of its block, or all of its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The address.
    pub addr: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// The result object. For every address there is a route to it, spelled as the address with its prefix, host bits and all.
///
/// # Errors
/// The versions 0.1.0 and 0.2.0 have no spelling for "no address".
pub fn to_json(version: &str, given: &[Given]) -> Result<Json, CniError> {
    let mut result = Map::new();
    result.insert("cniVersion".to_string(), version.into());
    if matches!(version, "0.1.0" | "0.2.0") {
        if given.is_empty() {
            return Err(CniError::internal("cannot convert: no valid IP addresses"));
        }
        for (field, v4) in [("ip4", true), ("ip6", false)] {
            let of_family: Vec<_> = given.iter().filter(|given| given.addr.is_ipv4() == v4).collect();
            let routes: Vec<_> = of_family.iter().map(|given| json!({"dst": given.to_string()})).collect();
            if let Some(first) = of_family.first() {
                result.insert(field.to_string(), json!({"ip": first.to_string(), "routes": routes}));
            }
        }
    } else if !given.is_empty() {
        let ips = given.iter().map(|given| {
            let mut ip = Map::new();
            if version != "1.0.0" {
                ip.insert("version".to_string(), if given.addr.is_ipv4() { "4" } else { "6" }.into());
            }
            ip.insert("address".to_string(), given.to_string().into());
            Json::Object(ip)
        });
        result.insert("ips".to_string(), ips.collect());
        let routes = given.iter().map(|given| json!({"dst": given.to_string()}));
        result.insert("routes".to_string(), routes.collect());
    }
    if version != "1.0.0" {
        result.insert("dns".to_string(), json!({}));
    }
    Ok(Json::Object(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Given {
        let (addr, prefix) = text.split_once('/').unwrap();
        Given { addr: addr.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn by_version() {
        let both = [given("10.0.0.5/26"), given("fd00::5/122")];
        let routes = json!([{"dst": "10.0.0.5/26"}, {"dst": "fd00::5/122"}]);
        let old = json!({
            "ip4": {"ip": "10.0.0.5/26", "routes": [{"dst": "10.0.0.5/26"}]},
            "ip6": {"ip": "fd00::5/122", "routes": [{"dst": "fd00::5/122"}]},
            "dns": {}
        });
        let middle = json!({
            "ips": [{"version": "4", "address": "10.0.0.5/26"}, {"version": "6", "address": "fd00::5/122"}],
            "routes": routes, "dns": {}
        });
        let new = json!({"ips": [{"address": "10.0.0.5/26"}, {"address": "fd00::5/122"}], "routes": routes});
        let rows = [
            ("0.1.0", &old),
            ("0.2.0", &old),
            ("0.3.0", &middle),
            ("0.3.1", &middle),
            ("0.4.0", &middle),
            ("1.0.0", &new),
        ];
        for (version, wanted) in rows {
            let mut wanted = wanted.clone();
            wanted["cniVersion"] = version.into();
            assert_eq!(to_json(version, &both), Ok(wanted), "{version}");
        }
    }

    /// Recorded: "no family".
    #[test]
    fn without_addresses() {
        assert_eq!(to_json("0.1.0", &[]).unwrap_err().msg, "cannot convert: no valid IP addresses");
        assert_eq!(to_json("0.3.1", &[]), Ok(json!({"cniVersion": "0.3.1", "dns": {}})));
        assert_eq!(to_json("1.0.0", &[]), Ok(json!({"cniVersion": "1.0.0"})));
    }
}
