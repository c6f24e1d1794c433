//! The slots of a view, in two layers: a base that clones share, and over it what this view alone has read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, RangeBounds};

use api::Key;
use rpds::RedBlackTreeMapSync;

use super::Slot;

/// Slots by key, in the order of [`Key`].
///
/// The base is a persistent map: a clone of 150,000 slots costs one pointer, and a change copies only as many
/// nodes as the tree is high, even where other clones hold the base. A map that is not shared is faster to
/// fill and to walk, so everything that is read goes into the upper layer. A view that is read for one
/// request has an empty base; a view that is kept has almost everything in its base.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    base: RedBlackTreeMapSync<Key, Slot>,
    /// Slots that take the place of the base's; `None` where the base's slot has been removed for this view.
    own: BTreeMap<Key, Option<Slot>>,
}

impl Slots {
    pub(super) fn get(&self, key: &Key) -> Option<&Slot> {
        match self.own.get(key) {
            Some(own) => own.as_ref(),
            None => self.base.get(key),
        }
    }

    /// Takes in a slot that was read, unless more is already known about the same revision of the record.
    pub(super) fn insert(&mut self, key: Key, slot: Slot) {
        match self.own.entry(key) {
            Entry::Occupied(mut known) => {
                if !known.get().as_ref().is_some_and(|known| is_deeper(known, &slot)) {
                    known.insert(Some(slot));
                }
            }
            Entry::Vacant(place) => {
                if !self.base.get(place.key()).is_some_and(|known| is_deeper(known, &slot)) {
                    place.insert(Some(slot));
                }
            }
        }
    }

    /// Puts a slot into the base, and drops the slot that was read over it.
    pub(super) fn insert_shared(&mut self, key: Key, slot: Slot) {
        self.own.remove(&key);
        self.base.insert_mut(key, slot);
    }

    /// Removes a slot for this view; clones that share the base keep it.
    pub(super) fn remove(&mut self, key: &Key) {
        match self.base.contains_key(key) {
            true => self.own.insert(key.clone(), None),
            false => self.own.remove(key),
        };
    }

    /// Removes a slot from the base as well.
    pub(super) fn remove_shared(&mut self, key: &Key) {
        self.own.remove(key);
        self.base.remove_mut(key);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.range::<(Bound<Key>, Bound<Key>)>((Bound::Unbounded, Bound::Unbounded))
    }

    pub(super) fn range<R: RangeBounds<Key> + Clone>(&self, range: R) -> impl Iterator<Item = (&Key, &Slot)> {
        let mut own = self.own.range(range.clone());
        // An empty base is skipped, since even a walk over nothing costs time.
        let mut base = (!self.base.is_empty()).then(|| (self.base.range(range).peekable(), own.next()));
        std::iter::from_fn(move || {
            let Some((base, next)) = &mut base else {
                return own.find_map(|(key, slot)| Some((key, slot.as_ref()?)));
            };
            loop {
                let Some((key, slot)) = *next else { return base.next() };
                match base.peek() {
                    Some((below, _)) if *below < key => return base.next(),
                    // The slot over this one takes its place.
                    Some((below, _)) if *below == key => {
                        base.next();
                    }
                    _ => {}
                }
                *next = own.next();
                if let Some(slot) = slot {
                    return Some((key, slot));
                }
            }
        })
    }

    /// All slots, in no particular order.
    pub(super) fn into_all(self) -> impl Iterator<Item = (Key, Slot)> {
        let Slots { base, own } = self;
        let below = base.iter().filter(|(key, _)| !own.contains_key(*key));
        let below: Vec<_> = below.map(|(key, slot)| (key.clone(), slot.clone())).collect();
        below.into_iter().chain(own.into_iter().filter_map(|(key, slot)| Some((key, slot?))))
    }
}

fn is_deeper(known: &Slot, new: &Slot) -> bool {
    known.depth() > new.depth() && known.revision().is_some() && known.revision() == new.revision()
}

#[cfg(test)]
mod tests {
    use api::{HandleId, Revision};
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> Key {
        Key::Handle(HandleId::new(&format!("h{number:02}")).unwrap())
    }

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Insert(u8),
        InsertShared(u8),
        Remove(u8),
        RemoveShared(u8),
    }

    fn change() -> impl Strategy<Value = Change> {
        (0..4u8, 0..16u8).prop_map(|(what, key)| match what {
            0 => Change::Insert(key),
            1 => Change::InsertShared(key),
            2 => Change::Remove(key),
            _ => Change::RemoveShared(key),
        })
    }

    fn all<'s>(slots: impl Iterator<Item = (&'s Key, &'s Slot)>) -> Vec<(Key, Slot)> {
        slots.map(|(key, slot)| (key.clone(), slot.clone())).collect()
    }

    proptest! {
        /// Two layers give the same answers as one map, and a clone keeps its slots.
        #[test]
        fn slots_are_as_one_map(changes in prop::collection::vec(change(), 0..60), from in 0..16u8) {
            let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
            let mut clones = Vec::new();
            for (at, change) in changes.iter().enumerate() {
                let slot = Slot::Key(Revision::from(at as i64));
                match *change {
                    Change::Insert(n) => {
                        slots.insert(key(n), slot.clone());
                        model.insert(key(n), slot);
                    }
                    Change::InsertShared(n) => {
                        slots.insert_shared(key(n), slot.clone());
                        model.insert(key(n), slot);
                    }
                    Change::Remove(n) => {
                        slots.remove(&key(n));
                        model.remove(&key(n));
                    }
                    Change::RemoveShared(n) => {
                        slots.remove_shared(&key(n));
                        model.remove(&key(n));
                    }
                }
                if at % 8 == 0 {
                    clones.push((slots.clone(), model.clone()));
                }
            }
            clones.push((slots, model));
            for (slots, model) in clones {
                prop_assert_eq!(all(slots.iter()), all(model.iter()));
                prop_assert_eq!(all(slots.range(key(from)..)), all(model.range(key(from)..)));
                for n in 0..16 {
                    prop_assert_eq!(slots.get(&key(n)), model.get(&key(n)));
                }
                prop_assert_eq!(slots.into_all().collect::<BTreeMap<_, _>>(), model);
            }
        }
    }
}
