//! Wishes of the runtime: a hardware address and addresses. They stand in `runtimeConfig`, where the
//! configuration declares the capability, and in `CNI_ARGS` (<https://www.cni.dev/docs/conventions/>). An
//! `IP` in `CNI_ARGS` is left to the IPAM plugin.

use std::net::IpAddr;

use api::cidr::{canonical_addr, parse_addr_of};
use cni::args::Args;
use dataplane::Mac;
use serde_json::Value as Json;

use crate::annotations::parse_mac;

/// The hardware address for which the runtime asks.
///
/// # Errors
/// When the text is no hardware address.
pub fn mac(configuration: &Json, args: &Args) -> Result<Option<Mac>, String> {
    let of = |place: &str, text: &str| match text {
        "" => Ok(None),
        text => parse_mac(text).map(Some).map_err(|error| format!("{place}: {error}")),
    };
    match &configuration["runtimeConfig"]["mac"] {
        Json::Null => of("MAC in CNI_ARGS", &args.mac),
        Json::String(text) => of("runtimeConfig.mac", text),
        other => Err(format!("runtimeConfig.mac is {other}, which is no hardware address")),
    }
}

/// The addresses for which the runtime asks, if the IPAM plugin is calico-ipam: that one has to be asked for
/// each address. Other IPAM plugins read the runtime's wish themselves.
///
/// # Errors
/// When one of the texts is no address.
pub fn addresses(configuration: &Json, ipam: &str) -> Result<Vec<IpAddr>, String> {
    let listed = match &configuration["runtimeConfig"]["ips"] {
        Json::Null => return Ok(Vec::new()),
        _ if ipam != "calico-ipam" => return Ok(Vec::new()),
        Json::Array(listed) => listed,
        other => return Err(format!("runtimeConfig.ips is {other}, which is no list of addresses")),
    };
    let mut found = Vec::new();
    for item in listed {
        let wrong = || format!("runtimeConfig.ips holds {item}, which is no address");
        let text = item.as_str().ok_or_else(wrong)?;
        let addr = canonical_addr(parse_addr_of(text).ok_or_else(wrong)?);
        if !found.contains(&addr) {
            found.push(addr);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hardware_addresses() {
        let ask = |configuration: Json, args: &str| {
            let args = Args::parse(&format!("IgnoreUnknown=1{args}")).unwrap();
            mac(&configuration, &args)
        };
        let (one, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let runtime = json!({"runtimeConfig": {"mac": "02:00:00:00:00:01"}});
        assert_eq!(ask(json!({}), ""), Ok(None));
        assert_eq!(ask(json!({}), ";MAC=02:00:00:00:00:02"), Ok(Some(other)));
        assert_eq!(ask(runtime, ";MAC=02:00:00:00:00:02"), Ok(Some(one)));
        let no = |asked: Result<Option<Mac>, String>, wanted: &str| {
            let error = asked.unwrap_err();
            assert!(error.contains(wanted), "{error}");
        };
        no(ask(json!({}), ";MAC=02:00"), "MAC in CNI_ARGS: address 02:00: invalid MAC address");
        no(ask(json!({"runtimeConfig": {"mac": "x"}}), ""), "runtimeConfig.mac: address x");
        no(ask(json!({"runtimeConfig": {"mac": 5}}), ""), "runtimeConfig.mac is 5");
    }

    #[test]
    fn several_addresses() {
        let ask = |ips: Json, ipam: &str| addresses(&json!({"runtimeConfig": {"ips": ips}}), ipam);
        let both = ["10.0.0.5", "fd00::5"].map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
        assert_eq!(addresses(&json!({}), "calico-ipam"), Ok(Vec::new()));
        assert_eq!(ask(json!(["10.0.0.5/24", "fd00::5", "10.0.0.5"]), "calico-ipam"), Ok(both));
        assert_eq!(ask(json!(["10.0.0.5"]), "host-local"), Ok(Vec::new()));
        for wrong in [json!("10.0.0.5"), json!(["x"]), json!([5])] {
            assert!(ask(wrong.clone(), "calico-ipam").unwrap_err().contains("runtimeConfig.ips"), "{wrong}");
        }
    }
}
