//! The kinds of `projectcalico.org/v3` resources that this program knows. Each kind has a file here and a
//! line in the table below. All other code finds what is special about a kind in [`Kind::definition`].

mod bgp_configuration;
mod bgp_peer;
mod cluster_information;
mod definition;
mod host_endpoint;
pub(crate) mod ip_pool;
mod ip_reservation;
mod ipam_configuration;
mod kube_controllers_configuration;
mod node;
mod profile;
mod tier;
mod workload_endpoint;

use std::fmt;

use crate::capability::{Backend, NotSupported, Operation};
use crate::columns::Columns;
use crate::schema::{Shape, Struct, Type};

pub(crate) use definition::custom_resource;
pub use definition::{CustomResource, Definition, Home, KindScope, NamesInV1, Role, Stage, Unreadable};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $file:ident;)*) => {
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

            /// The name of a list of resources of the kind: `IPPoolList`.
            pub fn list_kind(self) -> &'static str {
                match self { $(Kind::$kind => concat!(stringify!($kind), "List"),)* }
            }

            /// The kind's definition, with everything in which kinds differ.
            pub fn definition(self) -> &'static Definition {
                match self { $(Kind::$kind => &$file::DEFINITION,)* }
            }
        }
    };
}

kinds! {
    /// Addresses for workloads, tunnels or services, and what the network does with them.
    IPPool: ip_pool;
    /// Addresses that are not to be assigned automatically.
    IPReservation: ip_reservation;
    /// The allocator's configuration.
    IPAMConfiguration: ipam_configuration;
    /// A host.
    Node: node;
    /// A workload's attachment to the network.
    WorkloadEndpoint: workload_endpoint;
    /// The cluster's identity and versions, and whether its data may be used.
    ClusterInformation: cluster_information;
    /// A group of policies. This program only creates the tiers that every cluster has.
    Tier: tier;
    /// The rules for the traffic of endpoints that name the profile. The CNI plugin creates the profiles of
    /// its networks; the command line does not know them.
    Profile: profile;
    /// A BGP peering.
    BGPPeer: bgp_peer;
    /// BGP settings, of the cluster or of a node.
    BGPConfiguration: bgp_configuration;
    /// Settings of Calico's controllers.
    KubeControllersConfiguration: kube_controllers_configuration;
    /// A host's interface, to whose traffic policies can apply.
    HostEndpoint: host_endpoint;
}

impl Kind {
    /// The name in keys and URLs: `ippools`.
    pub fn plural(self) -> &'static str {
        self.definition().plural
    }

    /// Whether resources of the kind are in namespaces.
    pub fn scope(self) -> KindScope {
        self.definition().scope
    }

    /// The Go struct of the kind.
    pub fn schema(self) -> &'static Struct {
        self.definition().schema
    }

    /// The Go type of that struct, package included: `v3.IPPool`.
    pub fn go_type(self) -> Type {
        Type { go: self.definition().go, shape: Shape::Struct(self.schema()) }
    }

    /// The columns in which tables show the kind.
    pub fn columns(self) -> &'static Columns {
        self.definition().columns
    }

    /// Further names that the command line accepts for the kind, in lower case.
    pub fn aliases(self) -> &'static [&'static str] {
        self.definition().aliases
    }

    /// Whether the command line knows the kind.
    pub fn is_offered(self) -> bool {
        !self.aliases().is_empty()
    }

    /// The kind with that plural.
    pub fn from_plural(plural: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.plural() == plural)
    }

    /// The kind with that name, as in the field `kind`.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The kind that a user has typed, in upper or lower case.
    pub fn from_alias(typed: &str) -> Option<Kind> {
        let typed = typed.to_lowercase();
        Kind::ALL.iter().copied().find(|kind| kind.aliases().contains(&typed.as_str()))
    }
}

impl Kind {
    /// Whether users may do that; `identifier` names the object in the error, as in `Node(n2)`.
    ///
    /// Programs may do more: the lock of the datastore is a field of ClusterInformation, and the tiers that
    /// each cluster has are created.
    ///
    /// # Errors
    /// When they may not.
    pub fn allows(
        self,
        backend: Backend,
        operation: Operation,
        identifier: &str,
    ) -> Result<(), NotSupported> {
        if matches!(operation, Operation::Get | Operation::List | Operation::Watch) {
            return Ok(());
        }
        match (self.definition().refusal)(backend, operation) {
            None => Ok(()),
            Some(refusal) => Err(refusal.of(if refusal.names_object { identifier } else { self.name() })),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
