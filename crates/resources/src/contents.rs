//! All that a store holds, as a value; and what makes one store hold what another does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::{Key, Kind, Record, Resource, Stage, Value};
use store::{Depth, Expect, Op, Page, ReadSet, Scope, Store, StoreError, View, Write};

use crate::version::cluster_information;

/// Records read at once.
const PAGE: usize = 2_000;

/// All scopes that there are. The allocator's configuration is a key of its own.
fn scopes() -> impl Iterator<Item = Scope> {
    let kinds = Kind::ALL.iter().map(|kind| Scope::kind(*kind));
    let allocations =
        [Scope::Blocks { family: None }, Scope::Affinities { owner: None, family: None }, Scope::Handles];
    kinds.chain(allocations)
}

/// All records that a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    records: BTreeMap<Key, Arc<Record>>,
}

/// Records by what they are, for messages: `4 IPPool, 1 block, 2 handles`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Nouns, usize>);

/// What one is called, and what several are.
type Nouns = (&'static str, &'static str);

/// Why a store's contents are not known.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store's words.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A record that cannot be understood, and would be lost.
    #[error("{0}. Repair or delete that record first")]
    Unreadable(StoreError),
}

impl Contents {
    /// Reads everything, a page at a time, each within that time. No snapshot where others write meanwhile.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(store: &impl Store, within: Duration) -> Result<Contents, ReadError> {
        let set = ReadSet::new().key(Key::IpamConfig);
        let config = store.read(&set, within).await?.insist(&set).map_err(ReadError::Unreadable)?;
        let mut contents = Contents::default();
        contents.take(&config);
        for scope in scopes() {
            // Scopes leave out what cannot be understood; it has a key all the same.
            let mut keys = walk(store, &scope, Depth::Key, within, |_| {}).await?;
            walk(store, &scope, Depth::Full, within, |view| contents.take(view)).await?;
            keys.retain(|key| !contents.records.contains_key(key));
            for key in keys {
                let set = ReadSet::new().key(key);
                match store.read(&set, within).await?.insist(&set) {
                    // It came or went between the two looks.
                    Ok(view) => contents.take(&view),
                    Err(error) => return Err(ReadError::Unreadable(error)),
                }
            }
        }
        Ok(contents)
    }

    fn take(&mut self, view: &View) {
        let records = view.all().filter_map(|(key, slot)| Some((key.clone(), slot.record()?.clone())));
        self.records.extend(records);
    }

    /// How many of each there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for key in self.records.keys() {
            *counts.0.entry(nouns(key)).or_default() += 1;
        }
        counts
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Every record.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values()
    }

    /// The cluster's own record.
    pub fn cluster_information(&self) -> Option<&Resource> {
        self.records.get(&cluster_information())?.resource()
    }

    /// The same with another resource in the place of one that is there.
    pub fn with(mut self, resource: Resource) -> Contents {
        if let Some(record) = self.records.get_mut(&resource.key()) {
            let value = Value::Resource(resource);
            *record = Arc::new(Record { value, ..Record::clone(record) });
        }
        self
    }

    /// The writes that make a store hold this, when it holds `found`. Their order leaves no moment in which somebody who uses that store could be given an
    /// address that is taken: allocations come before the pools, and the cluster's own record, without which nothing is initialised, comes last.
    pub fn changes_from(&self, found: &Contents) -> Vec<Write> {
        let stored = |record: &Record| record.value.to_stored_text();
        let mut puts = Vec::new();
        for (key, record) in &self.records {
            let expect = match found.records.get(key) {
                Some(there) if stored(there) == stored(record) => continue,
                Some(there) => Expect::Revision(there.revision.clone()),
                None => Expect::Absent,
            };
            let op = Op::Put(Arc::new(record.value.clone()));
            puts.push(Write { key: key.clone(), expect, op });
        }
        puts.sort_by_key(|write| stage(&write.key));
        let gone = found.records.iter().filter(|(key, _)| !self.records.contains_key(*key));
        puts.into_iter().chain(deletions(gone)).collect()
    }

    /// The writes that take away from `found` what stands there as it does here; the order is the reverse.
    pub fn removals_from(&self, found: &Contents) -> Vec<Write> {
        let is_ours =
            |key: &Key, record: &Record| self.records.get(key).is_some_and(|ours| ours.value == record.value);
        deletions(found.records.iter().filter(|(key, record)| is_ours(key, record)))
    }
}

fn deletions<'r>(records: impl Iterator<Item = (&'r Key, &'r Arc<Record>)>) -> Vec<Write> {
    let delete = |(key, record): (&Key, &Arc<Record>)| Write {
        key: key.clone(),
        expect: Expect::Revision(record.revision.clone()),
        op: Op::Delete,
    };
    let mut writes: Vec<Write> = records.map(delete).collect();
    writes.sort_by_key(|write| std::cmp::Reverse(stage(&write.key)));
    writes
}

/// Handles before the blocks that bear out their counts, as a count may be too high and never too low.
fn stage(key: &Key) -> u8 {
    match key {
        Key::Handle(_) => 0,
        Key::Affinity { .. } => 1,
        Key::Block(_) => 2,
        Key::IpamConfig => 3,
        Key::Resource { kind, .. } => match kind.definition().stage {
            Stage::Settings => 4,
            Stage::Pools => 5,
            Stage::Cluster => 6,
        },
    }
}

fn nouns(key: &Key) -> Nouns {
    match key {
        Key::Resource { kind, .. } => (kind.name(), kind.name()),
        Key::IpamConfig => ("allocator configuration", "allocator configurations"),
        Key::Affinity { .. } => ("affinity", "affinities"),
        Key::Block(_) => ("block", "blocks"),
        Key::Handle(_) => ("handle", "handles"),
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |((one, many), count): (&Nouns, &usize)| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        };
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(", "))
    }
}

/// Goes through a scope page by page; gives its keys.
async fn walk(
    store: &impl Store,
    scope: &Scope,
    depth: Depth,
    within: Duration,
    mut visit: impl FnMut(&View),
) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = Page { after, limit: PAGE };
        let view = store.read(&ReadSet::new().page(scope.clone(), depth, page), within).await?;
        visit(&view);
        if depth == Depth::Key {
            keys.extend(view.all().map(|(key, _)| key.clone()));
        }
        match view.page_end(scope) {
            Some(last) => after = Some(last.clone()),
            None => return Ok(keys),
        }
    }
}
