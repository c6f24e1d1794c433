//! Batches of writes, and the reports of what became of them.

use std::sync::Arc;

use api::{Key, Record, Revision, Value};

use crate::error::Refusal;
use crate::read::Scope;

/// The state of the record for which a write is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The record does not exist.
    Absent,
    /// The record exists at that revision.
    Revision(Revision),
    /// The state that an earlier write of the same batch leaves. Holds the index of that write, counted from
    /// 0, which must be a write of the same key.
    AsLeftBy(usize),
}

impl Expect {
    /// Expects the record at the revision at which it was read.
    pub fn at(revision: &Revision) -> Expect {
        Expect::Revision(revision.clone())
    }
}

/// The effect of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Stores the value.
    Put(Arc<Value>),
    /// Removes the record. Such a write expects a revision or what an earlier write left, never
    /// [`Expect::Absent`].
    Delete,
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The key of the record.
    pub key: Key,
    /// The state in which the record must be.
    pub expect: Expect,
    /// The effect on the record.
    pub op: Op,
}

/// Something that the batch does not write, but that must not have changed since it was read. Kubernetes
/// ignores guards, so no invariant may rest on one; see [`Look`] for what an invariant may rest on.
///
/// A batch has only a few guards, however large the cluster is: a whole scope takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Guards one record.
    Record {
        /// The key of the record.
        key: Key,
        /// The revision at which the record must be; `None` if it must be absent.
        revision: Option<Revision>,
    },
    /// Guards all records of a scope: none may have been created or changed since a moment.
    ///
    /// The guard does not notice deletions, since a deleted record has no revision to compare. So the batch
    /// must also be right if fewer records are left than were read. A record that was deleted and created
    /// again is noticed. A key in the scope that belongs to no record, or whose record cannot be read, may
    /// count as a change.
    Scope {
        /// The guarded scope.
        scope: Scope,
        /// The store's revision at or before the read: see [`View::read_at`](crate::View::read_at).
        since: Revision,
    },
}

/// A guarded record, and a write of the batch. A store that applies the batch write by write reads the record
/// between the writes before that write and that write, and stops there if the record has changed. A store
/// that applies both in one transaction has compared the record already; where the batch is several
/// transactions, the record is compared in each up to that of the write.
///
/// So an invariant may rest on this: at some moment *after* the earlier writes could be seen by everybody,
/// the record was as the guard demands. Not on more: the record may change before the write that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The index of the guard, which guards a record.
    pub guard: usize,
    /// The index of the write that is not tried if the record has changed.
    pub before: usize,
}

