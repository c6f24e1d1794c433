//! The kinds of `projectcalico.org/v3` resources that we know, as a table: a new kind is one entry.

use std::cmp::Ordering;
use std::fmt;

use crate::columns::{self, Columns};
use crate::resource::Resource;
use crate::schema::{self, Shape, Struct, Type};

/// Whether a kind's names are unique in the cluster or in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the cluster.
    Cluster,
    /// In a namespace.
    Namespaced,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $plural:literal, $scope:ident, $package:ident, $table:ident, [$($alias:literal),*];)*) => {
        /// A kind of resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The name in `kind:` fields: `IPPool`.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind),)* }
            }

            /// The name of a list of them: `IPPoolList`.
            pub fn list_kind(self) -> &'static str {
                match self { $(Kind::$kind => concat!(stringify!($kind), "List"),)* }
            }

            /// The name in keys and URLs: `ippools`.
            pub fn plural(self) -> &'static str {
                match self { $(Kind::$kind => $plural,)* }
            }

            /// Whether it lives in namespaces.
            pub fn scope(self) -> Scope {
                match self { $(Kind::$kind => Scope::$scope,)* }
            }

            /// The Go struct behind it.
            pub fn schema(self) -> &'static Struct {
                match self { $(Kind::$kind => &schema::$table,)* }
            }

            /// The Go type of that struct, package included: `v3.IPPool`.
            pub fn go_type(self) -> Type {
                let go = match self {
                    $(Kind::$kind => concat!(stringify!($package), ".", stringify!($kind)),)*
                };
                Type { go, shape: Shape::Struct(self.schema()) }
            }

            /// The columns in which it is shown.
            pub fn columns(self) -> &'static Columns {
                match self { $(Kind::$kind => &columns::$table,)* }
            }

            /// What the command line also takes for it, in lower case.
            pub fn aliases(self) -> &'static [&'static str] {
                match self { $(Kind::$kind => &[$($alias),*],)* }
            }
        }
    };
}

kinds! {
    /// Addresses for workloads, tunnels or services, and what the network does with them.
    IPPool, "ippools", Cluster, v3, IP_POOL, ["ippool", "ippools", "ipp", "ipps", "pool", "pools"];
    /// Addresses that are not to be assigned automatically.
    IPReservation, "ipreservations", Cluster, v3, IP_RESERVATION, ["ipreservation", "ipreservations", "reservation", "reservations"];
    /// The allocator's configuration.
    IPAMConfiguration, "ipamconfigurations", Cluster, v3, IPAM_CONFIGURATION, ["ipamconfiguration", "ipamconfigurations", "ipamconfig", "ipamconfigs"];
    /// A host.
    Node, "nodes", Cluster, internalapi, NODE, ["node", "nodes", "no", "nos"];
    /// A workload's attachment to the network.
    WorkloadEndpoint, "workloadendpoints", Namespaced, internalapi, WORKLOAD_ENDPOINT, ["workloadendpoint", "workloadendpoints", "wep", "weps"];
    /// What the cluster is, and whether its data may be used.
    ClusterInformation, "clusterinformations", Cluster, v3, CLUSTER_INFORMATION, ["clusterinformation", "clusterinformations", "clusterinfo", "clusterinfos"];
    /// A group of policies; the allocator only creates those that each cluster has.
    Tier, "tiers", Cluster, v3, TIER, ["tier", "tiers"];
    /// What the traffic of the endpoints that name it may be. The CNI plugin creates those of its networks; the command line does not know them.
    Profile, "profiles", Cluster, v3, PROFILE, [];
    /// A BGP peering.
    BGPPeer, "bgppeers", Cluster, v3, BGP_PEER, ["bgppeer", "bgppeers", "bgpp", "bgpps", "bp", "bps"];
    /// BGP settings, of the cluster or of a node.
    BGPConfiguration, "bgpconfigurations", Cluster, v3, BGP_CONFIGURATION, ["bgpconfiguration", "bgpconfigurations", "bgpconfig", "bgpconfigs"];
    /// Settings of Calico's controllers.
    KubeControllersConfiguration, "kubecontrollersconfigurations", Cluster, v3, KUBE_CONTROLLERS_CONFIGURATION,
        ["kubecontrollersconfiguration", "kubecontrollersconfigurations", "kubecontrollersconfig", "kubecontrollersconfigs"];
}

impl Kind {
    /// The kind of that plural.
    pub fn from_plural(plural: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.plural() == plural)
    }

    /// The kind of that name, as in `kind:` fields.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The order in which a list is shown: that of the keys; tiers by their order first, those without one last.
    pub fn compare(self, a: &Resource, b: &Resource) -> Ordering {
        let order = |r: &Resource| match self {
            Kind::Tier => r.field(&["spec", "order"]).and_then(|o| o.as_f64()).unwrap_or(f64::INFINITY),
            _ => 0.0,
        };
        order(a).total_cmp(&order(b)).then_with(|| a.key().etcd_path().cmp(&b.key().etcd_path()))
    }

    /// Whether the command line knows it.
    pub fn is_offered(self) -> bool {
        !self.aliases().is_empty()
    }

    /// The kind that somebody typed, in any case.
    pub fn from_alias(typed: &str) -> Option<Kind> {
        let typed = typed.to_lowercase();
        Kind::ALL.iter().copied().find(|kind| kind.aliases().contains(&typed.as_str()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tiers_are_listed_by_order() {
        // Recorded in 082-clusterinformation; the last two are not.
        let tier = |name: &str, order: serde_json::Value| {
            Resource::from_json(Kind::Tier, json!({"metadata": {"name": name}, "spec": {"order": order}}))
                .unwrap()
        };
        let mut tiers = [
            tier("b", json!(null)),
            tier("a", json!(null)),
            tier("default", json!(1_000_000)),
            tier("kube-admin", json!(1000)),
            tier("kube-baseline", json!(1e7)),
        ];
        tiers.sort_by(|a, b| Kind::Tier.compare(a, b));
        let names: Vec<&str> = tiers.iter().map(Resource::name).collect();
        assert_eq!(names, ["kube-admin", "default", "kube-baseline", "a", "b"]);
    }

    #[test]
    fn names_and_aliases_find_the_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
            assert_eq!(Kind::from_plural(kind.plural()), Some(*kind));
            assert_eq!(kind.list_kind(), format!("{kind}List"));
            for alias in kind.aliases() {
                assert_eq!(Kind::from_alias(&alias.to_uppercase()), Some(*kind));
            }
        }
    }
}
