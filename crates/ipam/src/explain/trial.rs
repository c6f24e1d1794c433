//! A request on a copy of what was read, to which changes can be supposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Family, Key, Kind, Metadata, Record, Resource, Revision, Timestamp, Value};
use store::{Batch, ReadSet, Report, Slot, View};

use super::Question;
use crate::plan::auto_assign::{Assigned, AutoAssignError, AutoAssigned};
use crate::plan::{Plan, Planner};
use crate::verdict::{Verdict, Verdicts};

/// How often a planner may ask for more before the trial is given up.
const FETCHES: usize = 1000;

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub assigned: Assigned,
    pub error: Option<AutoAssignError>,
    pub verdicts: Vec<Verdict>,
}

impl Outcome {
    pub fn of(answer: AutoAssigned, family: Family, verdicts: Vec<Verdict>) -> Outcome {
        let assigned = answer.family(family).clone();
        let error = assigned.error.clone();
        Outcome { assigned, error, verdicts }
    }

    pub fn failed(error: AutoAssignError, verdicts: Vec<Verdict>) -> Outcome {
        Outcome { assigned: Assigned::default(), error: Some(error), verdicts }
    }

    pub fn is_whole(&self) -> bool {
        self.error.is_none() && !self.assigned.addresses.is_empty()
    }

    /// Why there is no address, in Calico's words; `None` where there is one.
    pub fn refusal(&self) -> Option<String> {
        if self.is_whole() {
            return None;
        }
        let messages: Vec<String> = self.assigned.messages.iter().map(ToString::to_string).collect();
        Some(match &self.error {
            Some(error) => error.to_string(),
            None if messages.is_empty() => "no address is free".to_string(),
            None => messages.join("; "),
        })
    }
}

/// A request, and what is stored or supposed to be.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub view: View,
    pub question: Question,
    now: Timestamp,
    seed: u64,
    supposed: u32,
}

impl Trial {
    /// A trial on a view in which everything was read that may matter.
    pub fn new(view: View, question: Question, now: Timestamp, seed: u64) -> Trial {
        Trial { view, question, now, seed, supposed: 0 }
    }

    /// Supposes that a record has this value.
    pub fn suppose(&mut self, key: Key, value: Value) {
        self.supposed += 1;
        let revision = Revision::new(format!("supposed {}", self.supposed));
        self.view.insert_record(Arc::new(Record { key, value, revision }));
    }

    /// Supposes that the node exists, without labels.
    pub fn suppose_node(&mut self) {
        let metadata = Metadata { name: self.question.request.host.clone(), ..Metadata::default() };
        let node = Resource::new(Kind::Node, metadata, serde_json::Map::new());
        self.suppose(self.question.node(), Value::Resource(node));
    }

    /// The node's labels; `None` where there is no such node, or it cannot be read.
    pub fn node_labels(&self) -> Option<&BTreeMap<String, String>> {
        let (node, _) = self.view.resource(&self.question.node())??;
        Some(&node.as_node().labels)
    }

    /// Plans the request, and gives what would become of it.
    pub fn run(&self) -> Outcome {
        let verdicts = Verdicts::default();
        let mut planner = self.question.request.clone().planner_for(&verdicts);
        let mut view = self.view.clone();
        for _ in 0..FETCHES {
            match planner.plan(&view, self.now, self.seed) {
                Ok(Plan::Fetch(set)) => learn_nothing_more(&mut view, &set),
                Ok(Plan::Commit { batch, answer }) => {
                    let report = applied(&batch);
                    if planner.is_answered_by(&report) {
                        return Outcome::of(answer, self.question.family(), verdicts.take());
                    }
                    planner.observe(&report);
                    view = view.after(&batch, &report);
                }
                Ok(Plan::Done(answer)) => {
                    return Outcome::of(answer, self.question.family(), verdicts.take());
                }
                Err(error) => return Outcome::failed(error, verdicts.take()),
            }
        }
        Outcome { assigned: Assigned::default(), error: None, verdicts: verdicts.take() }
    }
}

/// The report of a batch, supposed that all its writes are applied.
fn applied(batch: &Batch) -> Report {
    let outcomes = batch.writes.iter().map(|_| store::Outcome::Applied(Revision::new("supposed"))).collect();
    Report { outcomes, broken_guard: None }
}

/// Whatever the view does not hold does not exist.
fn learn_nothing_more(view: &mut View, set: &ReadSet) {
    for (key, _) in &set.keys {
        if view.get(key).is_none() {
            view.insert(key.clone(), Slot::Absent);
        }
    }
    for read in &set.scopes {
        view.complete(read.scope.clone(), read.depth);
    }
}
