//! Changes the owners of a handle's addresses, or of one of them (`libcalico-go/lib/ipam/ipam.go`,
//! `SetOwnerAttributes`). An address that moves with a virtual machine has two slots for owners: the active
//! owner, to whom the address leads now, and the alternate owner, to whom it will lead next.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Attribute, BlockCidr, HandleId, Key, Timestamp, Value};
use store::{Batch, ReadSet, View};

use crate::block;
use crate::config;
use crate::plan::release::Changed;
use crate::plan::{Plan, Planner};
use crate::usage;

/// The attributes of an owner; empty for no owner.
pub type OwnerAttributes = BTreeMap<String, String>;

/// The name of a pod. Owners are compared by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name in its namespace.
    pub name: String,
}

impl PodName {
    /// Whether an owner's attributes name this pod.
    pub fn is(&self, owner: &OwnerAttributes) -> bool {
        let (namespace, name) = namespace_and_name(owner);
        namespace == Some(&self.namespace) && name == Some(&self.name)
    }
}

pub(super) fn namespace_and_name(owner: &OwnerAttributes) -> (Option<&String>, Option<&String>) {
    (owner.get("namespace"), owner.get("pod"))
}

/// What to do with a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// Leave the slot unchanged.
    #[default]
    Keep,
    /// Set the owner, whoever was the owner before.
    Set(OwnerAttributes),
    /// Set the owner, if the present owner is the expected one; else the request fails.
    Replace {
        /// The pod that must be the present owner; `None` if the slot must be empty.
        expected: Option<PodName>,
        /// The new owner.
        by: OwnerAttributes,
    },
    /// Empty the slot if that pod is the owner; else leave it unchanged.
    Leave(PodName),
}

/// A request to change the owners of all addresses of a handle.
#[derive(Clone, Debug)]
pub struct SetOwnerAttributes {
    /// The handle whose addresses change their owners.
    pub handle: HandleId,
    /// What to do with the slot of the active owner.
    pub active: Change,
    /// What to do with the slot of the alternate owner.
    pub alternate: Change,
}

impl SetOwnerAttributes {
    /// The planner for this request.
    pub fn planner(self) -> SetOwnerAttributesPlanner {
        SetOwnerAttributesPlanner { request: self, only: None }
    }

    /// The planner for the same request for one address, which must be the handle's. Calico's request always
    /// names one.
    pub fn planner_for(self, addr: IpAddr) -> SetOwnerAttributesPlanner {
        SetOwnerAttributesPlanner { request: self, only: Some(addr) }
    }
}

/// The planner for [`SetOwnerAttributes`]. It needs no memory over its attempts: a slot that has the wanted
/// owner already needs no write.
#[derive(Clone, Debug)]
pub struct SetOwnerAttributesPlanner {
    request: SetOwnerAttributes,
    only: Option<IpAddr>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetOwnerError {
    /// A slot has another owner than expected. Read again who the owner is.
    #[error("update conflict: {addr} with error: cannot set {slot}: expected {expected} but found {found}")]
    OtherOwner {
        /// The address.
        addr: IpAddr,
        /// The slot's name, in Calico's words.
        slot: &'static str,
        /// The expected owner.
        expected: String,
        /// The present owner.
        found: String,
    },
    /// The one address that the request names is free, cools down, or is another handle's. Read again which
    /// addresses the handle holds.
    #[error("IP {0} is not assigned to handle {1}")]
    NotHeld(IpAddr, HandleId),
    /// A part of the address's attributes cannot be parsed, and a write would lose it. Mend the record.
    #[error("{0}: the owner of {1} cannot be changed: a part of what is noted of it cannot be read")]
    Odd(Key, IpAddr),
}

fn pod_text(namespace: Option<&String>, name: Option<&String>) -> String {
    let text = |part: Option<&String>| part.cloned().unwrap_or_default();
    format!("pod={} namespace={}", text(name), text(namespace))
}

impl Planner for SetOwnerAttributesPlanner {
    /// The addresses that the request means, changed or not; `None` when the handle does not exist.
    type Answer = Option<Vec<IpAddr>>;
    type Error = SetOwnerError;

