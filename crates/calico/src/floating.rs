//! Floating addresses: addresses from outside that lead to a pod (`cni-plugin/pkg/k8s/k8s.go`). An ADD fails
//! if one of the floating addresses that its pod asks for cannot be had.

use std::net::IpAddr;

use api::cidr::{canonical_addr, parse_addr};
use api::{Key, Resource};
use serde_json::Value as Json;

use crate::annotations::{Annotations, PREFIX, ip_texts};
use crate::names::Names;

const FLOATING: &str = "floatingIPs";

/// The floating addresses for which the pod asks: `floatingIPs`.
///
/// # Errors
/// When the configuration does not allow them, or the value is no list of addresses to which packets can be
/// sent.
pub fn floating(pod: Annotations<'_>, is_allowed: bool) -> Result<Vec<IpAddr>, String> {
    let Some(text) = pod.get(FLOATING) else { return Ok(Vec::new()) };
    if !is_allowed {
        return Err("requested feature is not enabled: floating_ips".to_string());
    }
    let (title, remedy) = (pod.title(FLOATING), r#"write a list such as ["192.0.2.7"]"#);
    let listed = ip_texts(text).map_err(|error| format!("{error} ({title}: {remedy})"))?;
    let usable = |text: &String| {
        let wrong = |reason: &str| {
            format!("error with field ExternalIP = '{text}' ({title} holds {text:?}, and {reason}: {remedy})")
        };
        let addr = parse_addr(text).map(canonical_addr);
        let addr = addr.ok_or_else(|| wrong("that is no IP address"))?;
        if is_a_hosts(addr) { Ok(addr) } else { Err(wrong("no packet from outside is sent there")) }
    };
    // The same address twice counts once.
    let mut found = Vec::new();
    for addr in listed.iter().map(usable) {
        let addr = addr?;
        if !found.contains(&addr) {
            found.push(addr);
        }
    }
    Ok(found)
}

/// The pod's address to which each of the floating addresses leads.
///
/// # Errors
/// When the pod has no address of the same family.
pub fn targets(pod: Annotations<'_>, floating: &[IpAddr], inside: &[IpAddr]) -> Result<Vec<Nat>, String> {
    let target = |outside: &IpAddr| {
        let inside = inside.iter().find(|addr| addr.is_ipv4() == outside.is_ipv4()).ok_or_else(|| {
            let family = if outside.is_ipv4() { "IPv4" } else { "IPv6" };
            let has = inside.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            format!(
                "{} holds {outside}, and there is no {family} address for it to lead to, only {has}: \
                 ask for one (annotation {PREFIX}ipFamilies, or assign_ipv4 and assign_ipv6 in the network configuration), or leave it out",
                pod.title(FLOATING)
            )
        })?;
        Ok(Nat { outside: *outside, inside: *inside })
    };
    floating.iter().map(target).collect()
}

/// A floating address, and the pod's address to which it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The floating address.
    pub outside: IpAddr,
    /// The pod's own address.
    pub inside: IpAddr,
}

/// The first of the floating addresses that leads to another workload, and that workload's key. An endpoint
/// of the same pod on another node does not count: the pod has moved, and the DEL on the old node is still to
/// come.
pub fn leads_to_another<'a>(
    names: &Names,
    floating: &[IpAddr],
    endpoints: impl IntoIterator<Item = &'a Resource>,
) -> Option<(IpAddr, Key)> {
    endpoints.into_iter().filter(|endpoint| !is_pods(names, endpoint)).find_map(|endpoint| {
        let nats = endpoint.field(&["spec", "ipNATs"]).and_then(Json::as_array)?;
        let outside = |nat: &Json| nat["externalIP"].as_str().and_then(parse_addr).map(canonical_addr);
        let taken = nats.iter().filter_map(outside).find(|addr| floating.contains(addr))?;
        Some((taken, endpoint.key()))
    })
}

fn is_pods(names: &Names, endpoint: &Resource) -> bool {
    let says = |field: &str, value: &str| endpoint.text(&["spec", field]) == Some(value);
    endpoint.metadata().namespace.as_deref() == Some(names.namespace.as_str())
        && says("orchestrator", &names.ids.orchestrator)
        && says("pod", &names.ids.pod)
}

