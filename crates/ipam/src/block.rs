//! How a block changes: creation, taking and giving back addresses, cooling down (`libcalico-go/lib/ipam/ipam_block.go`).
//!
//! Every method works in memory on a copy; the plan that made it writes the copy with a compare-and-swap.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Owner, Timestamp, time};

use crate::reservations::Reserved;

pub use api::block::WINDOWS_RESERVED_HANDLE;

/// Addresses at both ends of every block of a host that its operating system keeps for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReserved {
    /// Ordinals from the start.
    pub at_start: u32,
    /// Ordinals at the end.
    pub at_end: u32,
    /// The handle to mark them with; no handle record is kept for it.
    pub handle: String,
    /// A remark, kept with them.
    pub note: String,
}

/// Why addresses cannot be taken from a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// The block is nobody's, and the request takes only from its own. Look for another block.
    #[error("Attempt to assign from block {0} with no affinity")]
    NoAffinity(BlockCidr),
    /// The block is another's, and the request takes only from its own. Look for another block.
    #[error("Block affinity ({found}) does not match provided ({wanted})")]
    Affinity {
        /// Whose it is.
        found: String,
        /// Who asks.
        wanted: String,
    },
    /// The address that was asked for is in use, or cooling down.
    #[error("resource already exists: {0} with error: Address already assigned in block")]
    Taken(IpAddr),
    /// The address that was asked for lies elsewhere.
    #[error("IP {0} not in block {1}")]
    Outside(IpAddr, BlockCidr),
    /// The address that was asked for lies in another's block, and the request takes only from its own.
    #[error("Block host affinity does not match")]
    HostAffinity,
}

/// Why addresses cannot be given back: none of this block's are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The address was assigned anew since the caller looked.
    #[error(
        "update conflict: the given sequence number ({given}) does not match ({stored}) when attempting to release IP"
    )]
    Sequence {
        /// The caller's number.
        given: u64,
        /// The stored one.
        stored: u64,
    },
    /// The address belongs to another handle.
    #[error(
        "update conflict: the given handle ({given}) does not match ({stored}) when attempting to release IP"
    )]
    Handle {
        /// The caller's handle.
        given: String,
        /// The stored one.
        stored: String,
    },
}

/// An address to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseIp {
    /// The address.
    pub addr: IpAddr,
    /// The handle that it must belong to.
    pub handle: Option<String>,
    /// The sequence number that it must have been assigned with.
    pub sequence: Option<u64>,
}

/// What giving addresses back came to, in one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Given back now.
    pub released: Vec<IpAddr>,
    /// Free already, or cooling down.
    pub unallocated: Vec<IpAddr>,
    /// How many of each handle were given back.
    pub by_handle: BTreeMap<String, u32>,
}

/// A new block of an owner: all free but what the host keeps for itself.
pub fn create(cidr: BlockCidr, owner: &Owner, reserved: Option<&HostReserved>, now: Timestamp) -> Block {
    let size = cidr.size();
    let mut block = Block {
        cidr,
        affinity: Some(owner.affinity_text().into()),
        affinity_claim_time: Some(whole_seconds(now)),
        allocations: vec![None; size as usize],
        unallocated: (0..size).collect(),
        attributes: Vec::new(),
        sequence_number: time::sequence(now),
        sequence_numbers: Vec::new(),
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    };
    if let Some(reserved) = reserved {
        let start = reserved.at_start.min(size);
        let end = size.saturating_sub(reserved.at_end).max(start);
        block.unallocated = (start..end).collect();
        let note = BTreeMap::from([("note".to_string(), reserved.note.clone())]);
        block.attributes.push(Arc::new(Attribute {
            handle_id: Some(reserved.handle.clone()),
            owner: note,
            ..Attribute::default()
        }));
        for ordinal in (0..start).chain(end..size) {
            block.allocations[ordinal as usize] = Some(0);
        }
    }
    block
}

/// A copy to take an address from: it has room for what one adds, so that nothing moves.
pub fn copy(stored: &Block) -> Block {
    fn with_room<T: Clone>(items: &[T]) -> Vec<T> {
        let mut copy = Vec::with_capacity(items.len() + 1);
        copy.extend_from_slice(items);
        copy
    }
    Block {
        cidr: stored.cidr,
        affinity: stored.affinity.clone(),
        affinity_claim_time: stored.affinity_claim_time,
        allocations: stored.allocations.clone(),
        unallocated: stored.unallocated.clone(),
        attributes: with_room(&stored.attributes),
        sequence_number: stored.sequence_number,
        sequence_numbers: with_room(&stored.sequence_numbers),
        deleted: stored.deleted,
        legacy_host_affinity: stored.legacy_host_affinity.clone(),
        residue: stored.residue.clone(),
    }
}

