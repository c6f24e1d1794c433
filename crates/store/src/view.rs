//! What was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::StoreError;
use crate::read::{Depth, ReadSet, Scope, ScopeRead};
use api::{
    Affinity, Block, BlockCidr, BlockHeader, DecodeError, Family, Fault, Handle, HandleId, IpamConfig, Key,
    Kind, Owner, Record, Resource, Revision, fault,
};

mod fold;
mod slots;

use fold::{Ahead, Followed};
use slots::Slots;

/// What a view knows of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// It was read and does not exist.
    Absent,
    /// It exists.
    Key(Revision),
    /// It is a block with that header.
    Header(BlockHeader, Revision),
    /// All of it.
    Full(Arc<Record>),
    /// It exists, and cannot be read. What it says is as unknown as that of a record that was not looked at,
    /// and looking again does not help.
    Unreadable(Arc<Unreadable>),
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Why.
    pub error: DecodeError,
    /// Its state.
    pub revision: Revision,
}

impl Slot {
    /// What a read of this depth finds where the record is known in full.
    pub fn of(record: &Arc<Record>, depth: Depth) -> Slot {
        match (depth, record.block()) {
            (Depth::Key, _) => Slot::Key(record.revision.clone()),
            (Depth::Header, Some(block)) => Slot::Header(block.header(), record.revision.clone()),
            _ => Slot::Full(record.clone()),
        }
    }

    /// A record that exists in that state, and cannot be read.
    pub fn unreadable(error: DecodeError, revision: Revision) -> Slot {
        Slot::Unreadable(Arc::new(Unreadable { error, revision }))
    }

    /// The revision; `None` when absent.
    pub fn revision(&self) -> Option<&Revision> {
        match self {
            Slot::Absent => None,
            Slot::Key(revision) | Slot::Header(_, revision) => Some(revision),
            Slot::Full(record) => Some(&record.revision),
            Slot::Unreadable(unreadable) => Some(&unreadable.revision),
        }
    }

    /// How much is known; an absent record is known in full.
    pub fn depth(&self) -> Depth {
        match self {
            Slot::Key(_) => Depth::Key,
            Slot::Header(..) => Depth::Header,
            Slot::Absent | Slot::Full(_) | Slot::Unreadable(_) => Depth::Full,
        }
    }

    /// The record, where all of it is known.
    pub fn record(&self) -> Option<&Arc<Record>> {
        if let Slot::Full(record) = self { Some(record) } else { None }
    }
}

/// Successive pages of a scope that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pages {
    /// After this key; from the start where `None`.
    after: Option<Key>,
    /// Up to and with this key; to the end where `None`.
    last: Option<Key>,
    /// To that depth.
    depth: Depth,
    /// The store's revision when the first of them was read.
    at: Option<Revision>,
}

/// A scope that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    /// To that depth.
    depth: Depth,
    /// The store's revision then, if it has one and told; no later one than that of any part of it.
    at: Option<Revision>,
}

impl Pages {
    /// What both are together, where `later` was read after `self`.
    fn joined(self, later: Pages) -> Pages {
        match (self.last, later.after) {
            (Some(end), Some(start)) if end == start => {
                let depth = self.depth.min(later.depth);
                Pages { after: self.after, last: later.last, depth, at: self.at }
            }
            (_, after) => Pages { after, ..later },
        }
    }
}

/// What was read. No snapshot: records may be of different moments.
///
/// A view may also be kept: watches keep it fresh ([`View::fold`]), one's own writes take it on
/// ([`View::after`]), and each plan works on a clone.
#[derive(Clone, Debug, Default)]
pub struct View {
    slots: Slots,
    /// Scopes that were read whole.
    complete: BTreeMap<Scope, Whole>,
    /// Scopes of which pages were read.
    pages: BTreeMap<Scope, Pages>,
    /// What lies in scopes that were read and has no key of a record.
    strays: BTreeMap<String, DecodeError>,
    revision: Option<Revision>,
    /// Scopes that watches keep fresh.
    followed: BTreeMap<Scope, Followed>,
    /// One's own writes that no watch has told of.
    ahead: BTreeMap<Key, Ahead>,
}

impl View {
    /// A view of nothing.
    pub fn new() -> View {
        View::default()
    }

    /// Notes what was read of a record. What is known already of the same revision in more depth stays.
    pub fn insert(&mut self, key: Key, slot: Slot) {
        self.slots.insert(key, slot);
    }

    /// Notes a whole record.
    pub fn insert_record(&mut self, record: Arc<Record>) {
        self.slots.insert(record.key.clone(), Slot::Full(record));
    }

