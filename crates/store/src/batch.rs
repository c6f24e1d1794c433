//! Batches of writes, and the reports of what came of them.

use std::sync::Arc;

use api::{Key, Record, Revision, Value};

use crate::error::Refusal;
use crate::read::Scope;

/// What a write expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No record.
    Absent,
    /// The record at that revision, unchanged.
    Revision(Revision),
    /// The state in which an earlier write of the same batch left the record. The index counts from 0; that
    /// write must be of the same key.
    AsLeftBy(usize),
}

impl Expect {
    /// Expects the record at the revision that was read.
    pub fn at(revision: &Revision) -> Expect {
        Expect::Revision(revision.clone())
    }
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Stores the value.
    Put(Arc<Value>),
    /// Removes the record. A delete expects a revision or the state after an earlier write, never
    /// [`Expect::Absent`].
    Delete,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The record to write.
    pub key: Key,
    /// What the write must find; else it is refused.
    pub expect: Expect,
    /// What the write does.
    pub op: Op,
}

/// Something that a decision rests on, that the batch does not write, and that must not have changed.
/// Kubernetes does not honour guards: no invariant may rest on one.
///
/// A batch has few guards, however many records its decision rests on: single records are guarded only where
/// their number does not grow with the cluster, and a whole scope needs only one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A record is at the revision that was read.
    Record {
        /// The record.
        key: Key,
        /// The revision; `None` for an absent record.
        revision: Option<Revision>,
    },
    /// No record of a scope was created or changed after a moment.
    ///
    /// The guard does not see deletions, since a deleted record has no revision to compare. So a decision
    /// that guards a scope must also be right where fewer records are left than were read. The guard does see
    /// that a record was deleted and created again. A key under the scope's prefixes that is none of its
    /// records, or whose value cannot be parsed, may count as a change.
    Scope {
        /// The scope.
        scope: Scope,
        /// The store's revision at or before the read: see [`View::read_at`](crate::View::read_at).
        since: Revision,
    },
}

/// An ordered list of writes, with guards. Every prefix of the writes must be a legal state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The writes, in the order in which they are applied.
    pub writes: Vec<Write>,
    /// What must not have changed; checked with the first write.
    pub guards: Vec<Guard>,
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

    /// Whether a guard names this record.
    pub fn guards_record(&self, key: &Key) -> bool {
        self.guards.iter().any(|guard| matches!(guard, Guard::Record { key: guarded, .. } if guarded == key))
    }

    /// How many comparisons the guards need in a backend that compares keys and ranges of keys.
    pub fn comparisons(&self) -> usize {
        let of = |guard: &Guard| match guard {
            Guard::Record { .. } => 1,
            Guard::Scope { scope, .. } => scope.prefixes().len(),
        };
        self.guards.iter().map(of).sum()
    }

    /// Whether the batch has no writes; it may have guards.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Cuts the batch into transactions, for a backend that has them. Successive puts of one key become one
    /// operation, which expects what the first put expects and stores what the last put stores. The batch is
    /// cut between a delete and a create of one key, and where a transaction would have more than `limit`
    /// operations (in the first transaction, the guards' comparisons count too).
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
    /// The operations, in the order of the batch.
    pub operations: Vec<Operation>,
}

/// Successive writes of one key, folded.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The record to write.
    pub key: Key,
    /// What the first write expects.
    pub expect: Expect,
    /// What the last write does.
    pub op: Op,
    /// The indexes in the batch of the writes that were folded into this operation.
    pub writes: Vec<usize>,
}

/// The outcome of one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The write was applied. Holds the record's new revision, or for a delete that of the deletion, where
    /// the backend gives one.
    Applied(Revision),
    /// The write was not applied, and never will be.
    Refused(Refusal),
    /// The write may or may not have been applied. The next batch must write or fence that record before it
    /// concludes anything from it.
    Unknown(String),
    /// The write was not applied, because another write, earlier in the batch or in the same transaction, was
    /// refused or is unknown.
    NotTried,
}

/// The record that a refused write found.
#[derive(Clone, Debug, PartialEq)]
pub enum Current {
    /// Not known: the caller has to read it.
    Unknown,
    /// The record does not exist.
    Absent,
    /// The record is there, in this state.
    Record(Arc<Record>),
}

/// The outcomes of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The outcome of each write, in the batch's order.
    pub outcomes: Vec<Outcome>,
    /// The index of a guard that did not hold. Then nothing was written.
    pub broken_guard: Option<usize>,
}

impl Report {
    /// Whether every write was applied.
    pub fn is_applied(&self) -> bool {
        self.broken_guard.is_none() && self.outcomes.iter().all(|o| matches!(o, Outcome::Applied(_)))
    }

    /// The first refusal, and the index of the refused write.
    pub fn refusal(&self) -> Option<(usize, &Refusal)> {
        self.outcomes.iter().enumerate().find_map(|(i, o)| match o {
            Outcome::Refused(refusal) => Some((i, refusal)),
            _ => None,
        })
    }

    /// Whether the outcome of any write is unknown.
    pub fn has_unknown(&self) -> bool {
        self.outcomes.iter().any(|o| matches!(o, Outcome::Unknown(_)))
    }
}
