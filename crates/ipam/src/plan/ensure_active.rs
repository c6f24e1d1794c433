//! Makes the pod to which a virtual machine has moved the active owner of the machine's addresses
//! (`libcalico-go/lib/ipam`, `EnsureActiveVMOwnerAttrs`). Felix does this when a migration ends.

use std::net::IpAddr;

use api::{Attribute, BlockCidr, HandleId, Key, Timestamp};
use store::{ReadSet, View};

use crate::plan::set_owner::{PodName, change_owners, namespace_and_name};
use crate::plan::{Plan, Planner};

/// A request to make a pod the active owner of all addresses of a machine's handle. The pod must be the
/// alternate owner. The active owner so far, if there is one, becomes the alternate owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsureActiveOwner {
    /// The machine's handle.
    pub handle: HandleId,
    /// The pod to which the machine has moved.
    pub pod: PodName,
}

impl EnsureActiveOwner {
    /// The planner for this request.
    pub fn planner(self) -> EnsureActiveOwnerPlanner {
        EnsureActiveOwnerPlanner { request: self }
    }
}

/// The planner for [`EnsureActiveOwner`]. It needs no memory over its attempts: an address whose active owner
/// is the pod already needs no write.
#[derive(Clone, Debug)]
pub struct EnsureActiveOwnerPlanner {
    request: EnsureActiveOwner,
}

/// Why no owner was changed. Calico goes from address to address, and changes those before the one that
/// fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnsureActiveOwnerError {
    /// The handle does not exist or holds no address: the machine was deleted.
    #[error("no IPs found for handle {0}")]
    NoAddresses(HandleId),
    /// The pod is neither the active nor the alternate owner, and there is no alternate owner: the pod was
    /// deleted, or never asked for the address.
    #[error("AlternateOwnerAttrs is empty for IP {0}")]
    AlternateEmpty(IpAddr),
    /// Another pod is the alternate owner. Read again to which pod the machine moves.
    #[error(
        "AlternateOwnerAttrs doesn't match expected target owner: expected namespace={} pod={}, got namespace={namespace} pod={name} for IP {addr}",
        expected.namespace, expected.name
    )]
    AlternateMismatch {
        /// The address.
        addr: IpAddr,
        /// The pod of the request.
        expected: PodName,
        /// The namespace of the alternate owner.
        namespace: String,
        /// The name of the alternate owner.
        name: String,
    },
    /// A part of the address's attributes cannot be parsed, and a write would lose it. Mend the record.
    #[error("{0}: the owner of {1} cannot be changed: a part of what is noted of it cannot be read")]
    Odd(Key, IpAddr),
}

impl Planner for EnsureActiveOwnerPlanner {
    /// The addresses of the handle. The pod is the active owner of each.
    type Answer = Vec<IpAddr>;
    type Error = EnsureActiveOwnerError;

    fn reads(&self) -> ReadSet {
        ReadSet::new().key(Key::IpamConfig).key(Key::Handle(self.request.handle.clone()))
    }

    fn plan(&mut self, view: &View, now: Timestamp, _: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        let id = &self.request.handle;
        let handle = view.handle(id).flatten().map(|(handle, _)| handle);
        let blocks: Vec<BlockCidr> = handle.into_iter().flat_map(|it| it.blocks.keys().copied()).collect();
        let missing = view.missing(blocks.iter().copied().map(Key::Block));
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        let (held, batch) =
            change_owners(view, id, &blocks, now, |block, addr, found| self.promoted(block, addr, found))?;
        if held.is_empty() {
            return Err(EnsureActiveOwnerError::NoAddresses(id.clone()));
        }
        Ok(if batch.is_empty() { Plan::Done(held) } else { Plan::Commit { batch, answer: held } })
    }
}

impl EnsureActiveOwnerPlanner {
    /// The attribute with the owners exchanged; `None` where the pod is the active owner already.
    fn promoted(
        &self,
        block: BlockCidr,
        addr: IpAddr,
        found: &Attribute,
    ) -> Result<Option<Attribute>, EnsureActiveOwnerError> {
        let pod = &self.request.pod;
        if pod.is(&found.owner) {
            return Ok(None);
        }
        if found.odd.is_some() {
            return Err(EnsureActiveOwnerError::Odd(Key::Block(block), addr));
        }
        if found.alternate_owner.is_empty() {
            return Err(EnsureActiveOwnerError::AlternateEmpty(addr));
        }
        if !pod.is(&found.alternate_owner) {
            let (namespace, name) = namespace_and_name(&found.alternate_owner);
            let text = |part: Option<&String>| part.cloned().unwrap_or_default();
            let (expected, namespace, name) = (pod.clone(), text(namespace), text(name));
            return Err(EnsureActiveOwnerError::AlternateMismatch { addr, expected, namespace, name });
        }
        let (owner, alternate_owner) = (found.alternate_owner.clone(), found.owner.clone());
        Ok(Some(Attribute { owner, alternate_owner, ..found.clone() }))
    }
}
