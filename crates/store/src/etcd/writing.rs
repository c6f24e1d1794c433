//! Commits: a batch is one transaction where etcd's limits allow it.

use api::{Key, Revision};
use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::time::Instant;

use super::fault::{FaultClass, RequestFault};
use super::members::Cluster;
use super::reading::{Stored, decode, end_of};
use crate::batch::{Batch, Current, Expect, Guard, Op, Operation, Outcome, Report, Transaction, Write};
use crate::error::{Refusal, StoreError};

/// A revision that no record has, so that comparing with it fails.
const NEVER: i64 = -1;

pub(super) async fn commit(
    cluster: &Cluster,
    batch: &Batch,
    deadline: Instant,
) -> Result<Report, StoreError> {
    let mut report = Report { outcomes: vec![Outcome::NotTried; batch.writes.len()], broken_guard: None };
    // Each transaction takes the writes that follow the last one's, so a count says which writes are applied.
    let mut applied = 0;
    let mut limit = cluster.max_operations();
    let mut is_first = true;
    while applied < batch.writes.len() || (is_first && !batch.guards.is_empty()) {
        let rest = rest(batch, applied, &report.outcomes);
        let transaction = rest.transactions(limit).into_iter().next().unwrap_or_default();
        let checks = checks(batch.guards_from(applied));
        let size = transaction.operations.len() + checks.len();
        let answer = match cluster.tell(&request(&transaction, &checks), deadline).await {
            Err(fault)
                if fault.kind == FaultClass::TooMany
                    && cluster.were_too_many(size)
                    && limit > cluster.max_operations() =>
            {
                limit = cluster.max_operations();
                continue;
            }
            Err(fault) if fault.kind == FaultClass::TooLarge && transaction.operations.len() > 1 => {
                limit = transaction.operations.len() / 2 + checks.len();
                continue;
            }
            answer => answer,
        };
        let writes =
            |operation: &Operation| operation.writes.iter().map(|at| at + applied).collect::<Vec<_>>();
        match answer {
            Ok(answer) if answer.succeeded() => {
                let revision = Revision::from(answer.header().map_or(0, |header| header.revision()));
                for at in transaction.operations.iter().flat_map(writes) {
                    report.outcomes[at] = Outcome::Applied(revision.clone());
                }
                applied +=
                    transaction.operations.iter().map(|operation| operation.writes.len()).sum::<usize>();
            }
            Ok(answer) => {
                match refusal_of(&answer, &transaction, &checks) {
                    Refused::Guard(index) => report.broken_guard = Some(index),
                    Refused::Operation(at, current) => {
                        let at = transaction.operations[at].writes[0] + applied;
                        report.outcomes[at] = Outcome::Refused(Refusal::Conflict(current));
                    }
                }
                return Ok(report);
            }
            Err(fault) => return report_of_fault(fault, &transaction, applied, report),
        }
        is_first = false;
    }
    Ok(report)
}

/// The writes from `from` on, as a batch of their own. An expectation of an earlier write becomes that
/// write's outcome.
fn rest(batch: &Batch, from: usize, outcomes: &[Outcome]) -> Batch {
    let writes = batch.writes[from..].iter().map(|write| {
        let expect = match &write.expect {
            Expect::AsLeftBy(index) if *index >= from => Expect::AsLeftBy(index - from),
            Expect::AsLeftBy(index) => match (&batch.writes[*index].op, &outcomes[*index]) {
                (Op::Put(_), Outcome::Applied(revision)) => Expect::Revision(revision.clone()),
                _ => Expect::Absent,
            },
            other => other.clone(),
        };
        Write { expect, ..write.clone() }
    });
    let guards = batch.guards_from(from).map(|(_, guard)| guard.clone());
    Batch { writes: writes.collect(), guards: guards.collect(), ..Batch::default() }
}

/// A comparison of a guard's.
enum Check<'b> {
    /// The key is at that revision, or absent.
    Key(&'b Key, Option<&'b Revision>),
    /// No key under that prefix has a later revision than that number.
    Range(String, i64),
}

/// The comparisons of the guards, each with its guard's index.
fn checks<'b>(guards: impl Iterator<Item = (usize, &'b Guard)>) -> Vec<(usize, Check<'b>)> {
    let mut checks = Vec::new();
    for (index, guard) in guards {
        match guard {
            Guard::Record { key, revision } => checks.push((index, Check::Key(key, revision.as_ref()))),
            Guard::Scope { scope, since } => {
                let range = |prefix| (index, Check::Range(prefix, number(since)));
                checks.extend(scope.prefixes().into_iter().map(range));
            }
        }
    }
    checks
}

impl Check<'_> {
    fn compare(&self) -> Compare {
        match self {
            Check::Key(key, revision) => compare(key, *revision),
            // For an empty range etcd compares 0, which is less: the guard holds.
            Check::Range(prefix, since) => {
                Compare::mod_revision(prefix.as_str(), CompareOp::Less, since + 1).with_range(end_of(prefix))
            }
        }
    }

    /// Fetches, without values, what tells whether the comparison failed: the key itself, or one key of the
    /// range that is later.
    fn fetch(&self) -> TxnOp {
        let options = GetOptions::new().with_keys_only();
        match self {
            Check::Key(key, _) => TxnOp::get(key.etcd_path(), Some(options)),
            Check::Range(prefix, since) => {
                let later = options.with_range(end_of(prefix)).with_min_mod_revision(since + 1).with_limit(1);
                TxnOp::get(prefix.as_str(), Some(later))
            }
        }
    }

    fn holds(&self, found: &GetResponse) -> bool {
        match self {
            Check::Key(_, revision) => revision_of(found) == revision.map(number),
            Check::Range(_, since) => *since != NEVER && found.kvs().is_empty(),
        }
    }
}

