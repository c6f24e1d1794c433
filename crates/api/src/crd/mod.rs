//! Records as Calico keeps them in a Kubernetes API server: as custom resources of one of two groups
//! (`libcalico-go/lib/backend/k8s/resources`).
//!
//! A Node and a WorkloadEndpoint have no custom resources of their own: they are views of a Kubernetes Node
//! ([`node`]) and of a Pod ([`pod`]).

mod decode;
mod encode;
mod meta;
mod name;
pub mod node;
pub mod pod;
mod pod_state;

use std::fmt;

use crate::key::Key;
use crate::kinds::{CustomResource, Home, Kind, NamesInV1, custom_resource};

pub use decode::{HeaderObject, Object, decode, decode_header};
pub use encode::{encode, encode_deleted};
pub use meta::convert_uid;
pub use name::{
    affinity_selector, block_of_name, host_hash, key_of_name, object_name, unlabelled_affinity_selector,
    why_no_name,
};
pub use pod_state::PodState;

/// The group that holds Calico's custom resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// `crd.projectcalico.org/v1`: the metadata that users gave are in an annotation, and users see another
    /// UID than the API server's.
    V1,
    /// `projectcalico.org/v3`: resources are stored as users see them.
    V3,
}

impl Group {
    /// The group that a setting names: [`Group::V3`] for its exact name in upper or lower case, otherwise
    /// [`Group::V1`] (`libcalico-go/lib/backend/k8s/k8s.go`).
    pub fn from_setting(text: &str) -> Group {
        if text.eq_ignore_ascii_case(Group::V3.api_version()) { Group::V3 } else { Group::V1 }
    }

    /// The group to use on a server that has the groups `names`: [`Group::V3`] only if the server does not
    /// have [`Group::V1`].
    pub fn from_groups<'a>(names: impl IntoIterator<Item = &'a str>) -> Group {
        let (mut v1, mut v3) = (false, false);
        for name in names {
            v1 |= name == Group::V1.name();
            v3 |= name == Group::V3.name();
        }
        if v3 && !v1 { Group::V3 } else { Group::V1 }
    }

    /// The name: `crd.projectcalico.org`.
    pub fn name(self) -> &'static str {
        match self {
            Group::V1 => "crd.projectcalico.org",
            Group::V3 => "projectcalico.org",
        }
    }

    /// The value of the field `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Group::V1 => "crd.projectcalico.org/v1",
            Group::V3 => "projectcalico.org/v3",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.api_version())
    }
}

/// A type of custom resource; all are cluster-wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    /// The blocks: records of [`Key::Block`].
    Blocks,
    /// The affinities: records of [`Key::Affinity`].
    Affinities,
    /// The handles: records of [`Key::Handle`].
    Handles,
    /// The allocator's configuration: the record of [`Key::IpamConfig`]. Users see the same object as a
    /// [`Kind::IPAMConfiguration`].
    IpamConfig,
    /// Resources of a kind: records of [`Key::Resource`]. There are none for Nodes, WorkloadEndpoints and
    /// Profiles.
    Resources(Kind),
}

impl Collection {
    /// Where the record of a key is kept; `None` for Nodes, WorkloadEndpoints and Profiles, and for
    /// [`Key::IpamHost`].
    pub fn of(key: &Key) -> Option<Collection> {
        match key {
            Key::Block(_) => Some(Collection::Blocks),
            Key::Affinity { .. } => Some(Collection::Affinities),
            Key::Handle(_) => Some(Collection::Handles),
            Key::IpamConfig => Some(Collection::IpamConfig),
            Key::Resource { kind, .. } => Collection::of_kind(*kind),
            Key::IpamHost(_) => None,
        }
    }

    /// Where the resources of a kind are kept; `None` for Nodes and WorkloadEndpoints, which are Kubernetes'
    /// own, and for Profiles: there they follow from namespaces and service accounts.
    pub fn of_kind(kind: Kind) -> Option<Collection> {
        match kind.definition().home {
            Home::Custom(_) => Some(Collection::Resources(kind)),
            Home::Nodes | Home::Pods | Home::Nowhere => None,
        }
    }

