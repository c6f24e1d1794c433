//! Checks a new pool against what exists already (`clientv3/ippool.go`).

use api::validate::{self, FieldError};
use api::{Cidr, Key, Kind, Resource};
use store::{Depth, ReadSet, Scope, View};

/// What must be read before a pool is created: all pools, and the keys of all blocks of its family.
pub fn reads(new: &Resource) -> ReadSet {
    let family = cidr(new).map(|cidr| cidr.family());
    let set = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
    match family {
        Some(family) => set.scope(Scope::Blocks { family: Some(family) }, Depth::Key),
        None => set,
    }
}

/// An error for each pool whose network overlaps with that of `new`, disabled pools included. A pool with the
/// name of `new` is left out: the creation fails because of the name.
pub fn overlaps(view: &View, new: &Resource) -> Vec<FieldError> {
    let Some(cidr) = cidr(new) else { return Vec::new() };
    let others = overlapping(view, new.name(), &cidr).into_iter();
    let fault = |other: &Resource| {
        let text = other.text(&["spec", "cidr"]).unwrap_or_default();
        validate::overlap(new.name(), &cidr, other.name(), text)
    };
    others.map(fault).collect()
}

/// The error of a new pool whose network holds blocks of another size.
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

/// The pools whose networks overlap with `cidr`, in the order of their names, except the pool called `name`.
pub fn overlapping<'v>(view: &'v View, name: &str, cidr: &Cidr) -> Vec<&'v Resource> {
    let others = view.resources(Kind::IPPool).map(|(resource, _)| resource);
    others
        .filter(|other| other.name() != name)
        .filter(|other| self::cidr(other).is_some_and(|theirs| theirs.overlaps(cidr)))
        .collect()
}

/// The network of a pool, with its host bits cleared; `None` if the pool's text is no network.
pub fn cidr(pool: &Resource) -> Option<Cidr> {
    Cidr::parse_unmasked(pool.text(&["spec", "cidr"])?).ok().map(|(cidr, _)| cidr)
}
