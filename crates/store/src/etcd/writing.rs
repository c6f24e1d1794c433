//! Commits: a batch is one transaction where it can be.

use api::{Key, Revision};
use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::time::Instant;

use super::fault::{Fault, Kind};
use super::members::Cluster;
use super::reading::decode;
use crate::batch::{Batch, Current, Expect, Guard, Op, Operation, Outcome, Report, Transaction, Write};
use crate::error::{Refusal, StoreError};

/// A revision that no record has.
const NEVER: i64 = -1;

/// Applies a batch.
pub(super) async fn commit(
    cluster: &Cluster,
    batch: &Batch,
    deadline: Instant,
) -> Result<Report, StoreError> {
    let mut report = Report { outcomes: vec![Outcome::NotTried; batch.writes.len()], broken_guard: None };
    // Transactions are made of successive writes, so what is applied is a count.
    let mut applied = 0;
    let mut limit = cluster.max_operations();
    let mut is_first = true;
    while applied < batch.writes.len() || (is_first && !batch.guards.is_empty()) {
        let rest = rest(batch, applied, &report.outcomes, is_first);
        let transaction = rest.transactions(limit).into_iter().next().unwrap_or_default();
        let size = transaction.operations.len() + rest.guards.len();
        let answer = match cluster.tell(&request(&transaction, &rest.guards), deadline).await {
            Err(fault)
                if fault.kind == Kind::TooMany
                    && cluster.were_too_many(size)
                    && limit > cluster.max_operations() =>
            {
                limit = cluster.max_operations();
                continue;
            }
            Err(fault) if fault.kind == Kind::TooLarge && transaction.operations.len() > 1 => {
                limit = transaction.operations.len() / 2 + rest.guards.len();
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
                match refused(&answer, &transaction, &rest.guards) {
                    Refused::Guard(index) => report.broken_guard = Some(index),
                    Refused::Operation(at, current) => {
                        let at = transaction.operations[at].writes[0] + applied;
                        report.outcomes[at] = Outcome::Refused(Refusal::Conflict(current));
                    }
                }
                return Ok(report);
            }
            Err(fault) => return failed(fault, &transaction, applied, report),
        }
        is_first = false;
    }
    Ok(report)
}

/// What is left of a batch, as a batch.
fn rest(batch: &Batch, from: usize, outcomes: &[Outcome], with_guards: bool) -> Batch {
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
    let guards = if with_guards { batch.guards.clone() } else { Vec::new() };
    Batch { writes: writes.collect(), guards }
}

/// The transaction: compares; what to do if they hold; else what to fetch, in the order of the compares.
fn request(transaction: &Transaction, guards: &[Guard]) -> Txn {
    let operations = &transaction.operations;
    let guarded = guards.iter().map(|guard| compare(&guard.key, guard.revision.as_ref()));
    let expected = operations.iter().map(|operation| match &operation.expect {
        Expect::Absent => compare(&operation.key, None),
        Expect::Revision(revision) => compare(&operation.key, Some(revision)),
        // Of an earlier write that is in the same transaction and was not folded: there is no such state.
        Expect::AsLeftBy(_) => Compare::mod_revision(operation.key.etcd_path(), CompareOp::Equal, NEVER),
    });
    let writes = operations.iter().map(|operation| match &operation.op {
        Op::Put(value) => TxnOp::put(operation.key.etcd_path(), value.to_stored_text(), None),
        Op::Delete => TxnOp::delete(operation.key.etcd_path(), None),
    });
    let headers = guards
        .iter()
        .map(|guard| TxnOp::get(guard.key.etcd_path(), Some(GetOptions::new().with_keys_only())));
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

/// The number of a revision that etcd may have given; others, and 0, which stands for what does not exist, match nothing.
fn number(revision: &Revision) -> i64 {
    let number = revision.as_str().parse().unwrap_or(NEVER);
    if number > 0 && number.to_string() == revision.as_str() { number } else { NEVER }
}

/// Which of the compares failed.
enum Refused {
    Guard(usize),
    Operation(usize, Current),
}

fn refused(answer: &TxnResponse, transaction: &Transaction, guards: &[Guard]) -> Refused {
    let found: Vec<GetResponse> = answer
        .op_responses()
        .into_iter()
        .filter_map(|response| match response {
            TxnOpResponse::Get(response) => Some(response),
            _ => None,
        })
        .collect();
    let revision_of = |found: &GetResponse| found.kvs().first().map(|kv| kv.mod_revision());
    let (for_guards, for_operations) = found.split_at(guards.len().min(found.len()));
    let is_broken =
        |(guard, found): (&Guard, &GetResponse)| revision_of(found) != guard.revision.as_ref().map(number);
    if let Some(index) = guards.iter().zip(for_guards).position(is_broken) {
        return Refused::Guard(index);
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
    // One of them failed, or the server would not have said so.
    Refused::Operation(0, Current::Unknown)
}

fn current(operation: &Operation, found: &GetResponse) -> Current {
    match found.kvs().first() {
        None => Current::Absent,
        // It is there and cannot be understood; whoever reads it is told why.
        Some(kv) => decode(operation.key.clone(), kv).map_or(Current::Unknown, Current::Record),
    }
}

/// The report where a transaction got no answer; an error where it is certain that nothing of the batch was applied.
fn failed(
    fault: Fault,
    transaction: &Transaction,
    applied: usize,
    mut report: Report,
) -> Result<Report, StoreError> {
    let Some(first) = transaction.operations.first() else { return Err(fault.into_error()) };
    if fault.kind == Kind::TooLarge && !fault.in_doubt {
        report.outcomes[first.writes[0] + applied] = Outcome::Refused(Refusal::TooLarge(fault.text));
    } else if fault.in_doubt {
        for at in transaction.operations.iter().flat_map(|operation| &operation.writes) {
            report.outcomes[at + applied] = Outcome::Unknown(fault.text.clone());
        }
    } else if applied == 0 {
        return Err(fault.into_error());
    } else {
        // It was not sent, but a report has no other word for why it goes no further.
        report.outcomes[first.writes[0] + applied] = Outcome::Unknown(fault.text);
    }
    Ok(report)
}
