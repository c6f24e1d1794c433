//! Endpoints whose containers are gone. On a plain host nobody calls DEL for what a start of the host or a
//! killed container runtime left behind: the agent gives back the endpoints of its own node, addresses and
//! all, whose interface on the host is gone. (On Kubernetes the kubelet calls DEL, and a controller looks for
//! the rest.)

mod give_back;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{Key, Resource};

pub use give_back::{GiveBackError, GivenBack, give_back};

/// How long an endpoint's interface must have been missing. A container runtime that attaches a container may
/// have written the endpoint before the interface is seen.
pub const GRACE: Duration = Duration::from_secs(60);

/// An endpoint, of one container: the endpoint of the next container may have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The endpoint's key.
    pub key: Key,
    /// The container's ID.
    pub container: String,
}

/// Since when the interfaces of endpoints are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing(BTreeMap<Endpoint, Duration>);

impl Missing {
    /// Whether no interface is missing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Looks which endpoints of `node` have no interface on this host. Gives those to give back now: their
/// interface was missing at an earlier look, at least `grace` before `now`, and at every look since then.
///
/// Only endpoints of containers that are no pods count (orchestrator `cni`), and only those that name a
/// container and an interface. `endpoints` must be read before `interfaces`.
pub fn gone<'e>(
    node: &str,
    endpoints: impl IntoIterator<Item = &'e Resource>,
    interfaces: &BTreeSet<String>,
    missing: &mut Missing,
    now: Duration,
    grace: Duration,
) -> Vec<Endpoint> {
    let missed = endpoints.into_iter().filter_map(|endpoint| without_interface(node, endpoint, interfaces));
    missing.0 = missed
        .map(|endpoint| {
            let since = missing.0.get(&endpoint).copied().unwrap_or(now);
            (endpoint, since)
        })
        .collect();
    let is_over = |since: &Duration| *since < now && now.saturating_sub(*since) >= grace;
    missing.0.iter().filter(|(_, since)| is_over(since)).map(|(endpoint, _)| endpoint.clone()).collect()
}

fn without_interface(node: &str, endpoint: &Resource, interfaces: &BTreeSet<String>) -> Option<Endpoint> {
    let says = |field: &str| endpoint.text(&["spec", field]).filter(|text| !text.is_empty());
    let is_ours = says("node") == Some(node) && says("orchestrator") == Some(ORCHESTRATOR);
    let (container, interface) = (says("containerID")?, says("interfaceName")?);
    (is_ours && !interfaces.contains(interface))
        .then(|| Endpoint { key: endpoint.key(), container: container.to_string() })
}

/// The orchestrator of containers that are no pods.
const ORCHESTRATOR: &str = "cni";