/// An ordered list of writes. Every prefix of it must be a legal state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The writes, in the order in which they are applied.
    pub writes: Vec<Write>,
    /// The guards. All of them are checked before the first write.
    pub guards: Vec<Guard>,
    /// The guarded records that are looked at again between the writes.
    pub looks: Vec<Look>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a write that stores `value`. Gives the write's index, for [`Expect::AsLeftBy`].
    pub fn put(&mut self, key: Key, expect: Expect, value: Value) -> usize {
        self.push(Write { key, expect, op: Op::Put(Arc::new(value)) })
    }

    /// Adds a write that removes the record. Gives the write's index.
    pub fn delete(&mut self, key: Key, expect: Expect) -> usize {
        self.push(Write { key, expect, op: Op::Delete })
    }

    /// Adds a write. Gives its index.
    pub fn push(&mut self, write: Write) -> usize {
        self.writes.push(write);
        self.writes.len() - 1
    }

    /// Adds the writes of `other` after this batch's own, and those of its guards that this batch lacks.
    /// Gives the index of the first added write.
    ///
    /// `other` was planned in one of two ways: on the same view as this batch, and then the two must write
    /// different records; or on the view that this batch leaves
    /// ([`View::once_applied`](crate::View::once_applied)). If a write of this batch is refused, no write of
    /// `other` is tried.
    pub fn append(&mut self, other: Batch) -> usize {
        let first = self.writes.len();
        for write in other.writes {
            let expect = match write.expect {
                // An index that named no write of `other` still names no write.
                Expect::AsLeftBy(index) => Expect::AsLeftBy(index.saturating_add(first)),
                Expect::Revision(revision) => match write_that_leaves(&revision) {
                    Some(index) => Expect::AsLeftBy(index),
                    None => Expect::Revision(revision),
                },
                Expect::Absent => Expect::Absent,
            };
            self.writes.push(Write { expect, ..write });
        }
        for (index, guard) in other.guards.into_iter().enumerate() {
            // Guards are checked before the first write. A guard on the state that this batch leaves is
            // dropped, and with it the looks at it: that state holds whenever the batch is applied.
            let is_left = matches!(&guard, Guard::Record { key, revision }
            if match revision {
                Some(revision) => write_that_leaves(revision).is_some(),
                None => self.writes[..first].iter().any(|write| write.key == *key && write.op == Op::Delete),
            });
            if is_left {
                continue;
            }
            let at = self.guards.iter().position(|own| *own == guard).unwrap_or(self.guards.len());
            if at == self.guards.len() {
                self.guards.push(guard);
            }
            let looks = other.looks.iter().filter(|look| look.guard == index);
            self.looks.extend(looks.map(|look| Look { guard: at, before: look.before + first }));
        }
        first
    }

    /// What a write expects by itself, once the writes before it have these outcomes. `None` where it refers
    /// to a write that was not applied, or does not come before it: no state can fulfil that.
    pub fn expectation(&self, index: usize, outcomes: &[Outcome]) -> Option<Expect> {
        let Expect::AsLeftBy(before) = self.writes[index].expect else {
            return Some(self.writes[index].expect.clone());
        };
        match (&self.writes.get(before)?.op, outcomes.get(before)?) {
            (Op::Put(_), Outcome::Applied(revision)) => Some(Expect::Revision(revision.clone())),
            (Op::Delete, Outcome::Applied(_)) => Some(Expect::Absent),
            _ => None,
        }
    }

    /// Adds a guard of a record.
    pub fn guard(&mut self, key: Key, revision: Option<Revision>) {
        self.guards.push(Guard::Record { key, revision });
    }

    /// Has a guarded record looked at again right before a write. A record that is not guarded is not.
    pub fn look_again(&mut self, key: &Key, before: usize) {
        let is_of = |guard: &Guard| matches!(guard, Guard::Record { key: guarded, .. } if guarded == key);
        if let Some(guard) = self.guards.iter().position(is_of) {
            self.looks.push(Look { guard, before });
        }
    }

    /// The guarded records to look at right before a write: the guard's index, the key, and the revision at
    /// which the record must be.
    pub fn looks_before(&self, write: usize) -> impl Iterator<Item = (usize, &Key, Option<&Revision>)> {
        let looks = self.looks.iter().filter(move |look| look.before == write);
        looks.filter_map(|look| match self.guards.get(look.guard)? {
            Guard::Record { key, revision } => Some((look.guard, key, revision.as_ref())),
            Guard::Scope { .. } => None,
        })
    }

    /// The guards to check together with the writes from `from` on, each with its index: all of them before
    /// the first write; later those of records that are to be looked at again.
    pub fn guards_from(&self, from: usize) -> impl Iterator<Item = (usize, &Guard)> {
        let is_looked_at = move |guard: usize| {
            from == 0 || self.looks.iter().any(|look| look.guard == guard && look.before >= from)
        };
        self.guards.iter().enumerate().filter(move |(index, _)| is_looked_at(*index))
    }

    /// Adds a guard of a scope.
    pub fn guard_scope(&mut self, scope: Scope, since: Revision) {
        self.guards.push(Guard::Scope { scope, since });
    }

    /// Whether a record is guarded by its key.
    pub fn guards_record(&self, key: &Key) -> bool {
        self.guards.iter().any(|guard| matches!(guard, Guard::Record { key: guarded, .. } if guarded == key))
    }

    /// How many comparisons the guards need: one for each key or range of keys.
    pub fn comparisons(&self) -> usize {
        let of = |guard: &Guard| match guard {
            Guard::Record { .. } => 1,
            Guard::Scope { scope, .. } => scope.prefixes().len(),
        };
        self.guards.iter().map(of).sum()
    }

    /// Whether the batch has no writes.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Cuts the batch into transactions, for a backend that has them. Successive puts of one key are folded
    /// into one operation, which expects what the first put expects and stores what the last one stores. The
    /// batch is cut between a delete and a create of the same key, and where a transaction would have more
    /// than `limit` operations; the comparisons of the guards count as operations of the first transaction.
    pub fn transactions(&self, limit: usize) -> Vec<Transaction> {
        let comparisons = self.comparisons();
        let mut out: Vec<Transaction> = Vec::new();
        let mut now = Transaction::default();
        for (index, write) in self.writes.iter().enumerate() {
            let same = now.operations.iter().position(|op| op.key == write.key);
            let fold = same.filter(|at| {
                let before = &now.operations[*at];
                let follows =
                    matches!(&write.expect, Expect::AsLeftBy(index) if before.writes.last() == Some(index));
                follows && matches!(before.op, Op::Put(_)) && matches!(write.op, Op::Put(_))
            });
            if let Some(at) = fold {
                now.operations[at].op = write.op.clone();
                now.operations[at].writes.push(index);
                continue;
            }
            let guards = if out.is_empty() { comparisons } else { 0 };
            if same.is_some() || now.operations.len() + 1 + guards > limit.max(1 + guards) {
                out.push(std::mem::take(&mut now));
            }
            now.operations.push(Operation {
                key: write.key.clone(),
                expect: write.expect.clone(),
                op: write.op.clone(),
                writes: vec![index],
            });
        }
        if !now.operations.is_empty() {
            out.push(now);
        }
        out
    }
}

