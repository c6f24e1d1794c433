//! The changes that Calico's allocator makes to a block in memory (`libcalico-go/lib/ipam/ipam_block.go`). As
//! in Calico's code, indexes are used unchecked: a wrong one ends the process.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Timestamp};

/// A new block of a host.
pub fn new(cidr: BlockCidr, host: &str, now: Timestamp) -> Block {
    Block {
        cidr,
        affinity: Some(affinity_text(host).into()),
        affinity_claim_time: Some(now),
        allocations: vec![None; cidr.size() as usize],
        unallocated: (0..cidr.size()).collect(),
        attributes: Vec::new(),
        sequence_number: now.as_nanosecond() as u64,
        sequence_numbers: Vec::new(),
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    }
}

pub fn affinity_text(host: &str) -> String {
    format!("host:{host}")
}

/// Takes up to `count` addresses from the head of the free ones.
pub fn assign(
    block: &mut Block,
    count: usize,
    handle: &str,
    owner: &BTreeMap<String, String>,
) -> Vec<IpAddr> {
    let count = count.min(block.unallocated.len());
    if count == 0 {
        return Vec::new();
    }
    let attribute =
        Attribute { handle_id: Some(handle.to_string()), owner: owner.clone(), ..Attribute::default() };
    let index = match block.attributes.iter().position(|known| **known == attribute) {
        Some(index) => index,
        None => {
            block.attributes.push(Arc::new(attribute));
            block.attributes.len() - 1
        }
    };
    let ordinals: Vec<u32> = block.unallocated.drain(..count).collect();
    for ordinal in &ordinals {
        assert_eq!(block.allocations[*ordinal as usize], None, "a free ordinal is allocated");
        block.allocations[*ordinal as usize] = Some(index as u32);
        set_sequence(block, *ordinal);
    }
    ordinals.into_iter().filter_map(|ordinal| block.cidr.addr(ordinal)).collect()
}

fn set_sequence(block: &mut Block, ordinal: u32) {
    block.sequence_numbers.retain(|(at, _)| *at != ordinal);
    block.sequence_numbers.push((ordinal, block.sequence_number));
    block.sequence_numbers.sort_unstable();
}

/// The ordinals that a handle holds.
pub fn ordinals_of(block: &Block, handle: &str) -> Vec<u32> {
    let holds = |ordinal: &u32| match block.allocations[*ordinal as usize] {
        Some(index) => block.attributes[index as usize].handle() == Some(handle),
        None => false,
    };
    (0..block.cidr.size()).filter(holds).collect()
}

/// Frees ordinals, without cooldown, and removes attributes that no ordinal refers to any more.
pub fn release(block: &mut Block, ordinals: &[u32]) {
    for ordinal in ordinals {
        block.allocations[*ordinal as usize] = None;
        block.unallocated.push(*ordinal);
        block.sequence_numbers.retain(|(at, _)| at != ordinal);
    }
    let old = std::mem::take(&mut block.attributes);
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    for (index, attribute) in old.iter().enumerate() {
        if block.allocations.contains(&Some(index as u32)) {
            places.insert(index as u32, block.attributes.len() as u32);
            block.attributes.push(attribute.clone());
        }
    }
    for index in block.allocations.iter_mut().flatten() {
        *index = *places.get(index).unwrap_or_else(|| panic!("index {index} out of range"));
    }
}

pub fn is_empty(block: &Block) -> bool {
    block.allocations.iter().all(Option::is_none)
}
