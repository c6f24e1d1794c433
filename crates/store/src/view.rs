//! The view: what a process has read of a store.

use std::borrow::Cow;
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
    /// The record was looked for and does not exist.
    Absent,
    /// The record exists; its contents were not read.
    Key(Revision),
    /// The record is a block with that header; the rest was not read.
    Header(BlockHeader, Revision),
    /// The whole record.
    Full(Arc<Record>),
    /// The record exists and cannot be decoded. Its contents are as unknown as if it had not been read, and
    /// reading it again does not help.
    Unreadable(Arc<Unreadable>),
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Why the record cannot be read.
    pub error: DecodeError,
    /// The revision of the state that cannot be read.
    pub revision: Revision,
}

impl Slot {
    /// What a read to that depth gives for this record.
    pub fn of(record: &Arc<Record>, depth: Depth) -> Slot {
        match (depth, record.block()) {
            (Depth::Key, _) => Slot::Key(record.revision.clone()),
            (Depth::Header, Some(block)) => Slot::Header(block.header(), record.revision.clone()),
            _ => Slot::Full(record.clone()),
        }
    }

    /// The slot of a record that exists at that revision and cannot be read.
    pub fn unreadable(error: DecodeError, revision: Revision) -> Slot {
        Slot::Unreadable(Arc::new(Unreadable { error, revision }))
    }

    /// The record's revision; `None` where the record is absent.
    pub fn revision(&self) -> Option<&Revision> {
        match self {
            Slot::Absent => None,
            Slot::Key(revision) | Slot::Header(_, revision) => Some(revision),
            Slot::Full(record) => Some(&record.revision),
            Slot::Unreadable(unreadable) => Some(&unreadable.revision),
        }
    }

    /// How much of the record is known; an absent record is known in full.
    pub fn depth(&self) -> Depth {
        match self {
            Slot::Key(_) => Depth::Key,
            Slot::Header(..) => Depth::Header,
            Slot::Absent | Slot::Full(_) | Slot::Unreadable(_) => Depth::Full,
        }
    }

    /// The header of a block, where at least that is known. It is borrowed where only the header was read.
    pub fn header(&self) -> Option<Cow<'_, BlockHeader>> {
        match self {
            Slot::Header(header, _) => Some(Cow::Borrowed(header)),
            Slot::Full(record) => record.block().map(|block| Cow::Owned(block.header())),
            Slot::Key(_) | Slot::Absent | Slot::Unreadable(_) => None,
        }
    }

    /// The record, where all of it is known.
    pub fn record(&self) -> Option<&Arc<Record>> {
        if let Slot::Full(record) = self { Some(record) } else { None }
    }
}

/// Successive pages of one scope that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pages {
    /// The pages begin after this key; `None` where they begin at the scope's start.
    after: Option<Key>,
    /// The last key of the pages; `None` where they reach the scope's end.
    last: Option<Key>,
    /// The depth to which every one of the pages was read.
    depth: Depth,
    /// The store's revision when the first of the pages was read.
    at: Option<Revision>,
}

/// A scope that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    /// The depth to which the scope was read.
    depth: Depth,
    /// A revision of the store no later than the read of any part of the scope; `None` where the store did
    /// not tell one.
    at: Option<Revision>,
}

impl Pages {
    /// Both groups of pages as one if they adjoin, otherwise `later` alone. `later` was read after `self`.
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

/// What was read of a store. It is no snapshot: records may be from different moments.
///
/// A view may also be kept: watches ([`View::fold`]) and the results of this process's own writes
/// ([`View::after`]) keep it up to date, and each plan works on a clone.
#[derive(Clone, Debug, Default)]
pub struct View {
    slots: Slots,
    /// Scopes that were read whole.
    complete: BTreeMap<Scope, Whole>,
    /// Scopes of which pages were read.
    pages: BTreeMap<Scope, Pages>,
    /// Rows or objects in the scopes that were read, whose keys are no keys of records.
    strays: BTreeMap<String, DecodeError>,
    revision: Option<Revision>,
    /// Scopes that watches keep fresh.
    followed: BTreeMap<Scope, Followed>,
    /// Writes of this process that no watch has told of yet.
    ahead: BTreeMap<Key, Ahead>,
}

impl View {
    /// A view in which nothing is known.
    pub fn new() -> View {
        View::default()
    }