    /// Notes something that lies in a scope and is no record, or does not tell which.
    pub fn insert_stray(&mut self, error: DecodeError) {
        self.strays.insert(error.key.clone(), error);
    }

    /// What lies in scopes that were read and is no record, or does not tell which.
    pub(crate) fn into_strays(self) -> impl Iterator<Item = DecodeError> {
        self.strays.into_values()
    }

    /// Why a record cannot be read, if it was looked at and cannot.
    pub fn unreadable(&self, key: &Key) -> Option<&Arc<Unreadable>> {
        match self.slots.get(key) {
            Some(Slot::Unreadable(unreadable)) => Some(unreadable),
            _ => None,
        }
    }

    /// Everything that is wrong with what was read, by record.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (key, slot) in self.slots.iter() {
            match slot {
                Slot::Unreadable(unreadable) => faults.push(Fault::unreadable(Some(key), &unreadable.error)),
                Slot::Full(record) => faults.extend(fault::of_record(key, &record.value)),
                Slot::Absent | Slot::Key(_) | Slot::Header(..) => {}
            }
        }
        faults.extend(self.strays.values().map(|error| Fault::unreadable(None, error)));
        faults
    }

    /// The view, for those who cannot do without what they asked for by its key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where such a record cannot be read.
    pub fn insist(self, set: &ReadSet) -> Result<View, StoreError> {
        let in_full = set.keys.iter().filter(|(_, depth)| *depth > Depth::Key);
        match in_full.into_iter().find_map(|(key, _)| self.unreadable(key)) {
            Some(unreadable) => Err(unreadable.error.clone().into()),
            None => Ok(self),
        }
    }

    /// Notes that all of a scope was read to that depth: what has no slot does not exist.
    pub fn complete(&mut self, scope: Scope, depth: Depth) {
        self.pages.remove(&scope);
        let at = self.revision.clone();
        let known = self.complete.entry(scope).or_insert(Whole { depth, at });
        known.depth = depth.max(known.depth);
    }

    /// Notes that `read` was done; `last` is the last key of its page where there are more, `None` where the
    /// scope ends with it. A last page alone does not make the scope complete; absorbed by a view that holds
    /// all pages before it, it does.
    pub fn page_read(&mut self, read: &ScopeRead, last: Option<Key>) {
        match (read.page.as_ref().and_then(|page| page.after.clone()), last) {
            (None, None) => self.complete(read.scope.clone(), read.depth),
            _ if self.is_complete(&read.scope, read.depth) => {}
            (after, last) => {
                let at = self.revision.clone();
                self.pages.insert(read.scope.clone(), Pages { after, last, depth: read.depth, at });
            }
        }
    }

    /// The store's revision at the read, where the backend has one for all (`resourceVersion` of a list).
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// Notes the store's revision, which is also that of the scopes of which none is known yet.
    pub fn set_revision(&mut self, revision: Revision) {
        let whole = self.complete.values_mut().map(|whole| &mut whole.at);
        for at in whole.chain(self.pages.values_mut().map(|pages| &mut pages.at)) {
            at.get_or_insert_with(|| revision.clone());
        }
        self.revision = Some(revision);
    }

    /// The store's revision when all of a scope was read: whatever was created or changed later has a later
    /// one, and whatever had one by then was seen. `None` where it was not read whole, or the backend did not
    /// tell. (The view's own revision is that of its last read.)
    pub fn read_at(&self, scope: &Scope) -> Option<&Revision> {
        let exact = self.complete.get(scope);
        let whole = exact
            .or_else(|| self.complete.iter().find(|(read, _)| read.covers(scope)).map(|(_, whole)| whole));
        whole?.at.as_ref()
    }

    /// What is known of a record; `None` when it was not read.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        if let Some(slot) = self.slots.get(key) {
            return Some(slot.clone());
        }
        self.in_complete_scope(key).then_some(Slot::Absent)
    }

    fn in_complete_scope(&self, key: &Key) -> bool {
        self.complete.keys().any(|scope| scope.holds(key))
    }

    /// All of a record: `None` when it was not read in full or cannot be read, `Some(None)` when it does not
    /// exist.
    pub fn full(&self, key: &Key) -> Option<Option<&Arc<Record>>> {
        match self.slots.get(key) {
            Some(Slot::Full(record)) => Some(Some(record)),
            Some(Slot::Absent) => Some(None),
            Some(_) => None,
            None => self.in_complete_scope(key).then_some(None),
        }
    }

    /// Those of these records that are not known in full, to be read; nothing where all are. A record that
    /// cannot be read is among them: whoever asks for it again has to say what becomes of the request without
    /// it.
    pub fn missing(&self, keys: impl IntoIterator<Item = Key>) -> ReadSet {
        ReadSet::new().keys(keys.into_iter().filter(|key| self.full(key).is_none()))
    }

    /// Whether a record was neither read in full nor found to be unreadable.
    pub fn is_unread(&self, key: &Key) -> bool {
        self.full(key).is_none() && self.unreadable(key).is_none()
    }

    /// Whether all of a scope was read to at least that depth.
    pub fn is_complete(&self, scope: &Scope, depth: Depth) -> bool {
        self.complete.iter().any(|(read, whole)| whole.depth >= depth && read.covers(scope))
    }

    /// What of a set is not known to the depth that it asks for.
    pub fn lacking(&self, set: &ReadSet) -> ReadSet {
        let is_known = |key: &Key, depth: &Depth| match self.slots.get(key) {
            Some(slot) => slot.depth() >= *depth,
            None => self.in_complete_scope(key),
        };
        let keys = set.keys.iter().filter(|(key, depth)| !is_known(key, depth));
        let scopes = set.scopes.iter().filter(|read| !self.is_complete(&read.scope, read.depth));
        ReadSet { keys: keys.cloned().collect(), scopes: scopes.cloned().collect() }
    }

    /// The last key of the pages that were read of a scope, where there are more.
    pub fn page_end(&self, scope: &Scope) -> Option<&Key> {
        self.pages.get(scope)?.last.as_ref()
    }

    /// Every slot, in the order of [`Key`].
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots.iter()
    }

    /// Every slot of a scope, in the order of [`Key`].
    pub fn slots(&self, scope: &Scope) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots
            .range(scope.least()..)
            .take_while(|(key, _)| scope.may_hold_from(key))
            .filter(|(key, _)| scope.holds(key))
    }

    /// Takes over what a later read saw. Where both know a record, the later one holds (of two looks at one
    /// revision, the deeper), and what a scope that was read completely does not have any more is gone.
    pub fn absorb(&mut self, later: View) {
        for scope in later.complete.keys() {
            let known = self.slots(scope).map(|(key, _)| key);
            let gone: Vec<Key> = known.filter(|key| later.slots.get(key).is_none()).cloned().collect();
            for key in &gone {
                self.slots.remove(key);
            }
        }
        for (key, slot) in later.slots.into_all() {
            self.insert(key, slot);
        }
        for (scope, Whole { depth, at }) in later.complete {
            // What is new or changed is known to the later depth alone.
            let least = self.slots(&scope).map(|(_, slot)| slot.depth()).min().unwrap_or(Depth::Full);
            let known = self.complete.get(&scope).map_or(depth, |known| known.depth.min(least));
            self.pages.remove(&scope);
            self.complete.insert(scope, Whole { depth: depth.max(known), at });
        }
        for (scope, pages) in later.pages {
            let pages = match self.pages.remove(&scope) {
                Some(known) => known.joined(pages),
                None => pages,
            };
            match (&pages.after, &pages.last) {
                (None, None) => {
                    // What an earlier look at the keys had shown, and the pages from the first to the last
                    // did not tell, is gone.
                    let shallow = self.slots(&scope).filter(|(_, slot)| slot.depth() < pages.depth);
                    let gone: Vec<Key> = shallow.map(|(key, _)| key.clone()).collect();
                    for key in &gone {
                        self.slots.remove(key);
                    }
                    let known = self.complete.get(&scope).map(|known| known.depth);
                    let depth = known.map_or(pages.depth, |known| known.max(pages.depth));
                    self.complete.insert(scope, Whole { depth, at: pages.at });
                }
                _ => {
                    self.pages.insert(scope, pages);
                }
            }
        }
        self.strays.extend(later.strays);
        self.revision = later.revision.or(self.revision.take());
    }

    /// Number of slots that are not absent.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|(_, slot)| **slot != Slot::Absent).count()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Typed access. Each gives `None` for "not read in full, or unreadable" and `Some(None)` for "does not
