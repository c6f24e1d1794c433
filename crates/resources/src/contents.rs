//! Everything that a store holds, as a value; and the writes that make one store hold what another holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::{Key, Kind, Record, Resource, Stage, Value};
use store::{Depth, Expect, Op, Page, ReadSet, Scope, Store, StoreError, View, Write};

use crate::version::cluster_information;

/// How many records are read at once.
const PAGE: usize = 2_000;

/// All scopes of records. The allocator's configuration is in no scope: it is a single key.
pub(crate) fn scopes() -> impl Iterator<Item = Scope> {
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

/// Numbers of records by their sort, for messages: `4 IPPool, 1 block, 2 handles`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Nouns, usize>);

/// The noun for one record, and the noun for several.
type Nouns = (&'static str, &'static str);

/// Why a store's contents could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store's error.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A record that cannot be understood: a copy would lose it.
    #[error("{0}. Repair or delete that record first")]
    Unreadable(StoreError),
}

impl Contents {
    /// Reads everything, page by page; each page may take as long as `within`. The result is no snapshot if
    /// others write at the same time.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(store: &impl Store, within: Duration) -> Result<Contents, ReadError> {
        let set = ReadSet::new().key(Key::IpamConfig);
        let config = store.read(&set, within).await?.insist(&set).map_err(ReadError::Unreadable)?;
        let mut contents = Contents::default();
        contents.take(&config);
        for scope in scopes() {
            // Reading a scope leaves out values that cannot be understood, but not their keys.
            let mut keys = walk(store, &scope, Depth::Key, PAGE, within, |_| {}).await?;
            walk(store, &scope, Depth::Full, PAGE, within, |view| contents.take(view)).await?;
            keys.retain(|key| !contents.records.contains_key(key));
            for key in keys {
                let set = ReadSet::new().key(key);
                match store.read(&set, within).await?.insist(&set) {
                    // The record was created or deleted between the two reads.
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

    /// The number of records of each sort.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.records.keys().for_each(|key| counts.add(key));
        counts
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Every record.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values()
    }

    /// The ClusterInformation.
    pub fn cluster_information(&self) -> Option<&Resource> {
        self.records.get(&cluster_information())?.resource()
    }

    /// The same contents with `resource` in the place of the stored one. Without a stored one nothing
    /// changes.
    pub fn with(mut self, resource: Resource) -> Contents {
        if let Some(record) = self.records.get_mut(&resource.key()) {
            let value = Value::Resource(resource);
            *record = Arc::new(Record { value, ..Record::clone(record) });
        }
        self
    }

    /// The writes that turn a store that holds `found` into one that holds these contents. At no moment of
    /// these writes could a user of that store get an address that is taken: allocations are written before
    /// the pools, and the ClusterInformation, without which no store counts as initialised, is written last.
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

    /// The writes that delete from `found` the records that are the same here, in the reverse order.
    pub fn removals_from(&self, found: &Contents) -> Vec<Write> {
        let is_ours =
            |key: &Key, record: &Record| self.records.get(key).is_some_and(|ours| ours.value == record.value);
        deletions(found.records.iter().filter(|(key, record)| is_ours(key, record)))
    }
}

impl Counts {
    /// Counts one record more.
    pub(crate) fn add(&mut self, key: &Key) {
        *self.0.entry(nouns(key)).or_default() += 1;
    }

    /// The number of all.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Each sort by the noun for one record, and the number of its records.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|((one, _), count)| (*one, *count))
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

/// The place of a record in the order of the writes. Handles come before the blocks that they count addresses
/// of: a count may be too high, but never too low.
fn stage(key: &Key) -> u8 {
    match key {
        Key::Handle(_) => 0,
        Key::Affinity { .. } | Key::IpamHost(_) => 1,
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
        Key::IpamHost(_) => ("host's record", "hosts' records"),
    }
}

/// A number, and the noun for one or for several.
pub fn number_of(count: u64, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {several}"),
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |((one, several), count): (&Nouns, &usize)| number_of(*count as u64, one, several);
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(", "))
    }
}

/// Reads a scope page by page, of `limit` records each, and calls `visit` with each page; each page may take
/// as long as `within`. Returns the scope's keys if `depth` is [`Depth::Key`].
///
/// # Errors
/// The store's.
pub async fn walk(
    store: &impl Store,
    scope: &Scope,
    depth: Depth,
    limit: usize,
    within: Duration,
    mut visit: impl FnMut(&View),
) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = Page { after, limit };
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