/// Gives an address that is taken another attribute, and no other address; its sequence number stays. [`collect`] drops what nothing refers to any more.
pub fn set_attribute(block: &mut Block, ordinal: u32, attribute: Attribute) {
    let index = match block.attributes.iter().position(|a| **a == attribute) {
        Some(index) => index,
        None => {
            block.attributes.push(Arc::new(attribute));
            block.attributes.len() - 1
        }
    };
    if let Some(allocation @ Some(_)) = block.allocations.get_mut(ordinal as usize) {
        *allocation = Some(index as u32);
    }
}

/// Whether what was released then has cooled down.
pub fn is_cold(released: Timestamp, now: Timestamp, cooldown_seconds: i64) -> bool {
    let wait = i128::from(cooldown_seconds) * 1_000_000_000;
    wait <= 0 || released.as_nanosecond() + wait < now.as_nanosecond()
}

/// Frees what has cooled down: every allocation that was released more than `cooldown_seconds` before `now`; with a cooldown of 0 or less,
/// every one that was released. Freed ordinals queue up in ordinal order. Runs on every block that is loaded, and is stored with the
/// next write. Also drops attributes that nothing refers to, and renumbers.
///
/// Tells whether it freed anything.
pub fn collect(block: &mut Block, now: Timestamp, cooldown_seconds: i64) -> bool {
    let cold = |released: Timestamp| is_cold(released, now, cooldown_seconds);
    // Most blocks have nothing that cools down; whoever looks at one should not pay for it.
    if block.attributes.iter().all(|attribute| attribute.released_at.is_none()) {
        prune_attributes(block);
        return false;
    }
    let mut freed = false;
    for ordinal in 0..block.allocations.len() as u32 {
        let released = block.attribute(ordinal).and_then(|a| a.released_at);
        if released.is_some_and(cold) {
            block.allocations[ordinal as usize] = None;
            block.unallocated.push(ordinal);
            forget_sequence(block, ordinal);
            freed = true;
        }
    }
    prune_attributes(block);
    freed
}

/// Takes up to `wanted` free addresses, in the order of the queue, leaving out reserved ones (they keep their place).
///
/// With `owner`, the block must be that owner's. Every address taken gets `attribute`, and the block's present sequence number.
pub fn assign(
    block: &mut Block,
    wanted: u32,
    owner: Option<&str>,
    attribute: &Arc<Attribute>,
    reserved: &Reserved,
) -> Result<Vec<IpAddr>, AssignError> {
    if let Some(wanted) = owner {
        match block.affinity.as_deref() {
            Some(found) if found == wanted => {}
            Some(found) => {
                return Err(AssignError::Affinity { found: found.to_string(), wanted: wanted.to_string() });
            }
            None => return Err(AssignError::NoAffinity(block.cidr)),
        }
    }
    let taken = take_free(block, wanted as usize, reserved);
    mark(block, &taken, attribute);
    Ok(taken.iter().filter_map(|ordinal| block.cidr.addr(*ordinal)).collect())
}

/// Takes that address.
pub fn assign_addr(
    block: &mut Block,
    addr: IpAddr,
    owner: Option<&str>,
    attribute: &Arc<Attribute>,
) -> Result<(), AssignError> {
    if owner.is_some() && owner != block.affinity.as_deref() {
        return Err(AssignError::HostAffinity);
    }
    let ordinal = block.cidr.ordinal(addr).ok_or(AssignError::Outside(addr, block.cidr))?;
    if !matches!(block.allocations.get(ordinal as usize), Some(None)) {
        return Err(AssignError::Taken(addr));
    }
    block.unallocated.retain(|free| *free != ordinal);
    mark(block, &[ordinal], attribute);
    Ok(())
}

