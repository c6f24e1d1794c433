//! How a block changes: it is created, addresses are taken and given back, released addresses cool down
//! (`libcalico-go/lib/ipam/ipam_block.go`).
//!
//! All functions change a copy in memory. The plan that made the copy writes it with a compare-and-swap.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Owner, Timestamp, time};

use crate::reservations::Reserved;

pub use api::block::WINDOWS_RESERVED_HANDLE;

/// Addresses at both ends of every block of a host that the host's operating system (Windows) reserves for
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReserved {
    /// How many addresses at the start of a block.
    pub at_start: u32,
    /// How many addresses at the end of a block.
    pub at_end: u32,
    /// The handle that marks these addresses. No handle record exists for it.
    pub handle: String,
    /// A note that is stored with these addresses.
    pub note: String,
}

/// Why addresses cannot be taken from a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// The block has no owner, and the request takes addresses only from its own blocks. Try another block.
    #[error("Attempt to assign from block {0} with no affinity")]
    NoAffinity(BlockCidr),
    /// The block has another owner, and the request takes addresses only from its own blocks. Try another
    /// block.
    #[error("Block affinity ({found}) does not match provided ({wanted})")]
    Affinity {
        /// The block's owner.
        found: String,
        /// The owner that asks.
        wanted: String,
    },
    /// The requested address is in use, or cooling down.
    #[error("resource already exists: {0} with error: Address already assigned in block")]
    Taken(IpAddr),
    /// The requested address is not in this block.
    #[error("IP {0} not in block {1}")]
    Outside(IpAddr, BlockCidr),
    /// The requested address is in another owner's block, and the request takes addresses only from its own
    /// blocks.
    #[error("Block host affinity does not match")]
    HostAffinity,
}

/// Why addresses cannot be given back. Then none of this block's addresses are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The address has been assigned again since the caller read it.
    #[error(
        "update conflict: the given sequence number ({given}) does not match ({stored}) when attempting to release IP"
    )]
    Sequence {
        /// The caller's number.
        given: u64,
        /// The stored number.
        stored: u64,
    },
    /// The address belongs to another handle.
    #[error(
        "update conflict: the given handle ({given}) does not match ({stored}) when attempting to release IP"
    )]
    Handle {
        /// The caller's handle.
        given: String,
        /// The stored handle.
        stored: String,
    },
}

/// An address to give back, and what must hold for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseIp {
    /// The address.
    pub addr: IpAddr,
    /// The handle to which the address must belong; `None` for any.
    pub handle: Option<String>,
    /// The sequence number with which the address must have been assigned; `None` for any.
    pub sequence: Option<u64>,
}

/// The result of giving back addresses of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Addresses that were given back now.
    pub released: Vec<IpAddr>,
    /// Addresses that were free already, or cooling down.
    pub unallocated: Vec<IpAddr>,
    /// How many addresses of each handle were given back.
    pub by_handle: BTreeMap<String, u32>,
}

/// A new block of an owner. All of its addresses are free, except those that the host reserves for itself.
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

/// A copy with room for what one more address adds, so that the later change does not move its vectors.
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

/// Sets the attribute of one address that is in use. Other addresses with the same old attribute keep that,
/// and the sequence number stays. [`collect`] later drops attributes that no address has any more.
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

/// Whether an address that was released at a time has cooled down.
pub fn is_cold(released: Timestamp, now: Timestamp, cooldown_seconds: i64) -> bool {
    let wait = i128::from(cooldown_seconds) * 1_000_000_000;
    wait <= 0 || released.as_nanosecond() + wait < now.as_nanosecond()
}

