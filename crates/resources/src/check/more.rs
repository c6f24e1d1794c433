//! What Calico's check does not find, or finds and does not count.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::{BlockCidr, Cidr, Key};
use ipam::invariants::{Disagreement, Violation};

use super::Checked;

/// A problem that Calico's check does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What kind of problem it is, in a word that stays the same.
    pub kind: &'static str,
    /// The record, or the address, that has the problem.
    pub record: String,
    /// What is wrong.
    pub reason: String,
}

/// The kind of a record, or a part of one, that cannot be read.
pub(super) const UNREADABLE: &str = "unreadable";

pub(super) fn problems(
    checked: &Checked,
    violations: Vec<Violation>,
    unreadable: Vec<Problem>,
    pools: &[Cidr],
) -> Vec<Problem> {
    let mut problems = unreadable;
    let leaked: BTreeSet<&str> = checked.leaked_handles.iter().map(|(id, _)| &**id).collect();
    let unread: BTreeSet<Key> = violations.iter().filter_map(unread).collect();
    let is_unread = |block: &BlockCidr| unread.contains(&Key::Block(*block));
    let counted = |violation: &Violation| match violation {
        // Nobody knows what a record that cannot be read would have said.
        Violation::Affinity { block, found: Disagreement::NoBlock, .. } => is_unread(block),
        Violation::LostBlock { block, owner } => {
            unread.contains(&Key::Affinity { owner: owner.clone(), block: *block })
        }
        Violation::Handle { handle, block, .. }
            if is_unread(block) || unread.contains(&Key::Handle(handle.clone())) =>
        {
            true
        }
        // Calico's check tells of each block with such a contradiction.
        Violation::Block { .. } => true,
        // A handle of which no block holds an address counts too much anyway.
        Violation::EmptyHandle(id) => leaked.contains(id.as_str()),
        Violation::Handle { handle, held: 0, .. } => leaked.contains(handle.as_str()),
        _ => false,
    };
    problems.extend(violations.iter().filter(|violation| !counted(violation)).map(problem));
    // A handle that is missing may be missed in several blocks.
    let mut seen = BTreeSet::new();
    problems.retain(|problem| problem.kind != MISSING || seen.insert(problem.record.clone()));
    problems.extend(with_several_users(checked));
    problems.extend(unknown_to_calico(checked, pools));
    problems.extend(without_pool(checked, pools));
    problems.extend(ownerless(checked));
    problems.sort();
    problems
}

const MISSING: &str = "missing-handle";

fn unread(violation: &Violation) -> Option<Key> {
    if let Violation::Unreadable { key, .. } = violation { key.clone() } else { None }
}

fn problem(violation: &Violation) -> Problem {
    let kind = match violation {
        Violation::Unreadable { .. } => UNREADABLE,
        Violation::Handle { counted: None, .. } => MISSING,
        Violation::Handle { .. } | Violation::EmptyHandle(_) => "handle-count",
        Violation::TwoOwners { .. } => "two-owners",
        Violation::Overlap { .. } => "overlapping-blocks",
        Violation::Affinity { .. } | Violation::LostBlock { .. } => "affinity",
        Violation::PoolOverlap { .. } => "overlapping-pools",
        Violation::NoBlockOfPool { .. } => "block-size",
        // A snapshot has no others.
        _ => "block",
    };
    let record = match (violation, violation.key()) {
        (Violation::Unreadable { record, .. }, _) => record.clone(),
        (_, key) => key.map(|key| key.to_string()).unwrap_or_default(),
    };
    let text = violation.to_string();
    let reason = text.strip_prefix(&format!("{record}: ")).unwrap_or(&text).to_string();
    Problem { kind, record, reason }
}

/// Calico's check shows these addresses where it is asked to, and counts none of them. Two tunnels of one
/// node may share an address.
fn with_several_users(checked: &Checked) -> impl Iterator<Item = Problem> {
    checked.users.iter().filter_map(|(addr, users)| {
        let names: BTreeSet<&str> = users.iter().map(|user| &*user.name).collect();
        let reason = || format!("is used by {}", names.iter().copied().collect::<Vec<_>>().join(" and "));
        (names.len() > 1).then(|| of_address("two-owners", *addr, reason()))
    })
}

/// Addresses that are used without allocation, by users whom Calico's check does not know.
fn unknown_to_calico(checked: &Checked, pools: &[Cidr]) -> impl Iterator<Item = Problem> {
    let unknown = checked.users.iter().filter(|(addr, users)| {
        let is_known = users.iter().any(|user| user.witness.is_calicos());
        !is_known && checked.allocations_of(**addr).next().is_none()
    });
    unknown.map(|(addr, users)| {
        let names: Vec<&str> = users.iter().map(|user| &*user.name).collect();
        let is_in_pool = pools.iter().any(|pool| pool.contains(*addr));
        let place = if is_in_pool { "is in a pool and not allocated" } else { "is in no pool" };
        of_address("not-allocated", *addr, format!("is used by {} and {place}", names.join(" and ")))
    })
}

/// Addresses that are allocated and used, and whose pool is gone.
fn without_pool(checked: &Checked, pools: &[Cidr]) -> impl Iterator<Item = Problem> {
    checked.blocks.iter().filter_map(|block| {
        let used = block.allocations.iter().filter_map(|allocation| {
            let addr = block.cidr.addr(allocation.ordinal)?;
            let is_outside = !pools.iter().any(|pool| pool.contains(addr));
            (is_outside && checked.is_in_use(addr, allocation)).then_some(addr)
        });
        let used: Vec<IpAddr> = used.collect();
        let more = match used.len() {
            0 => return None,
            1 => " is".to_string(),
            count => format!(" and {} more are", count - 1),
        };
        let reason = format!("{}{more} in use, and no pool has {}", used[0], block.cidr);
        Some(Problem { kind: "pool-gone", record: format!("block {}", block.cidr), reason })
    })
}

/// Blocks that hold nothing and that nobody owns: they keep their networks from being claimed at once.
fn ownerless(checked: &Checked) -> impl Iterator<Item = Problem> {
    let is_idle = |block: &&super::CheckedBlock| {
        block.affinity.as_deref().is_none_or(str::is_empty)
            && block.allocations.iter().all(|allocation| allocation.is_kept_by_windows)
    };
    checked.blocks.iter().filter(is_idle).map(|block| Problem {
        kind: "ownerless-block",
        record: format!("block {}", block.cidr),
        reason: "is empty, and no host owns it".to_string(),
    })
}

fn of_address(kind: &'static str, addr: IpAddr, reason: String) -> Problem {
    Problem { kind, record: addr.to_string(), reason }
}
