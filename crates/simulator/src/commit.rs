//! What becomes of a batch, in each manner of store.

use api::Key;
use store::{Batch, Current, Expect, Op, Outcome, Refusal, Report, StoreError, Write};

use crate::caller::Caller;
use crate::cluster::{Call, Said};
use crate::give_way;
use crate::setup::{Breach, Manner};

/// How often a create begins again because a flagged object was in its way.
const ATTEMPTS: usize = 5;

fn lost() -> Outcome {
    Outcome::Unknown("the answer is lost".to_string())
}

fn conflict(current: Current) -> Outcome {
    Outcome::Refused(Refusal::Conflict(current))
}

/// The call that carries a write out; `None` for a deletion of nothing.
fn call(write: &Write, expect: Expect) -> Option<Call> {
    Some(match (&write.op, expect) {
        (Op::Put(value), Expect::Absent) => Call::Create(write.key.clone(), value.clone()),
        (Op::Put(value), Expect::Revision(at)) => Call::Update(write.key.clone(), at, value.clone()),
        (Op::Delete, Expect::Revision(at)) => Call::Remove(write.key.clone(), at),
        (Op::Delete, Expect::Absent) | (_, Expect::AsLeftBy(_)) => return None,
    })
}

/// Every transaction is applied, or nothing of it; the guards are checked with the first, and with later ones
/// those that are to be looked at again.
pub(crate) async fn in_transactions(caller: &Caller, batch: &Batch) -> Result<Report, StoreError> {
    let mut outcomes = vec![Outcome::NotTried; batch.writes.len()];
    for transaction in batch.transactions(usize::MAX) {
        give_way().await;
        let first = transaction.operations.first().map_or(0, |operation| operation.writes[0]);
        let (indexes, guards): (Vec<usize>, Vec<_>) =
            batch.guards_from(first).map(|(index, guard)| (index, guard.clone())).unzip();
        let guards = guards.as_slice();
        let mut calls = Vec::new();
        for operation in &transaction.operations {
            let at = operation.writes[0];
            let write = Write { op: operation.op.clone(), ..batch.writes[at].clone() };
            match batch.expectation(at, &outcomes).and_then(|expect| call(&write, expect)) {
                Some(call) => calls.push(call),
                None => {
                    outcomes[at] = conflict(Current::Unknown);
                    return Ok(Report { outcomes, broken_guard: None });
                }
            }
        }
        if caller.in_thousand(caller.lost) {
            caller.lose(calls, guards);
            for operation in &transaction.operations {
                operation.writes.iter().for_each(|at| outcomes[*at] = lost());
            }
            return Ok(Report { outcomes, broken_guard: None });
        }
        match caller.arrive_together(caller.request, &calls, guards) {
            Some(revisions) => {
                for ((call, revision), operation) in calls.iter().zip(revisions).zip(&transaction.operations)
                {
                    if let Some(value) = call.effect() {
                        caller.witness.acknowledged(call.key(), value);
                    }
                    operation.writes.iter().for_each(|at| outcomes[*at] = Outcome::Applied(revision.clone()));
                }
            }
            None => {
                let broken_guard = caller.cluster.broken(guards).map(|at| indexes[at]);
                if broken_guard.is_none() {
                    let refused = transaction.operations.iter().zip(&calls).find(|(_, call)| {
                        let expect = match call {
                            Call::Update(_, at, _) | Call::Remove(_, at) => Expect::Revision(at.clone()),
                            _ => Expect::Absent,
                        };
                        !caller.cluster.is_as_expected(call.key(), &expect)
                    });
                    let at = refused.map_or(0, |(operation, _)| operation.writes[0]);
                    outcomes[at] = conflict(Current::Unknown);
                }
                return Ok(Report { outcomes, broken_guard });
            }
        }
    }
    Ok(Report { outcomes, broken_guard: None })
}

