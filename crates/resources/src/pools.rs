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

/// A fault for each pool that a new one overlaps with, disabled ones included. A pool of its own name counts for nothing: there the creation fails by
/// itself.
pub fn overlaps(view: &View, new: &Resource) -> Vec<FieldError> {
    let Some(cidr) = cidr(new) else { return Vec::new() };
    let others = overlapping(view, new.name(), &cidr).into_iter();
    let fault = |other: &Resource| {
        let text = other.text(&["spec", "cidr"]).unwrap_or_default();
        validate::overlap(new.name(), &cidr, other.name(), text)
    };
    others.map(fault).collect()
}

/// The fault of a new pool in whose network there are blocks of another size.
pub fn block_size_conflict(view: &View, new: &Resource) -> Option<FieldError> {
    let cidr = cidr(new)?;
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
    u8::try_from(size).ok().filter(|_| clashes).map(validate::block_size_conflict)
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