/// Gives addresses back. A mismatch of sequence number or handle refuses all of them.
pub fn release(
    block: &mut Block,
    ips: &[ReleaseIp],
    now: Timestamp,
    cooldown_seconds: i64,
) -> Result<Released, ReleaseError> {
    let mut out = Released::default();
    // What had cooled down before queues up before what is given back now, as Calico collects whenever it loads a block.
    collect(block, now, cooldown_seconds);
    // Of several requests for one address the last one counts.
    let by_ordinal: BTreeMap<u32, &ReleaseIp> =
        ips.iter().filter_map(|ip| Some((block.cidr.ordinal(ip.addr)?, ip))).collect();
    let mut ordinals = Vec::new();
    for (ordinal, ip) in by_ordinal {
        if let Some(given) = ip.sequence {
            let stored = block.sequence_of(ordinal);
            if given != stored {
                return Err(ReleaseError::Sequence { given, stored });
            }
        }
        let attribute = match block.attribute(ordinal) {
            Some(attribute) if attribute.released_at.is_none() => attribute,
            _ => {
                out.unallocated.push(ip.addr);
                continue;
            }
        };
        let stored = attribute.handle().unwrap_or_default();
        if let Some(given) = ip.handle.as_deref()
            && given != stored
        {
            return Err(ReleaseError::Handle { given: given.to_string(), stored: stored.to_string() });
        }
        if attribute.handle_id.is_some() {
            *out.by_handle.entry(stored.to_string()).or_default() += 1;
        }
        ordinals.push(ordinal);
        out.released.push(ip.addr);
    }
    cool_down(block, &ordinals, now, true);
    collect(block, now, cooldown_seconds);
    Ok(out)
}

/// Gives back the addresses of a handle of which that is noted; tells which.
pub fn release_by_handle(
    block: &mut Block,
    handle: &str,
    is_meant: impl Fn(&Attribute) -> bool,
    now: Timestamp,
    cooldown_seconds: i64,
) -> Vec<IpAddr> {
    collect(block, now, cooldown_seconds);
    let mut ordinals = ordinals_of(block, handle);
    ordinals.retain(|ordinal| block.attribute(*ordinal).is_some_and(|attribute| is_meant(attribute)));
    let addresses = ordinals.iter().filter_map(|ordinal| block.cidr.addr(*ordinal)).collect();
    // Calico does not renew the sequence numbers here (`releaseByHandle`).
    cool_down(block, &ordinals, now, false);
    collect(block, now, cooldown_seconds);
    addresses
}

/// The ordinals that a handle holds; not those cooling down.
pub fn ordinals_of(block: &Block, handle: &str) -> Vec<u32> {
    let holds = |ordinal: &u32| {
        block.attribute(*ordinal).is_some_and(|a| a.released_at.is_none() && a.handle() == Some(handle))
    };
    (0..block.allocations.len() as u32).filter(holds).collect()
}

/// How many addresses a handle holds, those included whose handle cannot be read: what the handle may count at least.
pub fn may_hold(block: &Block, handle: &str) -> u32 {
    let holds = |ordinal: &u32| {
        block.attribute(*ordinal).is_some_and(|a| {
            a.released_at.is_none()
                && (a.handle() == Some(handle) || a.odd.is_some() && a.handle_id.is_none())
        })
    };
    (0..block.allocations.len() as u32).filter(holds).count() as u32
}

/// An address that somebody holds whose handle cannot be read.
pub fn doubtful_holder(block: &Block) -> Option<IpAddr> {
    let is_doubtful = |ordinal: &u32| {
        block
            .attribute(*ordinal)
            .is_some_and(|a| a.odd.is_some() && a.handle_id.is_none() && a.released_at.is_none())
    };
    (0..block.allocations.len() as u32).find(is_doubtful).and_then(|ordinal| block.cidr.addr(ordinal))
}

/// Whether nothing is allocated but what Windows keeps for itself. An address that cools down keeps a block from being empty.
pub fn is_empty(block: &Block) -> bool {
    let free = |ordinal: u32| match block.allocations.get(ordinal as usize) {
        Some(Some(_)) => block
            .attribute(ordinal)
            .and_then(|a| a.handle())
            .is_some_and(api::block::is_kept_by_windows),
        _ => true,
    };
    (0..block.allocations.len() as u32).all(free)
}

/// Number of addresses that can be taken automatically.
pub fn free_count(block: &Block, reserved: &Reserved) -> u32 {
    if reserved.is_empty() {
        return block.unallocated.len() as u32;
    }
    block.unallocated.iter().filter(|ordinal| is_free(block, **ordinal, reserved)).count() as u32
}

