//! What a cluster uses and rackpool does not carry out. Nobody may find out later that it is gone.

mod gather;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

pub use gather::losses;

/// What rackpool does not carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Network policies, Calico's and Kubernetes' own.
    Policy,
    /// Host endpoints.
    HostEndpoint,
    /// Encryption of the traffic between nodes.
    WireGuard,
    /// The dataplane by eBPF programs.
    Ebpf,
    /// BGP, with peers or between the nodes.
    Bgp,
}

impl Feature {
    /// All features, in the order in which they are told.
    pub const ALL: [Feature; 5] =
        [Feature::Policy, Feature::HostEndpoint, Feature::WireGuard, Feature::Ebpf, Feature::Bgp];

    /// The feature's word, which does not change between releases.
    pub fn word(self) -> &'static str {
        match self {
            Feature::Policy => "policy",
            Feature::HostEndpoint => "hostendpoint",
            Feature::WireGuard => "wireguard",
            Feature::Ebpf => "ebpf",
            Feature::Bgp => "bgp",
        }
    }

    /// What is lost with it.
    pub fn loss(self) -> &'static str {
        match self {
            Feature::Policy => "rackpool enforces no network policy: what these forbid is allowed",
            Feature::HostEndpoint => "rackpool does not filter hosts' own traffic",
            Feature::WireGuard => {
                "rackpool does not encrypt: the traffic between nodes can be read on the way"
            }
            Feature::Ebpf => "rackpool has no eBPF dataplane: services then need kube-proxy",
            Feature::Bgp => {
                "rackpool announces nothing by BGP: routers and other nodes lose their routes to pods"
            }
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word names no feature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing that can be lost: the words are policy, hostendpoint, wireguard, ebpf, bgp")]
pub struct NoFeature(String);

impl FromStr for Feature {
    type Err = NoFeature;

    fn from_str(word: &str) -> Result<Feature, NoFeature> {
        let found = Feature::ALL.into_iter().find(|feature| feature.word() == word);
        found.ok_or_else(|| NoFeature(word.to_string()))
    }
}

/// A feature that the cluster uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The feature.
    pub feature: Feature,
    /// The objects by which it is used, sorted: `networkpolicies.projectcalico.org default/deny-all`.
    pub objects: Vec<String>,
}

/// How many objects a text names.
const NAMED: usize = 5;

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.feature, named(&self.objects), self.feature.loss())
    }
}

/// The first objects, and how many more there are.
pub(crate) fn named(objects: &[String]) -> String {
    let first = objects[..objects.len().min(NAMED)].join(", ");
    match objects.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Objects that could not be looked for, so that nobody knows whether the cluster uses the feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The feature.
    pub feature: Feature,
    /// What could not be listed.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: nobody knows, for {} cannot be listed: {}", self.feature, self.what, self.reason)
    }
}

/// What the cluster loses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The features that it uses, in their order.
    pub found: Vec<Loss>,
    /// What could not be looked for.
    pub unknown: Vec<Unknown>,
}

impl Losses {
    /// What is lost besides the features whose loss was accepted.
    pub fn beyond(mut self, accepted: &BTreeSet<Feature>) -> Losses {
        self.found.retain(|loss| !accepted.contains(&loss.feature));
        self.unknown.retain(|unknown| !accepted.contains(&unknown.feature));
        self
    }

    /// Whether certainly nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.unknown.is_empty()
    }

    /// The features that are lost or unknown.
    pub fn features(&self) -> BTreeSet<Feature> {
        let found = self.found.iter().map(|loss| loss.feature);
        found.chain(self.unknown.iter().map(|unknown| unknown.feature)).collect()
    }

    /// The words of what is lost or unknown, with commas between them, as `--accept-loss` takes them.
    pub fn words(&self) -> String {
        self.features().iter().map(|feature| feature.word()).collect::<Vec<_>>().join(",")
    }
}

/// A line each.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.iter().try_for_each(|loss| writeln!(f, "{loss}"))?;
        self.unknown.iter().try_for_each(|unknown| writeln!(f, "{unknown}"))
    }
}