/// Frees addresses that have cooled down: those that were released more than `cooldown_seconds` before `now`,
/// or with a cooldown of 0 or less all that were released. Freed ordinals go to the end of the queue in
/// ascending order. Planners do this to every block that they load; the next write of the block stores it. It
/// also drops attributes that no address has any more, and renumbers the rest.
///
/// Gives whether it freed any address.
pub fn collect(block: &mut Block, now: Timestamp, cooldown_seconds: i64) -> bool {
    let cold = |released: Timestamp| is_cold(released, now, cooldown_seconds);
    // Most blocks have no released addresses, so this check makes the common case fast.
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

/// Takes up to `wanted` free addresses in the order of the queue. It passes over reserved addresses, which
/// keep their places.
///
/// With `owner`, the block must be that owner's. Every address gets `attribute` and the block's present
/// sequence number.
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

/// Takes the address `addr`.
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

/// Gives addresses back. A mismatch of one sequence number or handle refuses all of them.
pub fn release(
    block: &mut Block,
    ips: &[ReleaseIp],
    now: Timestamp,
    cooldown_seconds: i64,
) -> Result<Released, ReleaseError> {
    let mut out = Released::default();
    // Addresses that had cooled down before go to the queue before those that are given back now, because
    // Calico also does this whenever it loads a block.
    collect(block, now, cooldown_seconds);
    // If the request names an address more than once, the last one counts.
    let by_ordinal: BTreeMap<u32, &ReleaseIp> =
        ips.iter().filter_map(|ip| Some((block.cidr.ordinal(ip.addr)?, ip))).collect();
    let mut ordinals = Vec::new();
    for (ordinal, ip) in by_ordinal {
        if let Some(error) = mismatch(block, ordinal, ip) {
            return Err(error);
        }
        let attribute = match block.attribute(ordinal) {
            Some(attribute) if attribute.released_at.is_none() => attribute,
            _ => {
                out.unallocated.push(ip.addr);
                continue;
            }
        };
        let stored = attribute.handle().unwrap_or_default();
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

/// What the caller says of an address that is not so. Sequence numbers of free addresses are compared, too.
fn mismatch(block: &Block, ordinal: u32, ip: &ReleaseIp) -> Option<ReleaseError> {
    let stored = block.sequence_of(ordinal);
    if let Some(given) = ip.sequence.filter(|given| *given != stored) {
        return Some(ReleaseError::Sequence { given, stored });
    }
    let attribute = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none())?;
    let (given, stored) = (ip.handle.as_deref()?, attribute.handle().unwrap_or_default());
    let error = || ReleaseError::Handle { given: given.to_string(), stored: stored.to_string() };
    (given != stored).then(error)
}

/// Takes from `ips` those that [`release`] would refuse; gives them with the reason of each.
pub fn take_refused(
    block: &mut Block,
    ips: &mut Vec<ReleaseIp>,
    now: Timestamp,
    cooldown_seconds: i64,
) -> Vec<(IpAddr, ReleaseError)> {
    collect(block, now, cooldown_seconds);
    let mut refused = Vec::new();
    ips.retain(|ip| {
        let error = block.cidr.ordinal(ip.addr).and_then(|ordinal| mismatch(block, ordinal, ip));
        let is_fine = error.is_none();
        refused.extend(error.map(|error| (ip.addr, error)));
        is_fine
    });
    refused
}

/// Releases those addresses of a handle whose ordinals `is_meant` accepts. Gives the released addresses.
pub fn release_by_handle(
    block: &mut Block,
    handle: &str,
    is_meant: impl Fn(u32) -> bool,
    now: Timestamp,
    cooldown_seconds: i64,
) -> Vec<IpAddr> {
    collect(block, now, cooldown_seconds);
    let mut ordinals = ordinals_of(block, handle);
    ordinals.retain(|ordinal| is_meant(*ordinal));
    let addresses = ordinals.iter().filter_map(|ordinal| block.cidr.addr(*ordinal)).collect();
    // Calico does not renew the sequence numbers in this case (`releaseByHandle`).
    cool_down(block, &ordinals, now, false);
    collect(block, now, cooldown_seconds);
    addresses
}

/// Whether an address was released, and its cooldown has not been ended.
pub fn is_cooling(block: &Block, ordinal: u32) -> bool {
    block.attribute(ordinal).is_some_and(|attribute| attribute.released_at.is_some())
}

/// The ordinals that a handle holds, without those that cool down.
pub fn ordinals_of(block: &Block, handle: &str) -> Vec<u32> {
    let holds = |ordinal: &u32| {
        block.attribute(*ordinal).is_some_and(|a| a.released_at.is_none() && a.handle() == Some(handle))
    };
    (0..block.allocations.len() as u32).filter(holds).collect()
}

/// How many addresses a handle may hold at most, counting every address whose handle cannot be parsed. The
/// handle's count must not be set lower.
pub fn may_hold(block: &Block, handle: &str) -> u32 {
    let holds = |ordinal: &u32| {
        block.attribute(*ordinal).is_some_and(|a| {
            a.released_at.is_none()
                && (a.handle() == Some(handle) || a.odd.is_some() && a.handle_id.is_none())
        })
    };
    (0..block.allocations.len() as u32).filter(holds).count() as u32
}

/// An address in use whose handle cannot be parsed.
pub fn doubtful_holder(block: &Block) -> Option<IpAddr> {
    let is_doubtful = |ordinal: &u32| {
        block
            .attribute(*ordinal)
            .is_some_and(|a| a.odd.is_some() && a.handle_id.is_none() && a.released_at.is_none())
    };
    (0..block.allocations.len() as u32).find(is_doubtful).and_then(|ordinal| block.cidr.addr(ordinal))
}

/// Whether no address is allocated except those that Windows reserves. An address that cools down keeps a
/// block from being empty.
pub fn is_empty(block: &Block) -> bool {
    let free = |ordinal: u32| match block.allocations.get(ordinal as usize) {
        Some(Some(_)) => {
            block.attribute(ordinal).and_then(|a| a.handle()).is_some_and(api::block::is_kept_by_windows)
        }
        _ => true,
    };
    (0..block.allocations.len() as u32).all(free)
}

/// How many addresses can be assigned automatically.
pub fn free_count(block: &Block, reserved: &Reserved) -> u32 {
    if reserved.is_empty() {
        return block.unallocated.len() as u32;
    }
    block.unallocated.iter().filter(|ordinal| is_free(block, **ordinal, reserved)).count() as u32
}

/// Removes the block's owner.
pub fn disown(block: &mut Block) {
    block.affinity = None;
    block.affinity_claim_time = None;
}

/// Raises the sequence number, as every write of an existing block must.
pub fn bump(block: &mut Block) {
    block.sequence_number = block.sequence_number.wrapping_add(1);
}

fn is_free(block: &Block, ordinal: u32, reserved: &Reserved) -> bool {
    matches!(block.allocations.get(ordinal as usize), Some(None))
        && (reserved.is_empty() || block.cidr.addr(ordinal).is_some_and(|addr| !reserved.holds(addr)))
}

/// Takes the first `wanted` ordinals that may be assigned out of the queue. In a damaged block, the queue may
/// name an ordinal twice, or one that is in use. Such entries stay in the queue, and are never taken.
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

/// Marks ordinals as allocated with the same attribute.
fn mark(block: &mut Block, ordinals: &[u32], attribute: &Arc<Attribute>) {
    if ordinals.is_empty() {
        return;
    }
    // Handles often begin alike and differ at their ends, so comparing the last bytes first saves most full
    // comparisons.
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

/// Drops attributes that no ordinal has, and renumbers the others in their order.
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

/// The time in whole seconds, as `metav1.Time` is stored.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