    /// Every collection once, in the order in which messages list them.
    pub fn all() -> impl Iterator<Item = Collection> {
        let of_kinds = Kind::ALL.iter().filter_map(|kind| Collection::of_kind(*kind));
        of_kinds.chain([Collection::Blocks, Collection::Affinities, Collection::Handles])
    }

    fn custom_resource(self) -> Option<CustomResource> {
        let kind = match self {
            Collection::Blocks => return Some(custom_resource!("ipamblocks")),
            Collection::Affinities => return Some(custom_resource!("blockaffinities")),
            Collection::Handles => return Some(custom_resource!("ipamhandles")),
            Collection::IpamConfig => Kind::IPAMConfiguration,
            Collection::Resources(kind) => kind,
        };
        match kind.definition().home {
            Home::Custom(resource) => Some(resource),
            Home::Nodes | Home::Pods | Home::Nowhere => None,
        }
    }

    /// The CustomResourceDefinition that makes an API server serve this collection, as YAML. Each of
    /// [`Collection::all`] has one.
    pub fn definition(self, group: Group) -> Option<&'static str> {
        let resource = self.custom_resource()?;
        Some(match group {
            Group::V1 => resource.v1,
            Group::V3 => resource.v3,
        })
    }

    fn names_in_v1(self) -> Option<NamesInV1> {
        self.custom_resource()?.names_in_v1
    }

    /// The collection's name in URLs.
    pub fn plural(self, group: Group) -> &'static str {
        match (self, self.names_in_v1()) {
            (_, Some(names)) if group == Group::V1 => names.plural,
            (Collection::Blocks, _) => "ipamblocks",
            (Collection::Affinities, _) => "blockaffinities",
            (Collection::Handles, _) => "ipamhandles",
            (Collection::IpamConfig, _) => Kind::IPAMConfiguration.plural(),
            (Collection::Resources(kind), _) => kind.plural(),
        }
    }

    /// The value of the field `kind`.
    pub fn kind_name(self, group: Group) -> &'static str {
        match (self, self.names_in_v1()) {
            (_, Some(names)) if group == Group::V1 => names.kind,
            (Collection::Blocks, _) => "IPAMBlock",
            (Collection::Affinities, _) => "BlockAffinity",
            (Collection::Handles, _) => "IPAMHandle",
            (Collection::IpamConfig, _) => Kind::IPAMConfiguration.name(),
            (Collection::Resources(kind), _) => kind.name(),
        }
    }

    /// Whether its objects are deleted in two phases: flagged first, then removed. A flagged object reads as
    /// absent.
    pub fn has_tombstones(self) -> bool {
        matches!(self, Collection::Blocks | Collection::Affinities | Collection::Handles)
    }

    /// The path of the collection's URL.
    pub fn path(self, group: Group) -> String {
        format!("/apis/{group}/{}", self.plural(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_group_only_where_it_stands_alone() {
        let (v1, v3) = (Group::V1.name(), Group::V3.name());
        for (groups, found) in [
            (&[v1][..], Group::V1),
            (&["apps", v3], Group::V3),
            (&[v3, v1], Group::V1),
            (&["apps"], Group::V1),
            (&[], Group::V1),
        ] {
            assert_eq!(Group::from_groups(groups.iter().copied()), found, "{groups:?}");
        }
        assert_eq!(Group::from_setting("ProjectCalico.org/V3"), Group::V3);
        assert_eq!(Group::from_setting("projectcalico.org"), Group::V1);
    }

    #[test]
    fn places() {
        assert_eq!(Collection::IpamConfig.path(Group::V1), "/apis/crd.projectcalico.org/v1/ipamconfigs");
        assert_eq!(
            Collection::Resources(Kind::IPAMConfiguration).path(Group::V3),
            "/apis/projectcalico.org/v3/ipamconfigurations"
        );
        assert_eq!(Collection::of(&Key::global(Kind::Node, "n")), None);
    }
}