fn is_a_hosts(addr: IpAddr) -> bool {
    let of_no_host = match addr {
        // The networks "this network" and "reserved", the latter with the broadcast address.
        IpAddr::V4(v4) => matches!(v4.octets()[0], 0 | 240..) || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(of_no_host || addr.is_unspecified() || addr.is_loopback() || addr.is_multicast())
}

#[cfg(test)]
mod tests {
    use api::Kind;
    use cni::Call;
    use cni::args::Args;
    use serde_json::json;

    use super::*;

    #[test]
    fn whom_they_lead_to() {
        let call = Call { interface: "eth0".to_string(), ..Call::for_test() };
        let args = Args { pod: "web-0".to_string(), namespace: "ns".to_string(), ..Args::default() };
        let names = Names::new("n1", &call, &args, "cali").unwrap();
        let endpoint = |namespace: &str, node: &str, pod: &str, outside: &str| {
            let spec = json!({"orchestrator": "k8s", "node": node, "pod": pod, "endpoint": "eth0",
                "ipNATs": [{"internalIP": "10.0.0.1", "externalIP": "192.0.2.9"}, {"internalIP": "10.0.0.1", "externalIP": outside}]});
            let json = json!({"metadata": {"name": "e", "namespace": namespace}, "spec": spec});
            Resource::from_json(Kind::WorkloadEndpoint, json).unwrap()
        };
        let floating = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let found =
            |endpoint: Resource| leads_to_another(&names, &floating, [&endpoint]).map(|(addr, _)| addr);
        // The pod's own endpoint does not count, not even on a node that the pod has left.
        assert_eq!(found(endpoint("ns", "n1", "web-0", "192.0.2.7")), None);
        assert_eq!(found(endpoint("ns", "n2", "web-0", "192.0.2.7")), None);
        assert_eq!(found(endpoint("ns", "n1", "web-1", "192.0.2.8")), None);
        for (namespace, pod, outside, wanted) in [
            ("ns", "web-1", "192.0.2.7", floating[0]),
            ("other", "web-0", "::ffff:192.0.2.7", floating[0]),
            ("ns", "web-1", "2001:db8:0::7", floating[1]),
        ] {
            assert_eq!(found(endpoint(namespace, "n1", pod, outside)), Some(wanted), "{namespace}/{pod}");
        }
    }

    #[test]
    fn floating_addresses_that_cannot_be_used() {
        let read = |value: &str| {
            let annotations = json!({"cni.projectcalico.org/floatingIPs": value});
            let pod = json!({"metadata": {"name": "p", "namespace": "ns", "annotations": annotations}});
            let pod = &pod;
            let found = floating(Annotations::of(pod), true)?;
            let inside = ["10.0.0.5".parse::<IpAddr>().unwrap()];
            targets(Annotations::of(pod), &found, &inside)
        };
        let nats = read(r#"["192.0.2.7","::ffff:192.0.2.8","192.0.2.8","192.0.2.7"]"#).unwrap();
        let told: Vec<_> = nats.iter().map(|nat| format!("{} {}", nat.outside, nat.inside)).collect();
        assert_eq!(told, ["192.0.2.7 10.0.0.5", "192.0.2.8 10.0.0.5"]);
        assert_eq!((read("[]"), read("")), (Ok(Vec::new()), Ok(Vec::new())));
        for (value, wanted) in [
            (
                r#"["172.32.0.0/24"]"#,
                "error with field ExternalIP = '172.32.0.0/24' (the annotation cni.projectcalico.org/floatingIPs of ns/p holds",
            ),
            (r#"["192.0.2.7","not-an-ip"]"#, "'not-an-ip'"),
            (r#"[""]"#, "''"),
            (r#"["0.0.0.0"]"#, "no packet from outside is sent there"),
            (r#"["0.1.2.3"]"#, "'0.1.2.3'"),
            (r#"["240.0.0.1"]"#, "'240.0.0.1'"),
            (r#"["255.255.255.255"]"#, "'255.255.255.255'"),
            (r#"["224.0.0.1"]"#, "'224.0.0.1'"),
            (r#"["fe80::1"]"#, "'fe80::1'"),
            (r#"["fe80::1%eth0"]"#, "that is no IP address"),
            (r#"["127.0.0.1"]"#, "'127.0.0.1'"),
            ("192.0.2.7", "failed to parse '192.0.2.7' as JSON"),
            (
                r#"["fd00::1"]"#,
                "floatingIPs of ns/p holds fd00::1, and there is no IPv6 address for it to lead to, only 10.0.0.5",
            ),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(wanted) && error.contains("cni.projectcalico.org/floatingIPs"), "{error}");
        }
    }
}
