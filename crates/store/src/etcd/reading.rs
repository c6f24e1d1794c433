//! Reads: every key and every scope is a range, and one transaction reads them all.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use api::{DecodeError, Key, Record, Revision, Value};
use etcd_client::{GetOptions, GetResponse, KeyValue, Txn, TxnOp, TxnOpResponse};
use tokio::time::Instant;

use super::fault::{FaultClass, RequestFault};
use super::members::Cluster;
use crate::error::StoreError;
use crate::read::{Depth, ReadSet, ScopeRead};
use crate::view::{Slot, View, stray};

pub(super) async fn read(cluster: &Cluster, set: &ReadSet, deadline: Instant) -> Result<View, StoreError> {
    read_at(cluster, set, None, deadline).await
}

/// Reads what the scopes of a set had at a revision; the present state where none is named. Keys are always
/// read as they are now.
pub(super) async fn read_at(
    cluster: &Cluster,
    set: &ReadSet,
    at: Option<i64>,
    deadline: Instant,
) -> Result<View, StoreError> {
    let mut view = View::new();
    let mut walks: Vec<Walk<'_>> = set.scopes.iter().map(Walk::new).collect();
    for walk in walks.iter().filter(|walk| walk.ranges.is_empty()) {
        // The page begins behind every key that its scope can hold.
        view.page_read(walk.read, None);
    }
    let mut keys = &set.keys[..];
    let mut revision = None;
    while !keys.is_empty() || walks.iter().any(|walk| !walk.ranges.is_empty()) {
        let limit = cluster.max_operations();
        let asked: Vec<usize> = walks
            .iter()
            .enumerate()
            .flat_map(|(index, walk)| walk.ranges.iter().map(move |_| index))
            .take(limit)
            .collect();
        let mut operations: Vec<TxnOp> =
            walks.iter().flat_map(|walk| walk.operations(at)).take(limit).collect();
        let count = keys.len().min(limit - operations.len());
        operations.extend(keys[..count].iter().map(|(key, depth)| get(key, *depth)));
        let size = operations.len();
        let answer = match cluster.ask(&Txn::new().and_then(operations), deadline).await {
            Err(fault) if fault.kind == FaultClass::TooMany && cluster.were_too_many(size) => continue,
            answer => answer.map_err(RequestFault::into_error)?,
        };
        let mut answers = answer.op_responses().into_iter().filter_map(|response| match response {
            TxnOpResponse::Get(response) => Some(response),
            _ => None,
        });
        let mut unfinished = BTreeSet::new();
        for (index, response) in asked.iter().zip(&mut answers) {
            if !unfinished.contains(index) && !walks[*index].take(&response, &mut view) {
                unfinished.insert(*index);
            }
        }
        for ((key, depth), response) in keys[..count].iter().zip(&mut answers) {
            let found = response.kvs().first();
            view.insert(key.clone(), found.map_or(Slot::Absent, |kv| slot(key, *depth, kv)));
        }
        keys = &keys[count..];
        // Where the set took several transactions, the view has the revision of the first: a watch that
        // begins there misses nothing.
        revision = revision.or(answer.header().map(|header| header.revision()));
    }
    if let Some(revision) = revision {
        view.set_revision(Revision::from(revision));
    }
    Ok(view)
}

fn get(key: &Key, depth: Depth) -> TxnOp {
    let options = (depth == Depth::Key).then(|| GetOptions::new().with_keys_only());
    TxnOp::get(key.etcd_path(), options)
}

fn slot(key: &Key, depth: Depth, kv: &KeyValue) -> Slot {
    let revision = Revision::from(kv.mod_revision());
    if depth == Depth::Key {
        return Slot::Key(revision);
    }
    match decode(key.clone(), Stored::of(kv)) {
        Ok(record) => Slot::of(&record, depth),
        Err(error) => Slot::unreadable(error, revision),
    }
}

/// A key and its value, as etcd has them.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) revision: i64,
}

impl<'a> Stored<'a> {
    pub(super) fn of(kv: &'a KeyValue) -> Stored<'a> {
        Stored { key: kv.key(), value: kv.value(), revision: kv.mod_revision() }
    }
}

/// Makes a record of a stored key and value.
pub(super) fn decode(key: Key, stored: Stored<'_>) -> Result<Arc<Record>, DecodeError> {
    let text =
        std::str::from_utf8(stored.value).map_err(|error| DecodeError::new(&key, "", error.to_string()))?;
    let value = Value::from_stored_text(&key, text)?;
    Ok(Arc::new(Record { key, value, revision: Revision::from(stored.revision) }))
}

/// The end of the range of all keys with that prefix, exclusive. Prefixes end in `/`.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.trim_end_matches('/').as_bytes().to_vec();
    end.push(b'/' + 1);
    end
}

/// A scope, or a page of it, that is being read.
struct Walk<'r> {
    read: &'r ScopeRead,
    /// The ranges that are still to be read: start, and end, exclusive.
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    limit: usize,
    found: usize,
    last: Option<Key>,
}

impl Walk<'_> {
    fn new(read: &ScopeRead) -> Walk<'_> {
        let page = read.page.as_ref();
        // A key and a zero byte: the least text above the key.
        let start =
            page.and_then(|page| page.after.as_ref()).map(|key| key.etcd_path() + "\0").unwrap_or_default();
        let range = |prefix: String| {
            let end = end_of(&prefix);
            let from = start.as_bytes().max(prefix.as_bytes()).to_vec();
            (from < end).then_some((from, end))
        };
        let ranges = read.scope.prefixes().into_iter().filter_map(range).collect();
        let limit = page.map_or(usize::MAX, |page| page.limit.max(1));
        Walk { read, ranges, limit, found: 0, last: None }
    }

    fn operations(&self, at: Option<i64>) -> impl Iterator<Item = TxnOp> + use<'_> {
        self.ranges.iter().map(move |(from, end)| {
            // Revision 0 is the present one.
            let mut options = GetOptions::new().with_range(end.clone()).with_revision(at.unwrap_or_default());
            if self.read.page.is_some() {
                // One item more than wanted tells whether the scope goes on.
                let wanted = i64::try_from(self.limit - self.found).unwrap_or(i64::MAX);
                options = options.with_limit(wanted.saturating_add(1));
            }
            if self.read.depth == Depth::Key {
                options = options.with_keys_only();
            }
            TxnOp::get(from.clone(), Some(options))
        })
    }

    /// Takes in the answer for the first of the ranges. Gives `true` when that range is read to its end.
    fn take(&mut self, response: &GetResponse, view: &mut View) -> bool {
        for kv in response.kvs() {
            let path = String::from_utf8_lossy(kv.key());
            let key = match Key::from_etcd_path(&path) {
                Some(key) if self.read.scope.holds(&key) => key,
                Some(_) => continue,
                None => {
                    view.insert_stray(stray(&path));
                    continue;
                }
            };
            let slot = slot(&key, self.read.depth, kv);
            if self.found == self.limit {
                self.ranges.clear();
                view.page_read(self.read, self.last.take());
                return false;
            }
            self.found += 1;
            self.last = Some(key.clone());
            view.insert(key, slot);
        }
        if let (true, Some(last)) = (response.more(), response.kvs().last()) {
            if let Some((from, _)) = self.ranges.front_mut() {
                *from = [last.key(), b"\0"].concat();
            }
            return false;
        }
        self.ranges.pop_front();
        if self.ranges.is_empty() {
            view.page_read(self.read, None);
        }
        true
    }
}
