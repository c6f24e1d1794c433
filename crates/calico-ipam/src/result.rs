//! The result of an ADD, in the configuration's version of the protocol.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use cni::error::CniError;

/// An address with the prefix length that the result shows: that of its block, or that of a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultAddress {
    /// The address.
    pub addr: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

/// For which addresses the result contains routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    /// A route to each address.
    Each,
    /// No routes.
    None,
}

impl std::fmt::Display for ResultAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// The result as a JSON object. The route to an address has the address itself as destination, with its
/// prefix length and its host bits.
///
/// # Errors
/// For the versions 0.1.0 and 0.2.0 where there are no addresses: these versions cannot express that.
pub fn to_json(version: &str, given: &[ResultAddress], routes: Routes) -> Result<Json, CniError> {
    let routes_to = |given: &[&ResultAddress]| -> Vec<Json> {
        match routes {
            Routes::Each => given.iter().map(|given| json!({"dst": given.to_string()})).collect(),
            Routes::None => Vec::new(),
        }
    };
    let mut result = Map::new();
    result.insert("cniVersion".to_string(), version.into());
    if matches!(version, "0.1.0" | "0.2.0") {
        if given.is_empty() {
            return Err(CniError::internal("cannot convert: no valid IP addresses"));
        }
        for (field, v4) in [("ip4", true), ("ip6", false)] {
            let of_family: Vec<_> = given.iter().filter(|given| given.addr.is_ipv4() == v4).collect();
            if let Some(first) = of_family.first() {
                let mut address = json!({"ip": first.to_string()});
                let routes = routes_to(&of_family);
                if !routes.is_empty() {
                    address["routes"] = routes.into();
                }
                result.insert(field.to_string(), address);
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
        let routes = routes_to(&given.iter().collect::<Vec<_>>());
        if !routes.is_empty() {
            result.insert("routes".to_string(), routes.into());
        }
    }
    if version != "1.0.0" {
        result.insert("dns".to_string(), json!({}));
    }
    Ok(Json::Object(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> ResultAddress {
        let (addr, prefix) = text.split_once('/').unwrap();
        ResultAddress { addr: addr.parse().unwrap(), prefix: prefix.parse().unwrap() }
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
            assert_eq!(to_json(version, &both, Routes::Each), Ok(wanted.clone()), "{version}");
            wanted.as_object_mut().unwrap().remove("routes");
            for field in ["ip4", "ip6"] {
                wanted.get_mut(field).and_then(Json::as_object_mut).map(|address| address.remove("routes"));
            }
            assert_eq!(to_json(version, &both, Routes::None), Ok(wanted), "{version}");
        }
    }

    /// The case without any family was recorded from Calico.
    #[test]
    fn without_addresses() {
        assert_eq!(
            to_json("0.1.0", &[], Routes::Each).unwrap_err().msg,
            "cannot convert: no valid IP addresses"
        );
        assert_eq!(to_json("0.3.1", &[], Routes::Each), Ok(json!({"cniVersion": "0.3.1", "dns": {}})));
        assert_eq!(to_json("1.0.0", &[], Routes::Each), Ok(json!({"cniVersion": "1.0.0"})));
    }
}