const LEFT_BY: &str = "as left by ";

/// A mark that stands for the revision that a write of a batch will leave. No store gives such a revision.
pub(crate) fn left_by(index: usize) -> Revision {
    Revision::new(format!("{LEFT_BY}{index}"))
}

/// The index of the write for whose revision the mark stands; `None` for a text that is no mark.
fn write_that_leaves(revision: &Revision) -> Option<usize> {
    revision.as_str().strip_prefix(LEFT_BY)?.parse().ok()
}

/// Operations on distinct keys that are applied together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// The operations.
    pub operations: Vec<Operation>,
}

/// Successive writes of one key, folded.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The key of the record.
    pub key: Key,
    /// What the first write expects.
    pub expect: Expect,
    /// What the last write does.
    pub op: Op,
    /// The indexes of the writes in the batch.
    pub writes: Vec<usize>,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The write was applied; holds the record's new revision (for a delete, the revision of the deletion,
    /// where the backend tells it).
    Applied(Revision),
    /// The write was refused, and will never be applied.
    Refused(Refusal),
    /// The write may have been applied or not; holds the reason for the doubt. The next batch must write or
    /// fence that record before it concludes anything from it.
    Unknown(String),
    /// The write was not applied, since an earlier write was refused or is unknown, or another write of its
    /// transaction was refused.
    NotTried,
}

/// What the store told about the record for which a refused write was meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Current {
    /// Nothing: the record has to be read.
    Unknown,
    /// The record does not exist.
    Absent,
    /// The record as it is stored.
    Record(Arc<Record>),
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The outcome of each write, in their order.
    pub outcomes: Vec<Outcome>,
    /// The index of a guard that did not hold. If there is one, no write was tried that has no outcome here;
    /// where the batch has no [`Look`], nothing was written.
    pub broken_guard: Option<usize>,
}

impl Report {
    /// Whether every write was applied.
    pub fn is_applied(&self) -> bool {
        self.broken_guard.is_none() && self.outcomes.iter().all(|o| matches!(o, Outcome::Applied(_)))
    }

    /// The index of the first refused write, and the refusal.
    pub fn refusal(&self) -> Option<(usize, &Refusal)> {
        self.outcomes.iter().enumerate().find_map(|(i, o)| match o {
            Outcome::Refused(refusal) => Some((i, refusal)),
            _ => None,
        })
    }

    /// Splits the report of two batches that were appended to each other: the outcomes of the writes before
    /// `first`, and those from `first` on.
    pub fn split_at(mut self, first: usize) -> (Report, Report) {
        let outcomes = self.outcomes.split_off(first.min(self.outcomes.len()));
        let other = Report { outcomes, broken_guard: self.broken_guard };
        (self, other)
    }

    /// Whether any write may or may not have been applied.
    pub fn has_unknown(&self) -> bool {
        self.outcomes.iter().any(|o| matches!(o, Outcome::Unknown(_)))
    }
}