/// One write after the other. Guards are not honoured, but looked at again where the batch demands that.
pub(crate) async fn one_by_one(caller: &Caller, batch: &Batch) -> Result<Report, StoreError> {
    let mut outcomes = vec![Outcome::NotTried; batch.writes.len()];
    for at in order(caller, batch) {
        let write = &batch.writes[at];
        if let Some(guard) = changed(caller, batch, at).await {
            return Ok(Report { outcomes, broken_guard: Some(guard) });
        }
        outcomes[at] = match batch.expectation(at, &outcomes) {
            None => conflict(Current::Unknown),
            Some(expect) => match caller.manner {
                Manner::Objects => object(caller, write, expect).await,
                _ => match call(write, expect) {
                    None => conflict(Current::Absent),
                    Some(call) => plain(caller, call).await,
                },
            },
        };
        let is_applied = matches!(outcomes[at], Outcome::Applied(_));
        // A flagged object was told of when it was flagged.
        let was_flagged = caller.manner == Manner::Objects && write.op == Op::Delete && has_flag(&write.key);
        if is_applied && !was_flagged {
            let value = match &write.op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            };
            caller.witness.acknowledged(&write.key, value);
        }
        if !is_applied {
            break;
        }
        if caller.breaks(Breach::RefusedThatLanded) {
            outcomes[at] = conflict(Current::Unknown);
            break;
        }
    }
    Ok(Report { outcomes, broken_guard: None })
}

/// The first guarded record that has changed, of those to look at before a write.
async fn changed(caller: &Caller, batch: &Batch, before: usize) -> Option<usize> {
    for (guard, ..) in batch.looks_before(before) {
        give_way().await;
        if caller.cluster.broken(&batch.guards[guard..=guard]).is_some() {
            return Some(guard);
        }
    }
    None
}

/// Whether the objects of such records are flagged before they are removed.
fn has_flag(key: &Key) -> bool {
    matches!(key, Key::Block(_) | Key::Affinity { .. } | Key::Handle(_))
}

/// The order of the writes: that of the batch, unless the store breaks its contract.
fn order(caller: &Caller, batch: &Batch) -> Vec<usize> {
    let mut order: Vec<usize> = (0..batch.writes.len()).collect();
    let rests = |write: &Write| matches!(write.expect, Expect::AsLeftBy(_));
    if caller.breach == Some(Breach::OtherOrder)
        && !batch.writes.iter().any(rests)
        && caller.breaks(Breach::OtherOrder)
    {
        order.reverse();
    }
    order
}

/// One request, one answer.
async fn plain(caller: &Caller, call: Call) -> Outcome {
    match ask(caller, call).await {
        None => lost(),
        Some(Said::Done(revision)) => Outcome::Applied(revision),
        Some(Said::Conflict) => conflict(Current::Unknown),
    }
}

async fn ask(caller: &Caller, call: Call) -> Option<Said> {
    give_way().await;
    if caller.in_thousand(caller.lost) {
        caller.lose(vec![call], &[]);
        return None;
    }
    Some(caller.arrive(caller.request, &call))
}

/// A write of a Kubernetes object. Deletions have two phases: the object is flagged, and then removed.
async fn object(caller: &Caller, write: &Write, expect: Expect) -> Outcome {
    let key = &write.key;
    match (&write.op, expect) {
        (Op::Put(value), Expect::Revision(at)) => {
            plain(caller, Call::Update(key.clone(), at, value.clone())).await
        }
        (Op::Put(value), _) => {
            for _ in 0..ATTEMPTS {
                match ask(caller, Call::Create(key.clone(), value.clone())).await {
                    None => return lost(),
                    Some(Said::Done(revision)) => return Outcome::Applied(revision),
                    Some(Said::Conflict) => {}
                }
                // Looks what is in the way.
                give_way().await;
                if caller.in_thousand(caller.lost) {
                    return lost();
                }
                if let Some(record) = caller.cluster.get(key) {
                    return conflict(Current::Record(record));
                }
                if let Some(revision) = caller.cluster.flagged_at(key)
                    && ask(caller, Call::Bury(key.clone(), revision)).await.is_none()
                {
                    return lost();
                }
            }
            conflict(Current::Unknown)
        }
        // Resources have no flag.
        (Op::Delete, Expect::Revision(at)) if !has_flag(key) => {
            plain(caller, Call::Remove(key.clone(), at)).await
        }
        (Op::Delete, Expect::Revision(at)) => {
            if caller.in_thousand(400) {
                // The value must be sent again, and this caller does not know it any more.
                give_way().await;
                match caller.cluster.get(key) {
                    None => return conflict(Current::Absent),
                    Some(record) if record.revision != at => return conflict(Current::Record(record)),
                    Some(_) => {}
                }
            }
            match ask(caller, Call::Flag(key.clone(), at)).await {
                None => lost(),
                Some(Said::Conflict) => conflict(Current::Unknown),
                Some(Said::Done(revision)) => {
                    caller.witness.acknowledged(key, None);
                    // Whether that succeeds does not matter.
                    let _ = ask(caller, Call::Bury(key.clone(), revision.clone())).await;
                    Outcome::Applied(revision)
                }
            }
        }
        (Op::Delete, _) => conflict(Current::Absent),
    }
}
