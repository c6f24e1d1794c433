//! A store whose calls are written to the ledger.

use std::time::Duration;

use api::{Key, Value};
use store::{
    Batch, Current, Expect, Op, Outcome, ReadSet, Refusal, Report, Scope, Store, StoreError, View, Write,
};

use crate::ledger::{Event, Ledger};

/// Writes every commit with its outcome, and every failed read, to the ledger.
pub struct Traced<S> {
    pub inner: S,
    pub ledger: Ledger,
}

impl<S: Store> Store for Traced<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.inner.read(set, within).await;
        if let Err(error) = &view {
            self.ledger.write(Event::Did(format!("read: {error}")));
        }
        view
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        let what: Vec<String> = batch.writes.iter().map(write).collect();
        let report = self.inner.commit(batch, within).await;
        let came = match &report {
            Err(error) => format!("not sent: {error}"),
            Ok(Report { broken_guard: Some(index), .. }) => {
                format!("changed: {:?}", batch.guards[*index])
            }
            Ok(report) => match report.outcomes.iter().position(|o| !matches!(o, Outcome::Applied(_))) {
                None => format!("applied{}", report.outcomes.last().map_or(String::new(), outcome)),
                Some(at) => format!("write {at}{}", outcome(&report.outcomes[at])),
            },
        };
        self.ledger.write(Event::Did(format!("[{}]: {came}", what.join(", "))));
        report
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied(revision) => format!(" at {revision}"),
        Outcome::Refused(Refusal::Conflict(Current::Record(record))) => {
            format!(" refused: it is at {}", record.revision)
        }
        Outcome::Refused(Refusal::Conflict(Current::Absent)) => " refused: it is gone".to_string(),
        Outcome::Refused(refusal) => format!(" refused: {refusal}"),
        Outcome::Unknown(reason) => format!(" unknown: {reason}"),
        Outcome::NotTried => " not tried".to_string(),
    }
}

fn write(write: &Write) -> String {
    let expect = match &write.expect {
        Expect::Absent => "new".to_string(),
        Expect::Revision(revision) => format!("@{revision}"),
        Expect::AsLeftBy(index) => format!("after {index}"),
    };
    let what = match &write.op {
        Op::Delete => "deleted".to_string(),
        Op::Put(value) => value_of(value),
    };
    let key = match &write.key {
        Key::Affinity { owner, block } => format!("affinity {} {block}", owner.name()),
        Key::Block(block) => format!("block {block}"),
        Key::Handle(id) => format!("handle {id}"),
        other => other.to_string(),
    };
    format!("{key} {expect} {what}")
}

fn value_of(value: &Value) -> String {
    match value {
        Value::Affinity(affinity) => format!("{:?}", affinity.state),
        Value::Block(block) => {
            let free = block.unallocated.len();
            format!(
                "{} sequence {} free {free}",
                block.affinity.as_deref().unwrap_or("-"),
                block.sequence_number
            )
        }
        Value::Handle(handle) => {
            let counts: Vec<_> = handle.blocks.iter().map(|(block, n)| format!("{block}:{n}")).collect();
            counts.join(" ")
        }
        _ => "put".to_string(),
    }
}
