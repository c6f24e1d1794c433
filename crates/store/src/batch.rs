//! What to write, and what came of it.

use std::sync::Arc;

use api::{Key, Record, Revision, Value};

use crate::error::Refusal;
use crate::read::Scope;

/// What a write expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// The record at that revision.
    Revision(Revision),
    /// What an earlier write of the same batch, counted from 0, left there. That write must be of the same
    /// key.
    AsLeftBy(usize),
}

impl Expect {
    /// The record as it was read.
    pub fn at(revision: &Revision) -> Expect {
        Expect::Revision(revision.clone())
    }
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Stores the value.
    Put(Arc<Value>),
    /// Removes the record. Expects a revision or what an earlier write left, never [`Expect::Absent`].
    Delete,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Of which record.
    pub key: Key,
    /// What it must find.
    pub expect: Expect,
    /// What it does.
    pub op: Op,
}

/// What is read, not written, and must not have changed. Kubernetes does not honour these: no invariant may
/// rest on one.
///
/// However many records a decision rests on, its batch has a few guards: those that are named one by one do
/// not grow with the cluster, and a scope is one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A record.
    Record {
        /// Which one.
        key: Key,
        /// At which revision; `None` for absent.
        revision: Option<Revision>,
    },
    /// All records of a scope: none was created or changed after that moment.
    ///
    /// A deletion goes unseen, since a record that is gone has no revision to compare. So whoever guards a
    /// scope must be right as well where fewer records are left than were read. That a record was deleted and
    /// created again is seen. What lies under the scope's keys and is none of its records, or cannot be
    /// understood, may count as changed.
    Scope {
        /// Which one.
        scope: Scope,
        /// The store's revision at or before the read: see [`View::read_at`](crate::View::read_at).
        since: Revision,
    },
}

/// An ordered list of writes. Every prefix of it must be a legal state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The writes.
    pub writes: Vec<Write>,
    /// What must not have changed.
    pub guards: Vec<Guard>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a write that stores `value`; tells its index for [`Expect::AsLeftBy`].
    pub fn put(&mut self, key: Key, expect: Expect, value: Value) -> usize {
        self.push(Write { key, expect, op: Op::Put(Arc::new(value)) })
    }

    /// Adds a write that removes the record; tells its index.
    pub fn delete(&mut self, key: Key, expect: Expect) -> usize {
        self.push(Write { key, expect, op: Op::Delete })
    }

    /// Adds a write; tells its index.
    pub fn push(&mut self, write: Write) -> usize {
        self.writes.push(write);
        self.writes.len() - 1
    }

    /// Adds the writes of another batch behind its own, and those of its guards that it has not; tells the
    /// index that the first of these writes got.
    ///
    /// The other one was planned on the same view, and then the two must not write the same records; or on
    /// what this one leaves ([`View::once_applied`](crate::View::once_applied)). What is refused of this one
    /// stops the other one, too.
    pub fn append(&mut self, other: Batch) -> usize {
        let first = self.writes.len();
        for write in other.writes {
            let expect = match write.expect {
                // An index that names no write names none afterwards.
                Expect::AsLeftBy(index) => Expect::AsLeftBy(index.saturating_add(first)),
                Expect::Revision(revision) => match write_that_leaves(&revision) {
                    Some(index) => Expect::AsLeftBy(index),
                    None => Expect::Revision(revision),
                },
                Expect::Absent => Expect::Absent,
            };
            self.writes.push(Write { expect, ..write });
        }
        for guard in other.guards {
            // Guards are looked at before the first write. What this batch leaves holds where it is applied.
            let is_left = matches!(&guard, Guard::Record { key, revision }
            if match revision {
                Some(revision) => write_that_leaves(revision).is_some(),
                None => self.writes[..first].iter().any(|write| write.key == *key && write.op == Op::Delete),
            });
            if !is_left && !self.guards.contains(&guard) {
                self.guards.push(guard);
            }
        }
        first
    }

    /// Adds a guard of a record.
    pub fn guard(&mut self, key: Key, revision: Option<Revision>) {
        self.guards.push(Guard::Record { key, revision });
    }

    /// Adds a guard of a scope.
    pub fn guard_scope(&mut self, scope: Scope, since: Revision) {
        self.guards.push(Guard::Scope { scope, since });
    }

    /// Whether a record is guarded by its key.
    pub fn guards_record(&self, key: &Key) -> bool {
        self.guards.iter().any(|guard| matches!(guard, Guard::Record { key: guarded, .. } if guarded == key))
    }

    /// How many comparisons the guards are, where each names a key or a range of keys.
    pub fn comparisons(&self) -> usize {
        let of = |guard: &Guard| match guard {
            Guard::Record { .. } => 1,
            Guard::Scope { scope, .. } => scope.prefixes().len(),
        };
        self.guards.iter().map(of).sum()
    }

    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Cuts the batch into transactions for a backend that has them: successive puts of a key are folded into
    /// one operation that expects what the first one does and stores what the last one does. A delete and a
    /// create of the same key are never folded, nor are more than `limit` operations (the guards' comparisons
    /// in the first transaction included) put together: there the batch is cut.
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

/// What stands for the revision that a write of a batch leaves, as long as it is not applied. No store gives
/// such a one.
pub(crate) fn left_by(index: usize) -> Revision {
    Revision::new(format!("{LEFT_BY}{index}"))
}

/// The index of the write for whose revision that stands.
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
    /// Of which record.
    pub key: Key,
    /// What the first write expects.
    pub expect: Expect,
    /// What the last write does.
    pub op: Op,
    /// The indexes of the writes in the batch.
    pub writes: Vec<usize>,
}

/// What came of one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is stored; the new revision (of a delete: that of the deletion, where the backend tells).
    Applied(Revision),
    /// It is not stored, and never will be.
    Refused(Refusal),
    /// It may have been stored; the next batch must write or fence that record before it concludes anything
    /// from it.
    Unknown(String),
    /// It is not stored: another was refused, earlier in the batch or in the same transaction, or is unknown.
    NotTried,
}

/// What is known of the record that a refused write found.
#[derive(Clone, Debug, PartialEq)]
pub enum Current {
    /// Nothing; read it.
    Unknown,
    /// It does not exist.
    Absent,
    /// This.
    Record(Arc<Record>),
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// By write.
    pub outcomes: Vec<Outcome>,
    /// The index of a guard that did not hold; then nothing was written.
    pub broken_guard: Option<usize>,
}

impl Report {
    /// Whether every write was applied.
    pub fn is_applied(&self) -> bool {
        self.broken_guard.is_none() && self.outcomes.iter().all(|o| matches!(o, Outcome::Applied(_)))
    }

    /// The first refusal and the write that met it.
    pub fn refusal(&self) -> Option<(usize, &Refusal)> {
        self.outcomes.iter().enumerate().find_map(|(i, o)| match o {
            Outcome::Refused(refusal) => Some((i, refusal)),
            _ => None,
        })
    }

    /// What came of the writes before that index, and of those from it on: of the two batches of which the
    /// one was appended to the other.
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
