//! What a check keeps of a block: little, as a cluster may have hundreds of thousands of addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::block::is_kept_by_windows;
use api::{Attribute, Block, BlockCidr, Timestamp};
use ipam::invariants::{BlockFault, Names, check_block};

/// A block.
#[derive(Clone, Debug)]
pub struct CheckedBlock {
    /// The network.
    pub cidr: BlockCidr,
    /// The field `affinity`.
    pub affinity: Option<Arc<str>>,
    /// Its allocations, in the order of the ordinals.
    pub allocations: Vec<Allocation>,
    /// The first contradiction between its parts.
    pub fault: Option<BlockFault>,
}

/// An address that is not free.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// Its place in the block.
    pub ordinal: u32,
    /// The sequence number with which it was allocated.
    pub sequence: u64,
    /// Whether it was released and cools down.
    pub is_cooling: bool,
    /// Whether a Windows host keeps it for itself.
    pub is_kept_by_windows: bool,
    /// The handle as stored; `None` where there is none, and for what Windows keeps.
    pub handle: Option<Arc<str>>,
    /// The node that has the address; empty where none is known.
    pub node: Arc<str>,
    /// The rest of the attribute, as JSON; `None` where the allocation points to none.
    attribute: Option<Arc<str>>,
}

/// Whose an address is, as its attribute tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The handle as stored.
    pub handle: Option<String>,
    /// The owner's fields.
    pub fields: BTreeMap<String, String>,
    /// The fields of the next owner of an address that moves with a virtual machine.
    pub alternate: BTreeMap<String, String>,
}

impl CheckedBlock {
    pub(super) fn of(block: &Block, now: Timestamp, names: &mut Names) -> CheckedBlock {
        // Addresses that were assigned together share one attribute.
        let mut texts: Vec<Option<Arc<str>>> = vec![None; block.attributes.len()];
        let mut allocations = Vec::new();
        for (ordinal, index) in (0..).zip(&block.allocations) {
            let Some(index) = index else { continue };
            let attribute = block.attributes.get(*index as usize);
            let text = texts.get_mut(*index as usize).zip(attribute);
            let text = text.map(|(text, attribute)| text.get_or_insert_with(|| to_text(attribute)).clone());
            allocations.push(Allocation::of(block, ordinal, attribute, text, names));
        }
        let fault = check_block(block, Some(now)).into_iter().next();
        let affinity = block.affinity.as_deref().map(|text| names.intern(text));
        CheckedBlock { cidr: block.cidr, affinity, allocations, fault }
    }

    /// The host to which the block is affine; empty where it is nobody's, or no host's.
    pub fn host(&self) -> &str {
        host(self.affinity.as_deref())
    }
}

fn host(affinity: Option<&str>) -> &str {
    affinity.and_then(|text| text.strip_prefix("host:")).unwrap_or_default()
}

/// An attribute as it is kept. The handle is in it where no [`Allocation::handle`] has it.
fn to_text(attribute: &Attribute) -> Arc<str> {
    let handle = attribute.handle_id.as_deref().filter(|id| id.is_empty() || is_kept_by_windows(id));
    let fields = (handle, &attribute.owner, &attribute.alternate_owner);
    // These types have text keys and no failing parts, so they always serialize.
    serde_json::to_string(&fields).unwrap_or_default().into()
}

impl Allocation {
    fn of(
        block: &Block,
        ordinal: u32,
        attribute: Option<&Arc<Attribute>>,
        text: Option<Arc<str>>,
        names: &mut Names,
    ) -> Allocation {
        let handle = attribute.and_then(|attribute| attribute.handle_id.as_deref());
        let is_windows = handle.is_some_and(is_kept_by_windows);
        let node =
            attribute.and_then(|attribute| attribute.owner.get("node")).filter(|node| !node.is_empty());
        Allocation {
            ordinal,
            sequence: block.sequence_of(ordinal),
            is_cooling: attribute.is_some_and(|attribute| attribute.released_at.is_some()),
            is_kept_by_windows: is_windows,
            handle: handle.filter(|id| !id.is_empty() && !is_windows).map(Arc::from),
            node: names.intern(node.map_or(host(block.affinity.as_deref()), String::as_str)),
            attribute: text,
        }
    }

    /// Whose the address is; `None` where the allocation points to no attribute.
    pub fn owner(&self) -> Option<Owner> {
        let text = self.attribute.as_deref()?;
        let (odd, fields, alternate): (Option<String>, _, _) = serde_json::from_str(text).unwrap_or_default();
        Some(Owner { handle: self.handle.as_deref().map(str::to_string).or(odd), fields, alternate })
    }

    /// The virtual machine for which the address is kept: namespace and name.
    pub fn machine(&self) -> Option<(String, String)> {
        let mut fields = self.fields_with("vmi-name")?;
        Some((fields.remove("namespace")?, fields.remove("vmi-name")?))
    }

    /// The service that has the address, by the account of the allocation: namespace and name.
    pub fn service(&self) -> Option<(String, String)> {
        let mut fields = self.fields_with("LoadBalancer")?;
        fields.get("type").filter(|kind| *kind == "LoadBalancer")?;
        let mut text = |field: &str| fields.remove(field).unwrap_or_default();
        Some((text("namespace"), text("service")))
    }

    /// The owner's fields, where the attribute has that word in it. Few have, and to read the attribute of
    /// each address takes time.
    fn fields_with(&self, word: &str) -> Option<BTreeMap<String, String>> {
        self.attribute.as_deref().filter(|text| text.contains(word))?;
        Some(self.owner()?.fields)
    }
}