    fn reads(&self) -> ReadSet {
        ReadSet::new().key(Key::IpamConfig).key(Key::Handle(self.request.handle.clone()))
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        let handle = view.handle(&self.request.handle).flatten().map(|(handle, _)| handle);
        let mut blocks: Vec<BlockCidr> = handle.iter().flat_map(|it| it.blocks.keys().copied()).collect();
        if let Some(addr) = self.only {
            blocks.retain(|cidr| cidr.cidr().contains(addr));
            if blocks.is_empty() {
                // A block knows who holds its addresses, whether the handle names the block or not. Calico
                // looks only at the block.
                blocks = usage::blocks_around(addr).collect();
            }
        }
        let missing = view.missing(blocks.iter().copied().map(Key::Block));
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        let is_meant = |addr: &IpAddr| self.only.is_none_or(|only| only == *addr);
        let (mut held, batch) =
            change_owners(view, &self.request.handle, &blocks, now, |block, addr, found| {
                if is_meant(&addr) { self.changed(block, addr, found) } else { Ok(None) }
            })?;
        held.retain(is_meant);
        if let Some(addr) = self.only
            && held.is_empty()
        {
            return Err(SetOwnerError::NotHeld(addr, self.request.handle.clone()));
        }
        let answer = (handle.is_some() || self.only.is_some()).then_some(held);
        // After a lost reply, slots with the wanted owner need no write. Others are written again, after
        // which the lost write can no longer be applied.
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }
}

/// The addresses that a handle holds in blocks that were read, and the writes that change their owners.
/// `changed` gives an address's attribute with the changed owners; `None` where nothing changes. Each address
/// gets an attribute of its own; Calico changes it for all addresses that share it.
pub(super) fn change_owners<E>(
    view: &View,
    id: &HandleId,
    blocks: &[BlockCidr],
    now: Timestamp,
    changed: impl Fn(BlockCidr, IpAddr, &Attribute) -> Result<Option<Attribute>, E>,
) -> Result<(Vec<IpAddr>, Batch), E> {
    let cooldown = config::of(view).cooldown_seconds;
    let mut addresses = Vec::new();
    let mut changes = BTreeMap::new();
    for cidr in blocks {
        let Some(Some((stored, _))) = view.block(*cidr) else { continue };
        for ordinal in block::ordinals_of(stored, id.as_str()) {
            let (Some(addr), Some(attribute)) = (cidr.addr(ordinal), stored.attribute(ordinal)) else {
                continue;
            };
            addresses.push(addr);
            if let Some(attribute) = changed(*cidr, addr, attribute)?
                && let Some(change) = Changed::of(view, &mut changes, *cidr)
            {
                block::set_attribute(&mut change.block, ordinal, attribute);
            }
        }
    }
    let mut batch = Batch::new();
    for (cidr, Changed { mut block, expect }) in changes {
        block::collect(&mut block, now, cooldown);
        block::bump(&mut block);
        batch.put(Key::Block(cidr), expect, Value::Block(block));
    }
    Ok((addresses, batch))
}

impl SetOwnerAttributesPlanner {
    /// The attribute with the changed owners; `None` where nothing changes.
    fn changed(
        &self,
        block: BlockCidr,
        addr: IpAddr,
        found: &Attribute,
    ) -> Result<Option<Attribute>, SetOwnerError> {
        let slots = [
            ("ActiveOwnerAttrs", &self.request.active, &found.owner),
            ("AlternateOwnerAttrs", &self.request.alternate, &found.alternate_owner),
        ];
        if slots.iter().all(|(_, change, owner)| change.is_made(owner)) {
            return Ok(None);
        }
        if found.odd.is_some() {
            return Err(SetOwnerError::Odd(Key::Block(block), addr));
        }
        let [owner, alternate_owner] = slots.map(|(slot, change, owner)| {
            change.of(owner).map(Cow::into_owned).map_err(|expected| {
                let expected = pod_text(expected.map(|pod| &pod.namespace), expected.map(|pod| &pod.name));
                let (namespace, name) = namespace_and_name(owner);
                SetOwnerError::OtherOwner { addr, slot, expected, found: pod_text(namespace, name) }
            })
        });
        let (owner, alternate_owner) = (owner?, alternate_owner?);
        Ok(Some(Attribute { owner, alternate_owner, ..found.clone() }))
    }
}

impl Change {
    /// Whether the slot already has the wanted owner.
    fn is_made(&self, found: &OwnerAttributes) -> bool {
        match self {
            Change::Keep => true,
            Change::Set(wanted) | Change::Replace { by: wanted, .. } => wanted == found,
            Change::Leave(pod) => !pod.is(found),
        }
    }

    /// The slot's new owner. The error is the owner that was expected, where the slot has another.
    fn of<'a>(&'a self, found: &'a OwnerAttributes) -> Result<Cow<'a, OwnerAttributes>, Option<&'a PodName>> {
        match self {
            Change::Keep => Ok(Cow::Borrowed(found)),
            Change::Set(wanted) => Ok(Cow::Borrowed(wanted)),
            Change::Replace { expected, by } => {
                let is_as_expected = match expected {
                    Some(pod) => pod.is(found),
                    None => found.is_empty(),
                };
                if is_as_expected { Ok(Cow::Borrowed(by)) } else { Err(expected.as_ref()) }
            }
            Change::Leave(pod) if pod.is(found) => Ok(Cow::Owned(OwnerAttributes::new())),
            Change::Leave(_) => Ok(Cow::Borrowed(found)),
        }
    }
}