    /// Notes what was read of a record, unless more is already known about the same revision of it.
    pub fn insert(&mut self, key: Key, slot: Slot) {
        self.slots.insert(key, slot);
    }

    /// Notes a whole record.
    pub fn insert_record(&mut self, record: Arc<Record>) {
        self.slots.insert(record.key.clone(), Slot::Full(record));
    }

    /// Notes something in a scope that is no record, or has no key from which its record could be told.
    pub fn insert_stray(&mut self, error: DecodeError) {
        self.strays.insert(error.key.clone(), error);
    }

    /// Everything in the scopes that were read that is no record, or has no key from which its record could
    /// be told.
    pub fn strays(&self) -> impl Iterator<Item = &DecodeError> {
        self.strays.values()
    }

    /// As [`View::strays`], for whoever needs nothing else of the view.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "etcd", feature = "kubernetes"))]
    pub(crate) fn into_strays(self) -> impl Iterator<Item = DecodeError> {
        self.strays.into_values()
    }

    /// Why a record cannot be read; `None` where it was not looked at, or can be read.
    pub fn unreadable(&self, key: &Key) -> Option<&Arc<Unreadable>> {
        match self.slots.get(key) {
            Some(Slot::Unreadable(unreadable)) => Some(unreadable),
            _ => None,
        }
    }

    /// All faults found in what was read, in the order of the records.
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

    /// The view itself, for a caller that needs every record of `set` that is asked for by its key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where one of these records cannot be read.
    pub fn insist(self, set: &ReadSet) -> Result<View, StoreError> {
        let in_full = set.keys.iter().filter(|(_, depth)| *depth > Depth::Key);
        match in_full.into_iter().find_map(|(key, _)| self.unreadable(key)) {
            Some(unreadable) => Err(unreadable.error.clone().into()),
            None => Ok(self),
        }
    }

    /// Notes that all of a scope was read to that depth: a record of the scope that has no slot does not
    /// exist.
    pub fn complete(&mut self, scope: Scope, depth: Depth) {
        self.pages.remove(&scope);
        let at = self.revision.clone();
        let known = self.complete.entry(scope).or_insert(Whole { depth, at });
        known.depth = depth.max(known.depth);
    }

    /// Notes that `read` was carried out. `last` is the last key of its page where more follow, and `None`
    /// where the scope ends with the page. A last page alone does not make the scope complete. It does once a
    /// view that holds all pages before it absorbs it.
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

    /// The store's revision at the last read, for backends that have one for the whole store
    /// (`resourceVersion` of a list).
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// Notes the store's revision. Scopes that have none yet get it, too.
    pub fn set_revision(&mut self, revision: Revision) {
        let whole = self.complete.values_mut().map(|whole| &mut whole.at);
        for at in whole.chain(self.pages.values_mut().map(|pages| &mut pages.at)) {
            at.get_or_insert_with(|| revision.clone());
        }
        self.revision = Some(revision);
    }

    /// The store's revision when all of a scope was read. Records created or changed later have a later
    /// revision; all earlier states were seen. `None` where the scope was not read whole, or the backend did
    /// not tell. ([`View::revision`], in contrast, is that of the view's last read.)
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

    /// The whole record. `None` when it was not read in full or cannot be read; `Some(None)` when it does not
    /// exist.
    pub fn full(&self, key: &Key) -> Option<Option<&Arc<Record>>> {
        match self.slots.get(key) {
            Some(Slot::Full(record)) => Some(Some(record)),
            Some(Slot::Absent) => Some(None),
            Some(_) => None,
            None => self.in_complete_scope(key).then_some(None),
        }
    }