/// exist".
impl View {
    /// A block and its revision.
    pub fn block(&self, block: BlockCidr) -> Option<Option<(&Block, &Revision)>> {
        let record = self.full(&Key::Block(block))?;
        Some(record.and_then(|r| r.block().map(|b| (b, &r.revision))))
    }

    /// An affinity and its revision.
    pub fn affinity(&self, owner: &Owner, block: BlockCidr) -> Option<Option<(&Affinity, &Revision)>> {
        let record = self.full(&Key::Affinity { owner: owner.clone(), block })?;
        Some(record.and_then(|r| r.affinity().map(|a| (a, &r.revision))))
    }

    /// A handle and its revision.
    pub fn handle(&self, id: &HandleId) -> Option<Option<(&Handle, &Revision)>> {
        let record = self.full(&Key::Handle(id.clone()))?;
        Some(record.and_then(|r| r.handle().map(|h| (h, &r.revision))))
    }

    /// The allocator's configuration, the defaults where there is none.
    pub fn ipam_config(&self) -> Option<IpamConfig> {
        let record = self.full(&Key::IpamConfig)?;
        Some(record.and_then(|r| r.ipam_config().cloned()).unwrap_or_default())
    }

    /// A resource and its revision.
    pub fn resource(&self, key: &Key) -> Option<Option<(&Resource, &Revision)>> {
        let record = self.full(key)?;
        Some(record.and_then(|r| r.resource().map(|v| (v, &r.revision))))
    }

