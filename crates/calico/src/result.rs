//! The result of an ADD, in the configuration's version of the protocol.

use std::net::IpAddr;

use cni::CniError;
use serde_json::{Map, Value as Json, json};

/// What an ADD has made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The name of the interface on the host.
    pub host_interface: String,
    /// The name of the interface in the container.
    pub container_interface: String,
    /// The hardware address of the container's interface.
    pub mac: String,
    /// The configured MTU; 0 is left out of the result.
    pub mtu: u32,
    /// The container's network namespace.
    pub sandbox: String,
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The IPAM plugin's routes, as it wrote them.
    pub routes: Vec<Json>,
    /// The IPAM plugin's DNS settings.
    pub dns: Option<Json>,
}

/// The result as a JSON object.
///
/// # Errors
/// For the versions 0.1.0 and 0.2.0 where there are no addresses: these versions cannot express that.
pub fn to_json(version: &str, made: &Made) -> Result<Json, CniError> {
    let mut result = Map::new();
    result.insert("cniVersion".to_string(), version.into());
    if matches!(version, "0.1.0" | "0.2.0") {
        add_old(&mut result, made)?;
    } else {
        let ips = made.addresses.iter().map(|addr| match version {
            "1.0.0" => json!({"address": whole(addr), "interface": 1}),
            _ => json!({"version": if addr.is_ipv4() { "4" } else { "6" }, "interface": 1, "address": whole(addr)}),
        });
        let host = json!({"name": made.host_interface});
        result.insert("interfaces".to_string(), json!([host, container(version, made)]));
        result.insert("ips".to_string(), ips.collect());
        if !made.routes.is_empty() {
            result.insert("routes".to_string(), made.routes.clone().into());
        }
    }
    let dns = made.dns.clone().filter(|dns| dns.as_object().is_some_and(|fields| !fields.is_empty()));
    match dns {
        Some(dns) => drop(result.insert("dns".to_string(), dns)),
        None if version != "1.0.0" => drop(result.insert("dns".to_string(), json!({}))),
        None => {}
    }
    Ok(Json::Object(result))
}

/// The container's interface. In the latest version, the fields are in alphabetical order.
fn container(version: &str, made: &Made) -> Json {
    let Made { container_interface: name, mac, mtu, sandbox, .. } = made;
    match version {
        "1.0.0" if *mtu != 0 => json!({"mac": mac, "mtu": mtu, "name": name, "sandbox": sandbox}),
        "1.0.0" => json!({"mac": mac, "name": name, "sandbox": sandbox}),
        _ => json!({"name": name, "mac": mac, "sandbox": sandbox}),
    }
}

fn add_old(result: &mut Map<String, Json>, made: &Made) -> Result<(), CniError> {
    if made.addresses.is_empty() {
        return Err(CniError::internal("cannot convert: no valid IP addresses"));
    }
    let is_v4 = |route: &Json| route["dst"].as_str().is_some_and(|dst| !dst.contains(':'));
    for (field, v4) in [("ip4", true), ("ip6", false)] {
        let Some(addr) = made.addresses.iter().find(|addr| addr.is_ipv4() == v4) else { continue };
        let mut ip = json!({"ip": whole(addr)});
        let routes: Vec<_> = made.routes.iter().filter(|route| is_v4(route) == v4).cloned().collect();
        if !routes.is_empty() {
            ip["routes"] = routes.into();
        }
        result.insert(field.to_string(), ip);
    }
    Ok(())
}

/// An address with the prefix length of a single address: nothing else is on the container's link.
pub fn whole(addr: &IpAddr) -> String {
    format!("{addr}/{}", if addr.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Made {
        Made {
            host_interface: "caliad357612e39".to_string(),
            container_interface: "eth0".to_string(),
            mac: "aa:bb:cc:dd:ee:ff".to_string(),
            mtu: 1440,
            sandbox: "/ns".to_string(),
            addresses: ["10.0.0.5", "fd00::5"].map(|text| text.parse().unwrap()).to_vec(),
            routes: vec![json!({"dst": "10.0.0.5/26"}), json!({"dst": "fd00::5/122"})],
            dns: Some(json!({})),
        }
    }

    /// The result of version 1.0.0 was recorded from Calico.
    #[test]
    fn by_version() {
        let interfaces = |mtu: bool| {
            let mut container = json!({"name": "eth0", "mac": "aa:bb:cc:dd:ee:ff", "sandbox": "/ns"});
            if mtu {
                container["mtu"] = 1440.into();
            }
            json!([{"name": "caliad357612e39"}, container])
        };
        let routes = json!([{"dst": "10.0.0.5/26"}, {"dst": "fd00::5/122"}]);
        let new = json!({"cniVersion": "1.0.0", "interfaces": interfaces(true), "routes": routes,
            "ips": [{"interface": 1, "address": "10.0.0.5/32"}, {"interface": 1, "address": "fd00::5/128"}]});
        let middle = json!({"cniVersion": "0.3.1", "interfaces": interfaces(false), "routes": routes, "dns": {},
            "ips": [{"version": "4", "interface": 1, "address": "10.0.0.5/32"},
                {"version": "6", "interface": 1, "address": "fd00::5/128"}]});
        let old = json!({"cniVersion": "0.2.0", "dns": {},
            "ip4": {"ip": "10.0.0.5/32", "routes": [{"dst": "10.0.0.5/26"}]},
            "ip6": {"ip": "fd00::5/128", "routes": [{"dst": "fd00::5/122"}]}});
        for wanted in [new, middle, old] {
            let version = wanted["cniVersion"].as_str().unwrap().to_string();
            assert_eq!(to_json(&version, &made()), Ok(wanted), "{version}");
        }
        let without = Made { routes: Vec::new(), ..made() };
        assert_eq!(to_json("1.0.0", &without).unwrap().get("routes"), None);
        let none = Made { addresses: Vec::new(), ..made() };
        assert!(to_json("0.1.0", &none).is_err() && to_json("0.4.0", &none).is_ok());
    }
}