    /// A read of those records in `keys` that are not known in full; empty where all are. It includes records
    /// that cannot be read: a planner that asks for one again has to decide what to do without it.
    pub fn missing(&self, keys: impl IntoIterator<Item = Key>) -> ReadSet {
        ReadSet::new().keys(keys.into_iter().filter(|key| self.full(key).is_none()))
    }

    /// A read set of those of the keys that still have to be read ([`View::is_unread`]).
    pub fn unread(&self, keys: impl IntoIterator<Item = Key>) -> ReadSet {
        ReadSet::new().keys(keys.into_iter().filter(|key| self.is_unread(key)))
    }

    /// Whether a record still has to be read: it is neither known in full nor known to be unreadable.
    pub fn is_unread(&self, key: &Key) -> bool {
        self.full(key).is_none() && self.unreadable(key).is_none()
    }

    /// Whether all of a scope was read to at least that depth.
    pub fn is_complete(&self, scope: &Scope, depth: Depth) -> bool {
        self.complete.iter().any(|(read, whole)| whole.depth >= depth && read.covers(scope))
    }

    /// The part of `set` that is not known yet to the depth that it asks for.
    pub fn lacking(&self, set: &ReadSet) -> ReadSet {
        let is_known = |key: &Key, depth: &Depth| match self.slots.get(key) {
            Some(slot) => slot.depth() >= *depth,
            None => self.in_complete_scope(key),
        };
        let keys = set.keys.iter().filter(|(key, depth)| !is_known(key, depth));
        let scopes = set.scopes.iter().filter(|read| !self.is_complete(&read.scope, read.depth));
        ReadSet { keys: keys.cloned().collect(), scopes: scopes.cloned().collect() }
    }

    /// The last key of the pages read so far of a scope; `None` where no more follow or no page was read.
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

    /// Takes in what a later read saw. For a record that both know, the later state holds; of the same
    /// revision, the one read in more depth. A record that is missing from a scope that `later` has read
    /// completely is removed.
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
            // Records that are new or changed since are known only to the depth of the later read.
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
                    // The pages now cover the whole scope. A slot of less depth comes from an earlier read of
                    // keys alone, and its record was not on the pages: it is gone.
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

    /// Whether the view holds no record that exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Access by kind. Each look-up gives `None` for "not read in full, or unreadable" and `Some(None)` for "does
/// not exist".
impl View {
    /// A block and its revision; see [`View::full`] for what `None` means.
    pub fn block(&self, block: BlockCidr) -> Option<Option<(&Block, &Revision)>> {
        let record = self.full(&Key::Block(block))?;
        Some(record.and_then(|r| r.block().map(|b| (b, &r.revision))))
    }

    /// An affinity and its revision; see [`View::full`] for what `None` means.
    pub fn affinity(&self, owner: &Owner, block: BlockCidr) -> Option<Option<(&Affinity, &Revision)>> {
        let record = self.full(&Key::Affinity { owner: owner.clone(), block })?;
        Some(record.and_then(|r| r.affinity().map(|a| (a, &r.revision))))
    }

    /// A handle and its revision; see [`View::full`] for what `None` means.
    pub fn handle(&self, id: &HandleId) -> Option<Option<(&Handle, &Revision)>> {
        let record = self.full(&Key::Handle(id.clone()))?;
        Some(record.and_then(|r| r.handle().map(|h| (h, &r.revision))))
    }

    /// The allocator's configuration: the defaults where none is stored, `None` where it was not read.
    pub fn ipam_config(&self) -> Option<IpamConfig> {
        let record = self.full(&Key::IpamConfig)?;
        Some(record.and_then(|r| r.ipam_config().cloned()).unwrap_or_default())
    }

    /// A resource and its revision; see [`View::full`] for what `None` means.
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
    /// keys). The scope of the owner's affinities must have been read.
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

/// The fault for a key that has the prefix of a scope and is no record's key.
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
        // A later read of another scope tells nothing about this one.
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