    /// The resources of a kind that were read in full, in the order of their names.
    pub fn resources(&self, kind: Kind) -> impl Iterator<Item = (&Resource, &Revision)> {
        let start = Key::global(kind, "");
        self.slots
            .range(start..)
            .take_while(move |(key, _)| matches!(key, Key::Resource { kind: k, .. } if *k == kind))
            .filter_map(|(_, slot)| slot.record())
            .filter_map(|r| r.resource().map(|v| (v, &r.revision)))
    }

    /// The blocks to which an owner has an affinity, in any state, in the order of their text (that of etcd's
    /// keys); needs the scope to have been read.
    pub fn affine_blocks(&self, owner: &Owner, family: Family) -> Vec<(BlockCidr, &Affinity, &Revision)> {
        let start = Key::Affinity { owner: owner.clone(), block: BlockCidr::LEAST };
        let mut found: Vec<_> = self
            .slots
            .range(start..)
            .map_while(|(key, slot)| match key {
                Key::Affinity { owner: o, block } if o == owner => Some((*block, slot)),
                _ => None,
            })
            .filter(|(block, _)| block.family() == family)
            .filter_map(|(block, slot)| {
                let record = slot.record()?;
                Some((block, record.affinity()?, &record.revision))
            })
            .collect();
        if found.len() > 1 {
            found.sort_by_cached_key(|(block, ..)| block.key_text());
        }
        found
    }
}

