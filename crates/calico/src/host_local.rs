//! What this plugin does for the IPAM plugin `host-local`: it puts the node's pod CIDR in place of a keyword,
//! and reads the container's routes from the configuration (`cni-plugin/internal/pkg/utils/utils.go`,
//! `cni-plugin/pkg/k8s/k8s.go`).

use api::Cidr;
use ipnet::IpNet;
use serde_json::Value as Json;

/// The keyword for the node's pod CIDR, in upper or lower case. With `IPv6` after it, it means the IPv6 one.
const WORD: &str = "usePodCidr";

/// Whether the configuration asks for the node's pod CIDRs.
pub fn asks_for_pod_cidrs(configuration: &Json) -> bool {
    let mut copy = configuration.clone();
    let mut found = false;
    for_each_subnet(&mut copy, &mut |subnet| {
        found |= family(subnet).is_some();
        Ok(())
    })
    .is_ok()
        && found
}

/// Puts the node's pod CIDRs in place of the keywords.
///
/// # Errors
/// When the node has no pod CIDR of a family.
pub fn fill_in(configuration: &mut Json, node: &str, pod_cidrs: &[Cidr]) -> Result<(), String> {
    for_each_subnet(configuration, &mut |subnet| {
        let Some(v4) = family(subnet) else { return Ok(()) };
        let found = pod_cidrs.iter().find(|cidr| cidr.first().is_ipv4() == v4);
        let number = if v4 { 4 } else { 6 };
        let cidr = found.ok_or_else(|| {
            format!(
                "{subnet:?} stands for node {node}'s IPv{number} pod CIDR, and it has none (spec.podCIDRs)"
            )
        })?;
        *subnet = cidr.to_string();
        Ok(())
    })
}

/// Puts arbitrary networks in place of the keywords, for a DEL. `host-local` does not use the networks in a
/// DEL, but demands valid ones; and the node may be gone by then.
pub fn fill_in_anything(configuration: &mut Json) {
    let filled = for_each_subnet(configuration, &mut |subnet| {
        if let Some(v4) = family(subnet) {
            *subnet = if v4 { "0.0.0.0/0" } else { "::/0" }.to_string();
        }
        Ok(())
    });
    debug_assert!(filled.is_ok(), "nothing is refused");
}

/// Whether a keyword for a pod CIDR means IPv4; `None` for a text that is no keyword.
fn family(subnet: &str) -> Option<bool> {
    if subnet.eq_ignore_ascii_case(WORD) {
        return Some(true);
    }
    subnet.eq_ignore_ascii_case(&format!("{WORD}IPv6")).then_some(false)
}

fn for_each_subnet(
    configuration: &mut Json,
    act: &mut impl FnMut(&mut String) -> Result<(), String>,
) -> Result<(), String> {
    let Some(ipam) = configuration.get_mut("ipam") else { return Ok(()) };
    let mut of = |holder: &mut Json| match holder.get_mut("subnet") {
        Some(Json::String(subnet)) => act(subnet),
        _ => Ok(()),
    };
    of(ipam)?;
    let sets = ipam.get_mut("ranges").and_then(Json::as_array_mut);
    for range in sets.into_iter().flatten().filter_map(Json::as_array_mut).flatten() {
        of(range)?;
    }
    Ok(())
}

/// The destinations that the container reaches through the host: those in `ipam.routes`, and with
/// `include_default_routes` all others, too. An empty list means all destinations.
///
/// # Errors
/// For a route that is invalid.
pub fn routes(configuration: &Json, with_default: bool) -> Result<Vec<IpNet>, String> {
    let listed = match &configuration["ipam"]["routes"] {
        Json::Null => return Ok(Vec::new()),
        Json::Array(routes) => routes,
        other => {
            return Err(format!(
                "failed to parse host-local IPAM routes section; expecting list, not: {other}"
            ));
        }
    };
    let mut found = Vec::new();
    for route in listed {
        // (Calico ignores a route without a destination.)
        let dst = route.get("dst").ok_or_else(|| {
            format!(
                "invalid IPAM routes section; a route needs a 'dst', its destination, and has none: {route}"
            )
        })?;
        let text = dst.as_str().ok_or_else(|| {
            format!("invalid IPAM routes section; expecting 'dst' to be a string, not: {dst}")
        })?;
        let net: IpNet = text.parse().map_err(|_| format!("invalid CIDR address: {text}"))?;
        found.push(net.trunc());
    }
    if !found.is_empty() && with_default {
        found.extend([IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())]);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pod_cidrs_take_the_places_of_words() {
        let mut configuration = json!({"ipam": {"type": "host-local", "subnet": "usePodCIDR",
            "ranges": [[{"subnet": "usepodcidr"}], [{"subnet": "usePodCidrIPv6", "x": 1}], [{"subnet": "10.9.0.0/24"}]]}});
        assert!(asks_for_pod_cidrs(&configuration));
        let cidrs = ["10.0.1.0/24", "fd00::/64"].map(|text| Cidr::parse_unmasked(text).unwrap().0);
        assert!(
            fill_in(&mut configuration.clone(), "n1", &cidrs[..1]).unwrap_err().contains("node n1's IPv6")
        );
        let mut any = configuration.clone();
        fill_in_anything(&mut any);
        let found = (&any["ipam"]["subnet"], &any["ipam"]["ranges"][1][0]["subnet"]);
        assert_eq!(found, (&json!("0.0.0.0/0"), &json!("::/0")));
        fill_in(&mut configuration, "n1", &cidrs).unwrap();
        let ranges = json!([[{"subnet": "10.0.1.0/24"}], [{"subnet": "fd00::/64", "x": 1}], [{"subnet": "10.9.0.0/24"}]]);
        assert_eq!(configuration["ipam"]["ranges"], ranges);
        assert_eq!(configuration["ipam"]["subnet"], "10.0.1.0/24");
        assert!(!asks_for_pod_cidrs(&configuration) && !asks_for_pod_cidrs(&json!({})));
    }

    #[test]
    fn routes_of_the_containers_own() {
        let of = |routes: Json, with_default| routes_text(&json!({"ipam": {"routes": routes}}), with_default);
        fn routes_text(configuration: &Json, with_default: bool) -> Result<Vec<String>, String> {
            routes(configuration, with_default).map(|all| all.iter().map(IpNet::to_string).collect())
        }
        assert_eq!(of(Json::Null, true).unwrap(), Vec::<String>::new());
        assert_eq!(of(json!([{"dst": "10.0.0.1/8", "gw": "x"}]), false).unwrap(), ["10.0.0.0/8"]);
        assert_eq!(of(json!([{"dst": "10.0.0.0/8"}]), true).unwrap(), ["10.0.0.0/8", "0.0.0.0/0", "::/0"]);
        for wrong in [json!("x"), json!([{"dst": 1}]), json!([{"dst": "x"}]), json!([{"gw": "x"}])] {
            assert!(of(wrong, false).is_err());
        }
    }
}