/// The owner gives the block up, or has none.
pub fn disown(block: &mut Block) {
    block.affinity = None;
    block.affinity_claim_time = None;
}

/// Every write of an existing block counts.
pub fn bump(block: &mut Block) {
    block.sequence_number = block.sequence_number.wrapping_add(1);
}

fn is_free(block: &Block, ordinal: u32, reserved: &Reserved) -> bool {
    matches!(block.allocations.get(ordinal as usize), Some(None))
        && (reserved.is_empty() || block.cidr.addr(ordinal).is_some_and(|addr| !reserved.holds(addr)))
}

/// Takes ordinals out of the queue: the first `wanted` that may be assigned. In a damaged block the queue can name an ordinal twice, or one that is in
/// use; such entries stay, and are never taken.
fn take_free(block: &mut Block, wanted: usize, reserved: &Reserved) -> Vec<u32> {
    let mut taken: Vec<u32> = Vec::with_capacity(wanted.min(block.unallocated.len()));
    let mut passed = Vec::new();
    for ordinal in &block.unallocated {
        if taken.len() == wanted {
            break;
        }
        let takes = is_free(block, *ordinal, reserved) && !taken.contains(ordinal);
        if takes { &mut taken } else { &mut passed }.push(*ordinal);
    }
    block.unallocated.splice(..taken.len() + passed.len(), passed);
    taken
}

/// Marks ordinals as allocated, all with the one attribute.
fn mark(block: &mut Block, ordinals: &[u32], attribute: &Arc<Attribute>) {
    if ordinals.is_empty() {
        return;
    }
    // Handles begin alike and differ at their ends: a look there spares most comparisons of the whole.
    let tail = |a: &Attribute| a.handle_id.as_ref().and_then(|id| id.as_bytes().last_chunk::<8>().copied());
    let wanted = tail(attribute);
    let index = match block.attributes.iter().position(|a| tail(a) == wanted && a == attribute) {
        Some(index) => index,
        None => {
            block.attributes.push(attribute.clone());
            block.attributes.len() - 1
        }
    };
    for ordinal in ordinals {
        block.allocations[*ordinal as usize] = Some(index as u32);
        remember_sequence(block, *ordinal);
    }
}

fn cool_down(block: &mut Block, ordinals: &[u32], now: Timestamp, renew: bool) {
    if ordinals.is_empty() {
        return;
    }
    let released = Attribute { released_at: Some(whole_seconds(now)), ..Attribute::default() };
    block.attributes.push(Arc::new(released));
    let index = block.attributes.len() as u32 - 1;
    for ordinal in ordinals {
        block.allocations[*ordinal as usize] = Some(index);
        if renew {
            remember_sequence(block, *ordinal);
        }
    }
}

fn remember_sequence(block: &mut Block, ordinal: u32) {
    let number = block.sequence_number;
    match block.sequence_numbers.binary_search_by_key(&ordinal, |(o, _)| *o) {
        Ok(at) => block.sequence_numbers[at].1 = number,
        Err(at) => block.sequence_numbers.insert(at, (ordinal, number)),
    }
}

fn forget_sequence(block: &mut Block, ordinal: u32) {
    if let Ok(at) = block.sequence_numbers.binary_search_by_key(&ordinal, |(o, _)| *o) {
        block.sequence_numbers.remove(at);
    }
}

/// Drops attributes that no ordinal refers to and renumbers the rest, in their order.
fn prune_attributes(block: &mut Block) {
    let mut used = vec![false; block.attributes.len()];
    for index in block.allocations.iter().flatten() {
        if let Some(used) = used.get_mut(*index as usize) {
            *used = true;
        }
    }
    if used.iter().all(|used| *used) {
        return;
    }
    let mut renumbered = vec![None; used.len()];
    let mut kept = Vec::new();
    for (old, attribute) in block.attributes.drain(..).enumerate() {
        if used[old] {
            renumbered[old] = Some(kept.len() as u32);
            kept.push(attribute);
        }
    }
    block.attributes = kept;
    for index in block.allocations.iter_mut().flatten() {
        if let Some(Some(new)) = renumbered.get(*index as usize) {
            *index = *new;
        }
    }
}

/// `metav1.Time` is stored in whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