/// The transaction: the compares, the writes to apply if all of them hold, and what to fetch if one fails, in
/// the order of the compares.
fn request(transaction: &Transaction, checks: &[(usize, Check<'_>)]) -> Txn {
    let operations = &transaction.operations;
    let guarded = checks.iter().map(|(_, check)| check.compare());
    let expected = operations.iter().map(|operation| match &operation.expect {
        Expect::Absent => compare(&operation.key, None),
        Expect::Revision(revision) => compare(&operation.key, Some(revision)),
        // It expects the state after a write of this very transaction that could not be folded into it. No
        // stored state fulfils that, so the compare must fail.
        Expect::AsLeftBy(_) => Compare::mod_revision(operation.key.etcd_path(), CompareOp::Equal, NEVER),
    });
    let writes = operations.iter().map(|operation| match &operation.op {
        Op::Put(value) => TxnOp::put(operation.key.etcd_path(), value.to_stored_text(), None),
        Op::Delete => TxnOp::delete(operation.key.etcd_path(), None),
    });
    let headers = checks.iter().map(|(_, check)| check.fetch());
    let records = operations.iter().map(|operation| TxnOp::get(operation.key.etcd_path(), None));
    Txn::new()
        .when(guarded.chain(expected).collect::<Vec<_>>())
        .and_then(writes.collect::<Vec<_>>())
        .or_else(headers.chain(records).collect::<Vec<_>>())
}

fn compare(key: &Key, revision: Option<&Revision>) -> Compare {
    match revision {
        None => Compare::version(key.etcd_path(), CompareOp::Equal, 0),
        Some(revision) => Compare::mod_revision(key.etcd_path(), CompareOp::Equal, number(revision)),
    }
}

/// The number of a revision that etcd may have given. Any other text gives a number that matches nothing, and
/// so does 0, which etcd uses for absent keys.
fn number(revision: &Revision) -> i64 {
    let number = revision.as_str().parse().unwrap_or(NEVER);
    if number > 0 && number.to_string() == revision.as_str() { number } else { NEVER }
}

/// Which compare failed.
enum Refused {
    Guard(usize),
    Operation(usize, Current),
}

fn refusal_of(answer: &TxnResponse, transaction: &Transaction, checks: &[(usize, Check<'_>)]) -> Refused {
    let found: Vec<GetResponse> = answer
        .op_responses()
        .into_iter()
        .filter_map(|response| match response {
            TxnOpResponse::Get(response) => Some(response),
            _ => None,
        })
        .collect();
    let (for_guards, for_operations) = found.split_at(checks.len().min(found.len()));
    if let Some(((index, _), _)) =
        checks.iter().zip(for_guards).find(|((_, check), found)| !check.holds(found))
    {
        return Refused::Guard(*index);
    }
    for (at, (operation, found)) in transaction.operations.iter().zip(for_operations).enumerate() {
        let holds = match &operation.expect {
            Expect::Absent => revision_of(found).is_none(),
            Expect::Revision(revision) => revision_of(found) == Some(number(revision)),
            Expect::AsLeftBy(_) => false,
        };
        if !holds {
            return Refused::Operation(at, current(operation, found));
        }
    }
    // All compares hold by what was fetched, yet the server says that one failed: which one cannot be told.
    Refused::Operation(0, Current::Unknown)
}

fn revision_of(found: &GetResponse) -> Option<i64> {
    found.kvs().first().map(|kv| kv.mod_revision())
}

fn current(operation: &Operation, found: &GetResponse) -> Current {
    match found.kvs().first() {
        None => Current::Absent,
        // The record exists and cannot be parsed. The next read of it reports the reason.
        Some(kv) => decode(operation.key.clone(), Stored::of(kv)).map_or(Current::Unknown, Current::Record),
    }
}

/// The report where a transaction failed. It is an error instead where certainly nothing of the batch was
/// applied.
fn report_of_fault(
    fault: RequestFault,
    transaction: &Transaction,
    applied: usize,
    mut report: Report,
) -> Result<Report, StoreError> {
    let Some(first) = transaction.operations.first() else { return Err(fault.into_error()) };
    if fault.kind == FaultClass::TooLarge && !fault.in_doubt {
        report.outcomes[first.writes[0] + applied] = Outcome::Refused(Refusal::TooLarge(fault.text));
    } else if fault.in_doubt {
        for at in transaction.operations.iter().flat_map(|operation| &operation.writes) {
            report.outcomes[at + applied] = Outcome::Unknown(fault.text.clone());
        }
    } else if applied == 0 {
        return Err(fault.into_error());
    } else {
        // The transaction was not sent. `Unknown` is the only outcome that carries the reason why the report
        // ends here.
        report.outcomes[first.writes[0] + applied] = Outcome::Unknown(fault.text);
    }
    Ok(report)
}
