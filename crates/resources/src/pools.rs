//! What a new pool must not do to what is there already (`clientv3/ippool.go`).

use api::validate::{self, FieldError};
use api::{Cidr, Key, Kind, Resource};
use store::{Depth, ReadSet, Scope, View};

/// What must be read before a pool is created: all pools, and which blocks exist in its family.
pub fn reads(new: &Resource) -> ReadSet {
    let family = cidr(new).map(|cidr| cidr.family());
    let set = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
    match family {
        Some(family) => set.scope(Scope::Blocks { family: Some(family) }, Depth::Key),
        None => set,
    }
}

/// The faults of a new pool in view of what is there: each pool that it overlaps with, disabled ones included, then blocks of another size. A pool of
/// its own name counts for nothing: there the creation fails by itself.
pub fn faults(view: &View, new: &Resource) -> Vec<FieldError> {
    let Some(cidr) = cidr(new) else { return Vec::new() };
    let mut faults: Vec<FieldError> = overlapping(view, new.name(), &cidr)
        .into_iter()
        .map(|other| {
            let text = other.text(&["spec", "cidr"]).unwrap_or_default();
            validate::overlap(new.name(), &cidr, other.name(), text)
        })
        .collect();
    let size = match new.field(&["spec", "blockSize"]).and_then(serde_json::Value::as_u64) {
        None | Some(0) => u64::from(api::pool::default_block_size(cidr.family())),
        Some(size) => size,
    };
    let scope = Scope::Blocks { family: Some(cidr.family()) };
    let clashes = view.slots(&scope).any(|(key, slot)| match key {
        Key::Block(block) => {
            slot.revision().is_some()
                && cidr.overlaps(&block.cidr())
                && u64::from(block.cidr().prefix()) != size
        }
        _ => false,
    });
    if let (true, Ok(size)) = (clashes, u8::try_from(size)) {
        faults.push(validate::block_size_conflict(size));
    }
    faults
}

/// The pools, but for that of the name, whose network overlaps with one, in the order of their names.
pub fn overlapping<'v>(view: &'v View, name: &str, cidr: &Cidr) -> Vec<&'v Resource> {
    let others = view.resources(Kind::IPPool).map(|(resource, _)| resource);
    others
        .filter(|other| other.name() != name)
        .filter(|other| self::cidr(other).is_some_and(|theirs| theirs.overlaps(cidr)))
        .collect()
}

/// The network of a pool, host bits cleared; `None` when it cannot be read.
pub fn cidr(pool: &Resource) -> Option<Cidr> {
    Cidr::parse_unmasked(pool.text(&["spec", "cidr"])?).ok().map(|(cidr, _)| cidr)
}
