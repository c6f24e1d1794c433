//! The services of Kubernetes whose addresses come from pools
//! (`kube-controllers/pkg/controllers/loadbalancer`, `IsCalicoManagedLoadBalancer`).

use std::net::IpAddr;

use api::Resource;
use serde_json::Value as Json;

/// A service with addresses from pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its name, as Calico tells it: without the namespace.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The annotations by which a service asks for an address.
const ASKED: [&str; 3] =
    ["projectcalico.org/ipv4pools", "projectcalico.org/ipv6pools", "projectcalico.org/loadBalancerIPs"];

/// Those among Kubernetes' services whose addresses Calico's controller assigns. `None` where the
/// configuration of the controllers (a KubeControllersConfiguration) has no part for it.
pub fn load_balancers(configuration: Option<&Resource>, services: &[Json]) -> Option<Vec<Load>> {
    let part =
        configuration?.field(&["spec", "controllers", "loadBalancer"]).filter(|part| part.is_object())?;
    let assigns_all = part["assignIPs"].as_str() != Some("RequestedServicesOnly");
    let managed = services.iter().filter(|service| is_managed(service, assigns_all));
    let load = |service: &Json| {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
        let addresses = ingress.into_iter().flatten().filter_map(|entry| entry["ip"].as_str());
        Load {
            name: service["metadata"]["name"].as_str().unwrap_or_default().to_string(),
            addresses: addresses.filter_map(api::cidr::parse_addr).collect(),
        }
    };
    Some(managed.map(load).collect())
}

fn is_managed(service: &Json, assigns_all: bool) -> bool {
    if service["spec"]["type"].as_str() != Some("LoadBalancer") {
        return false;
    }
    match service["spec"]["loadBalancerClass"].as_str() {
        Some(class) => class == "calico",
        None => {
            let annotations = &service["metadata"]["annotations"];
            assigns_all || ASKED.iter().any(|name| annotations[*name].as_str().is_some_and(|v| !v.is_empty()))
        }
    }
}