/// A key under the prefix of a scope that is no record's.
#[cfg(any(feature = "sqlite", feature = "etcd"))]
pub(crate) fn stray(path: &str) -> DecodeError {
    DecodeError::new(fault::printable(path), "", "its key is no record's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Page;

    fn block(text: &str) -> Key {
        Key::Block(text.parse().unwrap())
    }

    #[test]
    fn a_complete_scope_makes_the_rest_absent() {
        let mut view = View::new();
        assert_eq!(view.get(&block("10.0.0.0/26")), None);
        view.insert(block("10.0.0.0/26"), Slot::Key(Revision::from(1)));
        view.complete(Scope::Blocks { family: Some(Family::V4) }, Depth::Key);
        assert_eq!(view.get(&block("10.0.0.64/26")), Some(Slot::Absent));
        assert_eq!(view.get(&block("fd00::/122")), None);
        assert_eq!(view.block("10.0.0.0/26".parse().unwrap()), None, "its key is known, not its value");
        assert!(view.is_complete(&Scope::Blocks { family: Some(Family::V4) }, Depth::Key));
        assert!(!view.is_complete(&Scope::Blocks { family: Some(Family::V4) }, Depth::Header));
        assert!(!view.is_complete(&Scope::Blocks { family: None }, Depth::Key));
    }

    #[test]
    fn the_deeper_knowledge_of_a_revision_stays() {
        let key = block("10.0.0.0/26");
        let mut view = View::new();
        let value = api::Value::Affinity(Affinity::default());
        let record = Record { key: key.clone(), value, revision: Revision::from(1) };
        view.insert_record(Arc::new(record));
        view.insert(key.clone(), Slot::Key(Revision::from(1)));
        assert_eq!(view.get(&key).unwrap().depth(), Depth::Full);
        view.insert(key.clone(), Slot::Key(Revision::from(2)));
        assert_eq!(view.get(&key).unwrap(), Slot::Key(Revision::from(2)));
        view.insert(key.clone(), Slot::Absent);
        assert_eq!(view.get(&key).unwrap(), Slot::Absent);
    }

    fn page(after: Option<&Key>, keys: &[Key], is_last: bool) -> View {
        let mut view = View::new();
        for key in keys {
            view.insert(key.clone(), Slot::Key(Revision::from(1)));
        }
        let page = Page { after: after.cloned(), limit: 1 };
        let read = ScopeRead { scope: Scope::Blocks { family: None }, depth: Depth::Key, page: Some(page) };
        view.page_read(&read, keys.last().filter(|_| !is_last).cloned());
        view
    }

    #[test]
    fn pages_make_a_scope_complete_only_together() {
        let (all, a, b) = (Scope::Blocks { family: None }, block("10.0.0.0/26"), block("10.0.0.64/26"));
        let last = page(Some(&a), std::slice::from_ref(&b), true);
        assert!(!last.is_complete(&all, Depth::Key));
        assert_eq!(last.page_end(&all), None);
        let mut view = page(None, std::slice::from_ref(&a), false);
        assert_eq!(view.page_end(&all), Some(&a));
        view.absorb(last);
        assert!(view.is_complete(&all, Depth::Key));
        assert_eq!(view.len(), 2);
    }

    #[test]
    fn what_the_pages_of_a_scope_lack_is_gone() {
        let (a, b, c) = (block("10.0.0.0/26"), block("10.0.0.64/26"), block("10.0.0.128/26"));
        let keys = [a.clone(), b.clone(), c.clone()];
        let mut view = page(None, &keys, true);
        let header = |after: Option<&Key>, key: &Key, is_last: bool| {
            let mut page = page(after, std::slice::from_ref(key), is_last);
            page.pages.values_mut().for_each(|pages| pages.depth = Depth::Header);
            let header = api::BlockHeader {
                affinity: None,
                affinity_claim_time: None,
                free: 64,
                held: 0,
                cooling: None,
                sequence_number: 1,
            };
            page.insert(key.clone(), Slot::Header(header, Revision::from(1)));
            page
        };
        view.absorb(header(None, &a, false));
        assert_eq!(view.len(), 3);
        view.absorb(header(Some(&a), &c, true));
        assert_eq!((view.len(), view.get(&b)), (2, Some(Slot::Absent)));
    }

    #[test]
    fn a_scope_is_as_deep_as_its_shallowest_record() {
        let all = Scope::Blocks { family: None };
        let mut view = View::new();
        view.complete(all.clone(), Depth::Full);
        view.absorb(page(None, &[], true));
        assert!(view.is_complete(&all, Depth::Full), "nothing is new");
        view.absorb(page(None, &[block("10.0.0.0/26")], true));
        assert!(!view.is_complete(&all, Depth::Full) && view.is_complete(&all, Depth::Key));
    }

    #[test]
    fn what_a_later_complete_scope_lacks_is_gone() {
        let mut view = page(None, &[block("10.0.0.0/26")], true);
        view.absorb(page(None, &[block("10.0.0.64/26")], true));
        assert_eq!(view.get(&block("10.0.0.0/26")), Some(Slot::Absent));
        assert_eq!(view.len(), 1);
    }

    fn read_whole(revision: i64) -> View {
        let mut view = View::new();
        view.complete(Scope::Blocks { family: None }, Depth::Key);
        view.set_revision(Revision::from(revision));
        view
    }

    #[test]
    fn a_scope_is_as_old_as_its_own_read() {
        let (all, narrow) = (Scope::Blocks { family: None }, Scope::Blocks { family: Some(Family::V4) });
        let at =
            |view: &View, scope: &Scope| view.read_at(scope).map(|revision| revision.as_str().to_string());
        let mut view = View::new();
        assert_eq!(at(&view, &all), None);
        view.absorb(read_whole(5));
        assert_eq!((at(&view, &all), at(&view, &narrow)), (Some("5".to_string()), Some("5".to_string())));
        // A later read of something else says nothing of the scope.
        let mut later = View::new();
        later.insert(block("10.0.0.0/26"), Slot::Absent);
        later.set_revision(Revision::from(9));
        view.absorb(later);
        assert_eq!((at(&view, &all), view.revision()), (Some("5".to_string()), Some(&Revision::from(9))));
        view.absorb(read_whole(12));
        assert_eq!(at(&view, &all), Some("12".to_string()));
    }

    #[test]
    fn pages_are_as_old_as_the_first_of_them() {
        let (all, a, b) = (Scope::Blocks { family: None }, block("10.0.0.0/26"), block("10.0.0.64/26"));
        let mut view = View::new();
        for (revision, mut page) in [
            (5, page(None, std::slice::from_ref(&a), false)),
            (9, page(Some(&a), std::slice::from_ref(&b), true)),
        ] {
            page.set_revision(Revision::from(revision));
            view.absorb(page);
        }
        assert_eq!(view.read_at(&all), Some(&Revision::from(5)));
    }
}
